/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/load.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/net/spoof.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/stop.h"
#include "mmproxy/supervisor/upgrade.h"

static void report_mistake(void *context, bool is_error, const char *line)
{
    (void)context;
    if (is_error)
        log_error("%s", line);
    else
        log_warning("%s", line);
}

static const struct config_sink sink = { .report = report_mistake };

/* What can be said of a failed load differs only by whether something serves already. */
static int load_failed(struct supervisor *supervisor, int exit_status)
{
    if (!supervisor->current)
        return exit_status;
    log_error("[!] reload failed: generation %u goes on with the configuration it has",
              supervisor->current->number);
    service_ready();
    service_status("reload failed; generation %u serves", supervisor->current->number);
    return EX_OK;
}

static int check_privilege(const struct config *config)
{
    if (config->n_listeners == 0)
        return EX_OK;
    int err = spoof_probe(config->listeners[0].mark);
    if (err == 0)
        return EX_OK;
    if (err == -EPERM)
        log_error("mmproxy: the system refuses IP_TRANSPARENT or SO_MARK: run it as root, or "
                  "with CAP_NET_ADMIN or (since Linux 5.17) CAP_NET_RAW");
    else
        log_error("mmproxy: a connection can't be spoofed here: %s", strerror(-err));
    return err == -EPERM ? EX_NOPERM : EX_OSERR;
}

static int open_sockets(struct supervisor *supervisor, const struct config *config)
{
    struct sockets_failure failure = { 0 };
    char text[ADDR_STRLEN];

    int err = sockets_open_missing(&supervisor->sockets, config, &failure);
    if (err == 0 || !failure.listener)
        return EX_OK;
    sockets_rollback(&supervisor->sockets);
    const char *name = failure.listener->name;
    log_error("mmproxy: can't listen on %s%s%s%s: %s", addr_format(failure.addr, text),
              name[0] ? " (" : "", name, name[0] ? ")" : "", strerror(-err));
    return err == -EACCES ? EX_NOPERM : EX_OSERR;
}

void load_next(struct supervisor *supervisor)
{
    if (supervisor->load_wanted && !supervisor->is_stopping) {
        supervisor->load_wanted = false;
        load_again(supervisor);
    }
    if (supervisor->upgrade_wanted && !supervisor->is_stopping && !supervisor->pending) {
        supervisor->upgrade_wanted = false;
        upgrade_begin(supervisor);
    }
}

static void commit(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;
    struct generation *old = supervisor->current;
    const struct config *config = generation->config;

    supervisor->pending = NULL;
    supervisor->current = generation;
    int err = log_open(&config->log);
    if (err < 0)
        log_error("[!] the log can't be opened as configured: %s", strerror(-err));
    sockets_commit(&supervisor->sockets, config);
    upgrade_tell_ready(supervisor); /* first: whoever serves may shut the sockets down */
    generation_serve(generation);
    if (old)
        stop_drain(supervisor, old);

    if (config->n_listeners == 0)
        log_notice("[!] no listener is configured in %s: waiting for a reload", config->path);
    if (old)
        log_notice("[+] reloaded: generation %u serves, generation %u drains", generation->number,
                   old->number);
    service_ready();
    service_status("generation %u serves %zu listeners", generation->number, config->n_listeners);
    load_next(supervisor);
}

static void roll_back(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    supervisor->pending = NULL;
    sockets_rollback(&supervisor->sockets);
    TAILQ_INSERT_TAIL(&supervisor->draining, generation, link);
    generation_kill(generation);
    if (supervisor->current) {
        (void)load_failed(supervisor, EX_OSERR);
        load_next(supervisor);
        return;
    }
    supervisor->exit_status = EX_OSERR;
    supervisor->is_stopping = true; /* the end follows when the workers have been reaped */
}

static int no_jail(const struct worker_spec *spec)
{
    (void)spec;
    return 0;
}

/* config: owned. returns: an exit status. */
static int start_generation(struct supervisor *supervisor, struct config *config)
{
    static const struct generation_events events = {
        .on_ready = commit,
        .on_failed = roll_back,
        .on_gone = stop_generation_gone,
    };
    struct process_start template = {
        .loop = supervisor->loop,
        .spec.counters = supervisor->counters,
        .leave = supervisor_leave,
        .context = supervisor,
        .prepare = no_jail,
    };

    int err =
        generation_new(&supervisor->pending, config, &supervisor->sockets, &template, &events);
    if (err == 0)
        return EX_OK;
    log_error("mmproxy: no workers can be started: %s", strerror(-err));
    sockets_rollback(&supervisor->sockets);
    config_free(config);
    return EX_OSERR;
}

static void nothing_changed(struct supervisor *supervisor)
{
    log_notice("[+] reloaded: nothing has changed, generation %u goes on",
               supervisor->current->number);
    service_ready();
}

static int load(struct supervisor *supervisor)
{
    bool is_usage_error;
    struct config *config = cmdline_config(supervisor->cmdline, &sink, &is_usage_error);
    if (!config)
        return is_usage_error ? EX_USAGE : EX_CONFIG;

    if (supervisor->current && config_equal(supervisor->current->config, config)) {
        config_free(config);
        nothing_changed(supervisor);
        return EX_OK;
    }
    int status = check_privilege(config);
    if (status == EX_OK)
        status = open_sockets(supervisor, config);
    if (status != EX_OK) {
        config_free(config);
        return status;
    }
    return start_generation(supervisor, config);
}

int load_first(struct supervisor *supervisor)
{
    return load(supervisor);
}

void load_again(struct supervisor *supervisor)
{
    if (supervisor->is_stopping)
        return;
    if (supervisor->pending || supervisor->upgrade.ready_fd >= 0) {
        supervisor->load_wanted = true;
        return;
    }
    service_reloading();
    int status = load(supervisor);
    if (status != EX_OK)
        (void)load_failed(supervisor, status);
}

void load_abort(struct supervisor *supervisor)
{
    struct generation *generation = supervisor->pending;

    if (!generation)
        return;
    supervisor->pending = NULL;
    sockets_rollback(&supervisor->sockets);
    TAILQ_INSERT_TAIL(&supervisor->draining, generation, link);
    generation_kill(generation);
}
