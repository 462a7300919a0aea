/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/load.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "mmproxy/base/log.h"
#include "mmproxy/supervisor/confine.h"
#include "mmproxy/supervisor/control.h"
#include "mmproxy/supervisor/descriptor_limit.h"
#include "mmproxy/supervisor/namespaces.h"
#include "mmproxy/supervisor/network_watch.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/status.h"
#include "mmproxy/version.h"

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
    if (supervisor->current)
        log_error("start", "mmproxy: %s", line);
    else
        log_report(LOG_LEVEL_ERROR, "start", "mmproxy: %s",
                   line); /* on stderr, wherever the log is */
    status_mistake(supervisor, line);
}

static void fail_load(struct supervisor *supervisor, int exit_status)
{
    supervisor->load.exit_status = exit_status;
    lifecycle_report(&supervisor->life, ON_FAILED);
}

static void cannot_listen(struct supervisor *supervisor, const struct sockets_failure *failure,
                          int err)
{
    char text[ADDR_STRLEN];
    const char *name = failure->listener->name;

    report(supervisor, "can't listen on %s%s%s%s: %s", addr_format(&failure->addr, text),
           name[0] ? " (" : "", name, name[0] ? ")" : "", strerror(-err));
    fail_load(supervisor, err == -EACCES ? EX_NOPERM : EX_OSERR);
}

/*
 * At a start, the ports may still be those of a mmproxy that was killed: its workers let go of
 * them in milliseconds.
 */
static void open_ports(struct supervisor *supervisor)
{
    struct load *load = &supervisor->load;
    struct sockets_failure failure = { 0 };

    int err = sockets_open_missing(&supervisor->sockets, load->config, &failure);
    bool is_patient = !supervisor->current && load->waited_ms < PORT_PATIENCE_MS;
    if (err == -EADDRINUSE && is_patient) {
        load->waited_ms += PORT_RETRY_MS;
        ev_now_update(supervisor->loop);
        ev_timer_set(&load->retry, PORT_RETRY_MS / 1000., 0.);
        ev_timer_start(supervisor->loop, &load->retry);
        return;
    }
    if (err < 0) {
        cannot_listen(supervisor, &failure, err);
        return;
    }
    if (supervisor->life.state == LIFE_STARTING)
        sockets_drop_unwanted(&supervisor->sockets, load->config);
    lifecycle_report(&supervisor->life, ON_PREPARED);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    open_ports(timer->data);
}

void load_init(struct supervisor *supervisor)
{
    ev_timer_init(&supervisor->load.retry, on_retry, 0., 0.);
    supervisor->load.retry.data = supervisor;
}

static int plan_jail(struct supervisor *supervisor, const struct config *config, struct jail *out)
{
    char reason[CONFINE_REASON_MAX];

    int status = confine_plan(out, config, reason);
    if (status != EX_OK)
        report(supervisor, "%s", reason);
    return status;
}

void load_prepare(struct supervisor *supervisor)
{
    const struct config_sink sink = { .context = supervisor, .report = report_mistake };
    struct load *load = &supervisor->load;
    char line[DESCRIPTOR_LIMIT_LINE_MAX];
    bool is_usage_error;

    status_load_begins(supervisor);
    load->config = cmdline_config(supervisor->cmdline, &sink, &is_usage_error);
    if (!load->config) {
        fail_load(supervisor, is_usage_error ? EX_USAGE : EX_CONFIG);
        return;
    }
    if (!descriptor_limit_suffices(load->config, line)) {
        report_mistake(supervisor, true, line);
        fail_load(supervisor, EX_CONFIG);
        return;
    }
    if (!config_complete_map_keys(
            load->config, supervisor->current ? supervisor->current->config : NULL, &sink)) {
        fail_load(supervisor, EX_CONFIG);
        return;
    }
    control_apply_drained(supervisor, load->config);
    namespaces_find(&supervisor->namespaces, load->config);
    if (supervisor->current && config_equal(supervisor->current->config, load->config)) {
        config_free(load->config);
        load->config = NULL;
        lifecycle_report(&supervisor->life, ON_UNCHANGED);
        return;
    }
    int status = plan_jail(supervisor, load->config, &load->jail);
    if (status == EX_OK)
        open_ports(supervisor);
    else
        fail_load(supervisor, status);
}

/* In a worker. */
static int enter_namespace(void *context, uint64_t namespace_id)
{
    struct supervisor *supervisor = context;
    const struct network *network = namespaces_get(&supervisor->namespaces, namespace_id);

    int err = network ? namespaces_enter(network) : -ENOENT;
    namespaces_close(&supervisor->namespaces);
    return err;
}

void load_fork(struct supervisor *supervisor)
{
    struct load *load = &supervisor->load;
    struct process_start template = {
        .loop = supervisor->loop,
        .spec.counters = supervisor->counters,
        .spec.peers = supervisor->peers,
        .spec.jail = load->jail,
        .spec.leash = supervisor->leashes.end,
        .leave = supervisor->leave,
        .enter = enter_namespace,
        .context = supervisor,
        .prepare = confine_worker,
    };

    int err = generation_new(&supervisor->next, load->config, &supervisor->sockets, &template,
                             &supervisor->generation_events);
    if (err == 0) {
        load->config = NULL; /* the generation's */
        return;
    }
    report(supervisor, "no workers can be started: %s", counters_strerror(-err));
    fail_load(supervisor, EX_OSERR);
}

void load_generation_failed(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    status_mistake(supervisor, generation->failure);
    fail_load(supervisor, EX_OSERR);
}

static void open_log(const struct config *config)
{
    int err = log_open(&config->log);
    if (err < 0)
        log_error("reload", "[!] the log can't be opened as configured: %s", strerror(-err));
}

void load_open_log(struct supervisor *supervisor)
{
    open_log(supervisor->load.config);
}

void load_promote(struct supervisor *supervisor)
{
    supervisor->load.replaced = supervisor->current ? supervisor->current->number : 0;
    supervisor->previous = supervisor->current;
    supervisor->current = supervisor->next;
    supervisor->next = NULL;
    open_log(supervisor->current->config);
    confine_tell(&supervisor->current->start.spec);
}

void load_commit_ports(struct supervisor *supervisor)
{
    sockets_commit(&supervisor->sockets, supervisor->current->config);
}

void load_roll_back(struct supervisor *supervisor)
{
    struct generation *generation = supervisor->next;

    if (!generation && !supervisor->load.config)
        return;
    ev_timer_stop(supervisor->loop, &supervisor->load.retry);
    sockets_rollback(&supervisor->sockets);
    config_free(supervisor->load.config);
    supervisor->load.config = NULL;
    if (!generation)
        return;
    supervisor->next = NULL;
    TAILQ_INSERT_TAIL(&supervisor->draining, generation, link);
    generation_kill(generation);
}

void load_tell_loading(struct supervisor *supervisor)
{
    (void)supervisor;
    service_reloading();
}

static void tell_started(const struct config *config)
{
    const struct log_field fields[] = { LOG_TEXT("event", "start"),
                                        LOG_TEXT("version", MMPROXY_VERSION) };

    log_event(LOG_LEVEL_NOTICE, fields, 2, "[+] mmproxy %s serves, listeners: %zu", MMPROXY_VERSION,
              config->n_listeners);
}

void load_tell_loaded(struct supervisor *supervisor)
{
    const struct generation *current = supervisor->current;
    unsigned replaced = supervisor->load.replaced;

    if (current->config->n_listeners == 0)
        log_notice("reload", "[!] no listener is configured in %s: waiting for a reload",
                   current->config->path);
    if (replaced == 0)
        tell_started(current->config);
    else
        log_notice("reload", "[+] reloaded: generation %u serves, generation %u drains",
                   current->number, replaced);
    service_ready();
    network_watch_load_ended(supervisor, true);
    status_load_ended(supervisor, true);
    control_load_ended(supervisor, true);
}

void load_tell_unchanged(struct supervisor *supervisor)
{
    log_notice("reload", "[+] reloaded: nothing has changed, generation %u still serves",
               supervisor->current->number);
    service_ready();
    network_watch_load_ended(supervisor, true);
    status_load_ended(supervisor, true);
    control_load_ended(supervisor, true);
}

void load_tell_failed(struct supervisor *supervisor)
{
    log_error("reload", "[!] reload failed: generation %u keeps its configuration",
              supervisor->current->number);
    service_ready();
    network_watch_load_ended(supervisor, false);
    status_load_ended(supervisor, false);
    control_load_ended(supervisor, false);
}
