/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/load.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/preflight.h"
#include "mmproxy/supervisor/return_path.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/status.h"
#include "mmproxy/supervisor/stop.h"
#include "mmproxy/supervisor/upgrade.h"

enum {
    PORT_RETRY_MS = 20,
    PORT_PATIENCE_MS = 1000,
};

static void report_mistake(void *context, bool is_error, const char *line)
{
    if (!is_error) {
        log_warning("config", "%s", line);
        return;
    }
    log_error("config", "%s", line);
    status_mistake(context, line);
}

/* The one line that says why a load failed, to the log and to the service manager. */
static void report(struct supervisor *supervisor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void report(struct supervisor *supervisor, const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_error("start", "mmproxy: %s", line);
    status_mistake(supervisor, line);
}

/* What can be said of a failed load differs only by whether something serves already. */
static int load_failed(struct supervisor *supervisor, int exit_status)
{
    if (!supervisor->current)
        return exit_status;
    log_error("reload", "[!] reload failed: generation %u goes on with the configuration it has",
              supervisor->current->number);
    service_ready();
    status_load_ended(supervisor, false);
    return EX_OK;
}

/*
 * At a start, the ports may still be those of a mmproxy that was killed: its workers let go of
 * them in milliseconds. Nothing is served yet that this could hold up.
 */
static int open_patiently(struct supervisor *supervisor, const struct config *config,
                          struct sockets_failure *failure)
{
    for (unsigned waited_ms = 0;; waited_ms += PORT_RETRY_MS) {
        int err = sockets_open_missing(&supervisor->sockets, config, failure);
        if (err != -EADDRINUSE || supervisor->current || waited_ms >= PORT_PATIENCE_MS)
            return err;
        (void)poll(NULL, 0, PORT_RETRY_MS);
    }
}

static int open_sockets(struct supervisor *supervisor, const struct config *config)
{
    struct sockets_failure failure = { 0 };
    char text[ADDR_STRLEN];

    int err = open_patiently(supervisor, config, &failure);
    if (err == 0)
        return EX_OK;
    sockets_rollback(&supervisor->sockets);
    const char *name = failure.listener->name;
    report(supervisor, "can't listen on %s%s%s%s: %s", addr_format(failure.addr, text),
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
        log_error("reload", "[!] the log can't be opened as configured: %s", strerror(-err));
    confine_tell(&generation->start.spec);
    if (old)
        stop_drain(supervisor, old);
    return_path_update(supervisor);
    sockets_commit(&supervisor->sockets, config);
    upgrade_tell_ready(supervisor); /* first: whoever serves may shut the sockets down */
    generation_serve(generation);

    if (config->n_listeners == 0)
        log_notice("reload", "[!] no listener is configured in %s: waiting for a reload",
                   config->path);
    preflight_start(supervisor);
    if (old)
        log_notice("reload", "[+] reloaded: generation %u serves, generation %u drains",
                   generation->number, old->number);
    service_ready();
    status_load_ended(supervisor, true);
    load_next(supervisor);
}

static void roll_back(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    supervisor->pending = NULL;
    sockets_rollback(&supervisor->sockets);
    TAILQ_INSERT_TAIL(&supervisor->draining, generation, link);
    generation_kill(generation);
    status_mistake(supervisor, generation->failure);
    if (supervisor->current) {
        (void)load_failed(supervisor, EX_OSERR);
        load_next(supervisor);
        return;
    }
    supervisor->exit_status = EX_OSERR;
    supervisor->is_stopping = true; /* the end follows when the workers have been reaped */
}

/* config: owned. returns: an exit status. */
static int start_generation(struct supervisor *supervisor, struct config *config,
                            const struct jail *jail)
{
    static const struct generation_events events = {
        .on_ready = commit,
        .on_failed = roll_back,
        .on_gone = stop_generation_gone,
    };
    struct process_start template = {
        .loop = supervisor->loop,
        .spec.counters = supervisor->counters,
        .spec.jail = *jail,
        .leave = supervisor_leave,
        .context = supervisor,
        .prepare = confine_worker,
    };

    int err =
        generation_new(&supervisor->pending, config, &supervisor->sockets, &template, &events);
    if (err == 0)
        return EX_OK;
    report(supervisor, "no workers can be started: %s", strerror(-err));
    sockets_rollback(&supervisor->sockets);
    config_free(config);
    return EX_OSERR;
}

static void nothing_changed(struct supervisor *supervisor)
{
    preflight_start(supervisor);
    log_notice("reload", "[+] reloaded: nothing has changed, generation %u goes on",
               supervisor->current->number);
    service_ready();
    status_load_ended(supervisor, true);
}

static int plan_jail(struct supervisor *supervisor, const struct config *config, struct jail *out)
{
    char reason[CONFINE_REASON_MAX];

    int status = confine_plan(out, config, reason);
    if (status != EX_OK)
        report(supervisor, "%s", reason);
    return status;
}

/* Before the workers are forked that are to count. */
static int prepare_counting(struct supervisor *supervisor, const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++) {
        if (config->listeners[i].max_sessions_per_client == 0)
            continue;
        int err = counters_track_clients(supervisor->counters);
        if (err == 0)
            return EX_OK;
        report(supervisor, "can't count the sessions of clients (max_sessions_per_client): %s",
               strerror(-err));
        return EX_OSERR;
    }
    return EX_OK;
}

static int load(struct supervisor *supervisor)
{
    const struct config_sink sink = { .context = supervisor, .report = report_mistake };
    bool is_usage_error;

    status_load_begins(supervisor);
    struct jail jail;
    struct config *config = cmdline_config(supervisor->cmdline, &sink, &is_usage_error);
    if (!config)
        return is_usage_error ? EX_USAGE : EX_CONFIG;

    if (supervisor->current && config_equal(supervisor->current->config, config)) {
        config_free(config);
        nothing_changed(supervisor);
        return EX_OK;
    }
    int status = plan_jail(supervisor, config, &jail);
    if (status == EX_OK)
        status = prepare_counting(supervisor, config);
    if (status == EX_OK)
        status = open_sockets(supervisor, config);
    if (status != EX_OK) {
        config_free(config);
        return status;
    }
    if (!supervisor->current && !upgrade_is_under_way(supervisor))
        sockets_drop_unwanted(&supervisor->sockets, config);
    return start_generation(supervisor, config, &jail);
}

int load_first(struct supervisor *supervisor)
{
    return load(supervisor);
}

void load_again(struct supervisor *supervisor)
{
    if (supervisor->has_handed_over)
        upgrade_pass_on(supervisor, SIGHUP);
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
