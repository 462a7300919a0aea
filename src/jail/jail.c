/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/jail.h"

#include <errno.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/jail/caps.h"
#include "mmproxy/jail/filter.h"
#include "mmproxy/jail/leftovers.h"
#include "mmproxy/jail/ports.h"
#include "mmproxy/jail/trap.h"

/* Errors go up with what was tried: errno alone would send the administrator looking. */
static int failed(struct jail_failure *failure, const char *what, int err)
{
    failure->what = what;
    return err;
}

static int set_process_flags(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0 ||
        prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) < 0)
        return -errno;
    return 0;
}

int jail_confine(struct jail_failure *failure)
{
    int err = caps_confine_supervisor();
    if (err < 0)
        return failed(failure, "give up capabilities", err);
    /* Workers may run as the same user: they could trace it, and it has more than they. */
    err = set_process_flags();
    return err < 0 ? failed(failure, "set no_new_privs", err) : 0;
}

int jail_confine_calls(struct jail_failure *failure)
{
    static bool is_confined;

    if (is_confined)
        return 0;
    struct filter_table table = filter_supervisor_calls();
    int err = trap_set(NULL);
    if (err == 0)
        err = filter_deny_once(&table);
    if (err < 0)
        return failed(failure, "filter system calls (seccomp)", err);
    is_confined = true;
    return 0;
}

static bool preserves_ports(const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].preserve_client_port)
            return true;
    return false;
}

static bool may_switch_users(void)
{
    uint64_t needed = CAPS_BIT(CAP_SETUID) | CAPS_BIT(CAP_SETGID);

    return (caps_permitted() & needed) == needed;
}

int jail_plan(struct jail *out, const struct config *config, struct jail_failure *failure)
{
    *out = (struct jail){ .has_filter = config->sandbox };

    int err = user_find(&out->user, config->user);
    if (err < 0)
        return failed(failure, "find the service user", err);
    if (out->user.is_switched && !may_switch_users())
        return failed(failure, "become the service user (CAP_SETUID, CAP_SETGID)", -EPERM);
    if (config->n_listeners == 0)
        return 0; /* no workers */
    err = caps_probe(config->listeners[0].mark, &out->caps);
    if (err < 0)
        return failed(failure,
                      "spoof connections: IP_TRANSPARENT and SO_MARK need root, CAP_NET_ADMIN or "
                      "(since Linux 5.17) CAP_NET_RAW",
                      err);
    /* A client's port below 1024 is kept like any other; without it another one is taken. */
    out->keeps_ports = preserves_ports(config);
    if (out->keeps_ports)
        out->caps |= caps_permitted() & CAPS_BIT(CAP_NET_BIND_SERVICE);
    return 0;
}

static int give_up_privileges(const struct jail *jail, struct jail_failure *failure)
{
    const struct rlimit no_core = { 0, 0 };

    int err = caps_bound();
    if (err < 0)
        return failed(failure, "lock its capabilities", err);
    err = user_become(&jail->user);
    if (err < 0)
        return failed(failure, "become the service user", err);
    err = caps_keep(jail->caps);
    if (err < 0)
        return failed(failure, "give up capabilities", err);
    if (setrlimit(RLIMIT_CORE, &no_core) < 0)
        return failed(failure, "forbid core files", -errno);
    /* Behind the change of users, which makes the kernel set it as it thinks best. */
    err = set_process_flags();
    return err < 0 ? failed(failure, "set no_new_privs", err) : 0;
}

/*
 * bind and connect on a Unix socket would name a file; on the sockets that the worker makes
 * itself they name an address. splice would read a log file, or a terminal's keys. So they are
 * denied on the descriptors that it was given.
 */
static int deny_on_given(int channel, int leash)
{
    static const char *const calls[] = { "bind", "connect", "splice" };
    enum { N_CALLS = sizeof calls / sizeof *calls };
    int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, channel, leash, -1, -1 };
    struct filter_line lines[N_CALLS * sizeof fds / sizeof *fds];
    struct filter_table table = { .lines = lines };

    log_descriptors(&fds[5]);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        struct filter_line line = { .args = { { .index = 0, .test = FILTER_IS } } };
        if (fds[i] < 0)
            continue;
        line.args[0].value = (uint32_t)fds[i];
        for (size_t j = 0; j < N_CALLS; j++) {
            line.call = calls[j];
            lines[table.n++] = line;
        }
    }
    return filter_deny(&table);
}

static int close_filter(int channel, int leash, _Atomic uint32_t *tell)
{
    struct filter_table tables[] = { filter_worker_calls(), filter_instrument_calls() };

    int err = trap_set(tell);
    if (err == 0)
        err = deny_on_given(channel, leash);
    return err < 0 ? err : filter_allow(tables, sizeof tables / sizeof *tables);
}

int jail_close(const struct jail *jail, int channel, int leash, _Atomic uint32_t *tell,
               struct jail_failure *failure)
{
    /* One thread needs one arena; under pressure malloc would make more, with mprotect. */
    (void)mallopt(M_ARENA_MAX, 1);
    int err = leftovers_leave();
    if (err < 0)
        return failed(failure, "leave what its starter had open", err);
    err = give_up_privileges(jail, failure);
    if (err < 0 || !jail->has_filter)
        return err;
    err = jail->keeps_ports ? 0 : ports_leave_to_kernel();
    if (err < 0)
        return failed(failure, "give up the choice of ports (Landlock)", err);
    err = close_filter(channel, leash, tell);
    return err < 0 ? failed(failure, "filter system calls (seccomp)", err) : 0;
}

bool jail_is_instrumented(void)
{
    return filter_instrument_calls().n > 0;
}
