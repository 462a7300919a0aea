/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/supervisor/service.h"

/* Managers pass every change on to their watchers, and sessions change more often. */
enum { REFRESH_S = 2 };

struct line {
    char text[sizeof(((struct status *)0)->told)];
    size_t used;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->used;
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line->text + line->used, room, format, args);
    va_end(args);
    if (n > 0)
        line->used += (size_t)n < room ? (size_t)n : room - 1;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static void add_serving(struct line *line, const struct generation *current)
{
    unsigned sessions = generation_sessions(current);
    size_t listeners = current->config->n_listeners;

    add(line, "generation %u serves %zu listener%s, %u session%s", current->number, listeners,
        plural(listeners), sessions, plural(sessions));
}

static void add_draining(struct line *line, const struct supervisor *supervisor)
{
    const struct generation *generation;
    unsigned generations = 0;
    unsigned sessions = 0;

    TAILQ_FOREACH (generation, &supervisor->draining, link) {
        generations++;
        sessions += generation_sessions(generation);
    }
    if (generations > 0)
        add(line, "; %u generation%s drain%s, %u session%s", generations, plural(generations),
            generations == 1 ? "s" : "", sessions, plural(sessions));
}

/* Those after SIGUSR2 tell how many sessions they have; those before a restart can't. */
static void add_earlier(struct line *line, const struct supervisor *supervisor)
{
    /* The successor that is starting has a leash too. */
    size_t n_later = supervisor->life.state == LIFE_REPLACING && supervisor->leashes.n_earlier > 0;
    size_t n = supervisor->leashes.n_earlier - n_later;
    unsigned sessions = supervisor->takeover.sessions;

    if (n > 0)
        add(line, "; %zu earlier process%s drain%s", n, n == 1 ? "" : "es", n == 1 ? "s" : "");
    if (n > 0 && supervisor->takeover.channel >= 0)
        add(line, ", %u session%s", sessions, plural(sessions));
}

static const char *format_time(time_t at, char out[32])
{
    struct tm local;

    out[0] = '\0';
    if (localtime_r(&at, &local))
        (void)strftime(out, 32, "%Y-%m-%d %H:%M:%S", &local);
    return out;
}

static void add_last_load(struct line *line, const struct status *status)
{
    char when[32];

    if (status->upgrade_failed_at != 0)
        add(line, "; upgrade failed at %s", format_time(status->upgrade_failed_at, when));
    if (!status->is_reload)
        return;
    (void)format_time(status->loaded_at, when);
    if (status->has_failed)
        add(line, "; reload failed at %s: %s", when, status->mistake);
    else
        add(line, "; reloaded at %s", when);
}

static void add_checks(struct line *line, const struct targets *checked)
{
    const struct addr *first = NULL;
    char text[ADDR_STRLEN];
    size_t failing = targets_failing(checked);

    for (size_t i = 0; !first && i < checked->n; i++)
        if (!checked->items[i].holds)
            first = &checked->items[i].target;
    if (first)
        add(line, "; %zu of %zu targets fail%s, the first is %s", failing, checked->n,
            failing == 1 ? "s" : "", addr_format(first, text));
}

static bool has_served(const struct supervisor *supervisor)
{
    return supervisor->status.loaded_at != 0;
}

void status_tell(struct supervisor *supervisor)
{
    struct line line = { .used = 0 };

    if (supervisor->current)
        add_serving(&line, supervisor->current);
    else
        add(&line, has_served(supervisor) ? "stopping" : "starting");
    add_draining(&line, supervisor);
    add_earlier(&line, supervisor);
    if (supervisor->current)
        add_last_load(&line, &supervisor->status);
    if (supervisor->current)
        add_checks(&line, &supervisor->preflight.known);
    if (strcmp(line.text, supervisor->status.told) == 0)
        return;
    memcpy(supervisor->status.told, line.text, line.used + 1);
    service_status(line.text);
}

static void on_refresh(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    status_tell(timer->data);
}

void status_init(struct supervisor *supervisor)
{
    ev_timer *timer = &supervisor->status.refresh;

    ev_timer_init(timer, on_refresh, REFRESH_S, REFRESH_S);
    timer->data = supervisor;
    if (service_has_manager())
        ev_timer_start(supervisor->loop, timer);
}

void status_load_begins(struct supervisor *supervisor)
{
    supervisor->status.mistake[0] = '\0';
    status_close(supervisor);
}

void status_close(struct supervisor *supervisor)
{
    free(supervisor->status.mistakes);
    supervisor->status.mistakes = NULL;
}

/* For the status; more than this is left out. */
static void keep_mistake(struct status *status, const char *line)
{
    enum { MAX = 128 * 1024 };
    size_t had = status->mistakes ? strlen(status->mistakes) : 0;
    size_t len = strlen(line);
    char *longer = had + len > MAX ? NULL : realloc(status->mistakes, had + len + 2);

    if (!longer)
        return;
    status->mistakes = longer;
    memcpy(longer + had, line, len);
    longer[had + len] = '\n';
    longer[had + len + 1] = '\0';
}

void status_mistake(struct supervisor *supervisor, const char *line)
{
    struct status *status = &supervisor->status;

    keep_mistake(status, line);
    if (status->mistake[0] == '\0')
        (void)snprintf(status->mistake, sizeof status->mistake, "%s", line);
}

void status_load_ended(struct supervisor *supervisor, bool is_good)
{
    struct status *status = &supervisor->status;

    status->is_reload = status->loaded_at != 0;
    status->has_failed = !is_good;
    status->loaded_at = time(NULL);
    status_tell(supervisor);
}

void status_upgrade_begins(struct supervisor *supervisor)
{
    supervisor->status.upgrade_failed_at = 0;
    status_tell(supervisor);
}

void status_upgrade_failed(struct supervisor *supervisor)
{
    supervisor->status.upgrade_failed_at = time(NULL);
    status_tell(supervisor);
}
