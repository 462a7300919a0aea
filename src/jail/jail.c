/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/jail.h"

#include <errno.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/jail/bind_ports.h"
#include "mmproxy/jail/caps.h"
#include "mmproxy/jail/descriptors.h"
#include "mmproxy/jail/filter.h"
#include "mmproxy/jail/leftovers.h"
#include "mmproxy/jail/trap.h"

/* A worker has about ten such descriptors. With many more, something is wrong. */
enum { DENIED_MAX = 64 };

/* Errors go up with what was tried: errno alone would send the administrator looking. */
static int note_failure(struct jail_failure *failure, const char *what, int err)
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
    int err = caps_confine_supervisor(true);
    if (err < 0)
        return note_failure(failure, "give up capabilities", err);
    /* Workers may run as the same user: they could trace it, and it has more than they. */
    err = set_process_flags();
    return err < 0 ? note_failure(failure, "set no_new_privs", err) : 0;
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
        return note_failure(failure, "filter system calls (seccomp)", err);
    is_confined = true;
    return 0;
}

int jail_give_up_namespaces(bool has_filter, struct jail_failure *failure)
{
    static bool is_given_up;
    struct filter_table table = filter_namespace_calls();

    if (is_given_up)
        return 0;
    int err = caps_confine_supervisor(false);
    if (err < 0)
        return note_failure(failure, "give up capabilities", err);
    err = has_filter ? filter_deny_once(&table) : 0;
    if (err < 0)
        return note_failure(failure, "filter system calls (seccomp)", err);
    is_given_up = true;
    return 0;
}

static bool preserves_ports(const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].preserve_client_port)
            return true;
    return false;
}

static bool has_udp(const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].protocol == PROTOCOL_UDP)
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
    *out = (struct jail){ .has_filter = config->sandbox, .has_udp = has_udp(config) };

    int err = user_find(&out->user, config->user);
    if (err < 0)
        return note_failure(failure, "find the service user", err);
    if (out->user.is_switched && !may_switch_users())
        return note_failure(failure, "become the service user (CAP_SETUID, CAP_SETGID)", -EPERM);
    if (config->n_listeners == 0)
        return 0; /* no workers */
    err = caps_probe(config->listeners[0].mark, &out->caps);
    if (err < 0)
        return note_failure(
            failure,
            "spoof connections: IP_TRANSPARENT and SO_MARK need root, CAP_NET_ADMIN or "
            "(since Linux 5.17) CAP_NET_RAW",
            err);
    /* A client's port below 1024 is kept like any other; without it another one is taken. */
    out->keeps_ports = preserves_ports(config);
    if (out->keeps_ports)
        out->caps |= caps_permitted() & CAPS_BIT(CAP_NET_BIND_SERVICE);
    return 0;
}

struct jail jail_of_exporter(const struct jail *workers)
{
    return (struct jail){ .user = workers->user,
                          .has_filter = workers->has_filter,
                          .is_exporter = true };
}

static int give_up_privileges(const struct jail *jail, struct jail_failure *failure)
{
    const struct rlimit no_core = { 0, 0 };

    int err = caps_bound();
    if (err < 0)
        return note_failure(failure, "lock its capabilities", err);
    err = user_become(&jail->user);
    if (err < 0)
        return note_failure(failure, "become the service user", err);
    err = caps_keep(jail->caps);
    if (err < 0)
        return note_failure(failure, "give up capabilities", err);
    if (setrlimit(RLIMIT_CORE, &no_core) < 0)
        return note_failure(failure, "forbid core files", -errno);
    /* Behind the change of users, which makes the kernel set it as it thinks best. */
    err = set_process_flags();
    return err < 0 ? note_failure(failure, "set no_new_privs", err) : 0;
}

/* Calls that are denied on single descriptors. */
struct denied {
    struct filter_line lines[DENIED_MAX];
    size_t n; /* also counts those that have no place */
};

static void deny(struct denied *denied, const char *call, int fd)
{
    const struct filter_arg is_fd = { .index = 0, .test = FILTER_IS, .value = (uint32_t)fd };

    if (denied->n < DENIED_MAX)
        denied->lines[denied->n] = (struct filter_line){ .call = call, .args = { is_fd } };
    denied->n++;
}

static bool is_unix_socket(int fd)
{
    int family = 0;
    socklen_t len = sizeof family;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

/*
 * bind and connect on a Unix socket would name a file; on the sockets that the worker makes
 * itself they name an address. splice would read a log's file, a terminal's keys, the leash.
 */
static void deny_on(int fd, void *context)
{
    bool is_unix = is_unix_socket(fd);
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    if (is_unix || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) || S_ISREG(st.st_mode))
        deny(context, "splice", fd);
    if (is_unix) {
        deny(context, "bind", fd);
        deny(context, "connect", fd);
    }
}

/* The worker keeps inherited descriptors for life: nothing else ever has these numbers. */
static int deny_on_given(void)
{
    struct denied denied = { .n = 0 };

    descriptors_each(deny_on, &denied);
    if (denied.n > DENIED_MAX)
        return -E2BIG;
    struct filter_table table = { denied.lines, denied.n };
    return filter_deny(&table);
}

static int close_exporters_filter(_Atomic uint32_t *tell)
{
    struct filter_table tables[] = { filter_common_calls(), filter_exporter_calls(),
                                     filter_instrument_calls() };

    int err = trap_set(tell);
    return err < 0 ? err : filter_allow(tables, sizeof tables / sizeof *tables);
}

static int close_filter(const struct jail *jail, _Atomic uint32_t *tell)
{
    struct filter_table tables[] = { filter_common_calls(), filter_worker_calls(),
                                     filter_instrument_calls(), filter_worker_udp_calls() };
    size_t n = sizeof tables / sizeof *tables;

    int err = trap_set(tell);
    if (err == 0)
        err = deny_on_given();
    return err < 0 ? err : filter_allow(tables, jail->has_udp ? n : n - 1);
}

int jail_close(const struct jail *jail, _Atomic uint32_t *tell, struct jail_failure *failure)
{
    /* One thread needs one arena; under pressure malloc would make more, with mprotect. */
    (void)mallopt(M_ARENA_MAX, 1);
    int err = leftovers_leave();
    if (err < 0)
        return note_failure(failure, "leave what its starter had open", err);
    err = give_up_privileges(jail, failure);
    if (err < 0 || !jail->has_filter)
        return err;
    err = jail->keeps_ports ? 0 : bind_ports_leave_to_kernel();
    if (err < 0)
        return note_failure(failure, "give up the choice of ports (Landlock)", err);
    err = jail->is_exporter ? close_exporters_filter(tell) : close_filter(jail, tell);
    return err < 0 ? note_failure(failure, "filter system calls (seccomp)", err) : 0;
}

bool jail_is_instrumented(void)
{
    return filter_instrument_calls().n > 0;
}
