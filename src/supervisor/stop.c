/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/stop.h"

#include <inttypes.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/supervisor/status.h"

enum {
    RESET_GRACE_S = 2,       /* resetting sessions is a matter of milliseconds */
    NOTICE_EVERY_S = 10,     /* how often draining generations are looked at */
    FIRST_NOTICE_MS = 60000, /* the log names a generation at that age, then at twice that, ... */
    NOTICE_MAX_MS = 3600000, /* ... and at least every hour */
};

static void for_each_generation(struct supervisor *supervisor,
                                void (*act)(struct generation *generation))
{
    struct generation *generation;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        act(generation);
}

static void set_timer(struct supervisor *supervisor, double delay_s)
{
    ev_timer_stop(supervisor->loop, &supervisor->stop_timer);
    ev_now_update(supervisor->loop);
    ev_timer_set(&supervisor->stop_timer, delay_s, 0.);
    ev_timer_start(supervisor->loop, &supervisor->stop_timer);
}

/* Here and, as far as we know, in earlier processes. */
static unsigned sessions_left(const struct supervisor *supervisor)
{
    return generation_list_sessions(&supervisor->draining) + supervisor->takeover.sessions;
}

static void on_stop_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)loop;
    (void)revents;
    lifecycle_report(&supervisor->life, ON_TIMER);
}

static void retire(struct supervisor *supervisor, struct generation **generation)
{
    if (!*generation)
        return;
    (*generation)->next_notice_ms = FIRST_NOTICE_MS;
    TAILQ_INSERT_TAIL(&supervisor->draining, *generation, link);
    generation_drain(*generation);
    ev_timer_start(supervisor->loop, &supervisor->drain_notice);
    *generation = NULL;
}

void stop_retire(struct supervisor *supervisor)
{
    retire(supervisor, &supervisor->previous);
}

void stop_retire_all(struct supervisor *supervisor)
{
    if (supervisor->current)
        supervisor->drain_timeout_ms = supervisor->current->config->drain_timeout_ms;
    retire(supervisor, &supervisor->current);
}

void stop_grant_time(struct supervisor *supervisor)
{
    unsigned timeout_ms = supervisor->drain_timeout_ms;

    log_notice("drain", "[+] stopping: %u s for the sessions that are left: %u", timeout_ms / 1000,
               sessions_left(supervisor));
    status_tell(supervisor);
    if (timeout_ms == 0)
        lifecycle_report(&supervisor->life, ON_TIMER);
    else
        set_timer(supervisor, timeout_ms / 1000.);
}

void stop_reset(struct supervisor *supervisor)
{
    unsigned sessions = sessions_left(supervisor);

    if (sessions > 0)
        log_notice("drain", "[!] resetting the sessions that are left: %u", sessions);
    for_each_generation(supervisor, generation_stop);
    leash_pull_all(&supervisor->leashes);
    set_timer(supervisor, RESET_GRACE_S);
}

void stop_kill(struct supervisor *supervisor)
{
    for_each_generation(supervisor, generation_kill);
    leash_drop_all(&supervisor->leashes); /* what did not obey is out of our reach */
}

void stop_end_if_alone(struct supervisor *supervisor)
{
    if (TAILQ_EMPTY(&supervisor->draining) && supervisor->leashes.n_earlier == 0)
        lifecycle_report(&supervisor->life, ON_ALONE);
}

static void tell_if_due(struct generation *generation)
{
    uint64_t age_ms = clock_now_ms() - generation->draining_since_ms;

    if (age_ms < generation->next_notice_ms)
        return;
    uint64_t step = generation->next_notice_ms < NOTICE_MAX_MS ? generation->next_notice_ms
                                                               : (uint64_t)NOTICE_MAX_MS;
    generation->next_notice_ms += step;
    log_info("drain", "[ ] generation %u has been draining for %" PRIu64 " s: %u sessions are left",
             generation->number, age_ms / 1000, generation_sessions(generation));
}

static void on_drain_notice(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;

    (void)revents;
    for_each_generation(supervisor, tell_if_due);
    if (TAILQ_EMPTY(&supervisor->draining))
        ev_timer_stop(loop, timer);
}

void stop_init(struct supervisor *supervisor)
{
    ev_timer_init(&supervisor->stop_timer, on_stop_timer, 0., 0.);
    supervisor->stop_timer.data = supervisor;
    ev_timer_init(&supervisor->drain_notice, on_drain_notice, NOTICE_EVERY_S, NOTICE_EVERY_S);
    supervisor->drain_notice.data = supervisor;
}

void stop_abandon(struct supervisor *supervisor)
{
    struct generation *generation;

    stop_retire_all(supervisor);
    log_notice("drain", "[+] leaving: sessions that live on without this process: %u",
               sessions_left(supervisor));
    while ((generation = TAILQ_FIRST(&supervisor->draining))) {
        TAILQ_REMOVE(&supervisor->draining, generation, link);
        generation_leave_alone(generation);
    }
}

void stop_generation_gone(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    TAILQ_REMOVE(&supervisor->draining, generation, link);
    if (!generation->is_killed && supervisor->current)
        log_info("drain", "[ ] generation %u has drained", generation->number);
    generation_free(generation);
    lifecycle_report(&supervisor->life, ON_GONE);
}
