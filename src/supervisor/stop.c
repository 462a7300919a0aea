/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/stop.h"

#include <inttypes.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/supervisor/load.h"
#include "mmproxy/supervisor/return_path.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/status.h"
#include "mmproxy/supervisor/upgrade.h"

/* How firmly sessions are asked to end; each step is taken when the one before had its time. */
enum urgency { URGENCY_NONE, URGENCY_DRAIN, URGENCY_STOP, URGENCY_KILL };

enum {
    STOP_GRACE_S = 2,      /* resetting sessions is a matter of milliseconds */
    NEWS_EVERY_S = 10,     /* how often draining generations are looked at */
    FIRST_NEWS_MS = 60000, /* a generation is told of at that age, then at twice that, ... */
    NEWS_MAX_MS = 3600000, /* ... and at least every hour */
};

static void for_each_generation(struct supervisor *supervisor,
                                void (*act)(struct generation *generation))
{
    struct generation *generation;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        act(generation);
}

static void end_if_gone(struct supervisor *supervisor)
{
    if (supervisor->is_stopping && TAILQ_EMPTY(&supervisor->draining))
        supervisor_end(supervisor);
}

static void set_timer(struct supervisor *supervisor, double delay_s)
{
    ev_timer_stop(supervisor->loop, &supervisor->stop_timer);
    ev_now_update(supervisor->loop);
    ev_timer_set(&supervisor->stop_timer, delay_s, 0.);
    ev_timer_start(supervisor->loop, &supervisor->stop_timer);
}

static unsigned sessions_left(const struct supervisor *supervisor)
{
    const struct generation *generation;
    unsigned sessions = 0;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        sessions += generation_sessions(generation);
    return sessions;
}

static void be_more_urgent(struct supervisor *supervisor)
{
    unsigned sessions = sessions_left(supervisor);

    supervisor->stop_urgency++;
    if (supervisor->stop_urgency == URGENCY_STOP) {
        if (sessions > 0)
            log_notice("drain", "[!] resetting the sessions that are left: %u", sessions);
        for_each_generation(supervisor, generation_stop);
        set_timer(supervisor, STOP_GRACE_S);
    } else {
        for_each_generation(supervisor, generation_kill);
    }
}

static void on_stop_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    be_more_urgent(timer->data);
}

/* The generation that serves becomes one that drains, and none follows it. */
static void retire_current(struct supervisor *supervisor)
{
    struct generation *current = supervisor->current;

    supervisor->is_stopping = true;
    load_abort(supervisor);
    supervisor->current = NULL;
    if (!current)
        return;
    supervisor->drain_timeout_ms = current->config->drain_timeout_ms;
    stop_drain(supervisor, current);
}

static void begin(struct supervisor *supervisor)
{
    if (!supervisor->has_handed_over)
        service_stopping();
    if (upgrade_is_under_way(supervisor))
        sockets_close(&supervisor->sockets); /* they are the old process's still */
    else
        sockets_shut_down(&supervisor->sockets);
    upgrade_abort(supervisor);
    if (!supervisor->is_stopping)
        retire_current(supervisor);
    supervisor->stop_urgency = URGENCY_DRAIN;
    log_notice("drain", "[+] stopping: %u s for the sessions that are left: %u",
               supervisor->drain_timeout_ms / 1000, sessions_left(supervisor));
    status_tell(supervisor);
    if (supervisor->drain_timeout_ms == 0)
        be_more_urgent(supervisor);
    else
        set_timer(supervisor, supervisor->drain_timeout_ms / 1000.);
    end_if_gone(supervisor);
}

void stop_begin(struct supervisor *supervisor)
{
    if (supervisor->stop_urgency == URGENCY_NONE)
        begin(supervisor);
    else if (supervisor->stop_urgency < URGENCY_KILL)
        be_more_urgent(supervisor);
}

void stop_hand_over(struct supervisor *supervisor)
{
    supervisor->has_handed_over = true;
    sockets_close(&supervisor->sockets);
    retire_current(supervisor);
}

static void tell_if_due(struct generation *generation)
{
    uint64_t age_ms = clock_now_ms() - generation->draining_since_ms;

    if (age_ms < generation->next_news_ms)
        return;
    uint64_t step =
        generation->next_news_ms < NEWS_MAX_MS ? generation->next_news_ms : (uint64_t)NEWS_MAX_MS;
    generation->next_news_ms += step;
    log_info("drain", "[ ] generation %u has been draining for %" PRIu64 " s: %u sessions are left",
             generation->number, age_ms / 1000, generation_sessions(generation));
}

static void on_news(struct ev_loop *loop, ev_timer *timer, int revents)
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
    ev_timer_init(&supervisor->drain_news, on_news, NEWS_EVERY_S, NEWS_EVERY_S);
    supervisor->drain_news.data = supervisor;
}

void stop_drain(struct supervisor *supervisor, struct generation *generation)
{
    generation->next_news_ms = FIRST_NEWS_MS;
    TAILQ_INSERT_TAIL(&supervisor->draining, generation, link);
    generation_drain(generation);
    ev_timer_start(supervisor->loop, &supervisor->drain_news);
}

void stop_generation_gone(struct generation *generation)
{
    struct supervisor *supervisor = generation->start.context;

    TAILQ_REMOVE(&supervisor->draining, generation, link);
    if (!generation->is_killed && !supervisor->is_stopping)
        log_info("drain", "[ ] generation %u has drained", generation->number);
    generation_free(generation);
    if (!supervisor->is_stopping)
        return_path_update(supervisor);
    end_if_gone(supervisor);
}
