/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/network_watch.h"

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/jail/caps.h"
#include "mmproxy/supervisor/confine.h"

#define LOOK_S 0.5 /* no event tells that a mount has come or gone */

enum { HOLD_MS = 10 * 1000 };

static void look_later(struct supervisor *supervisor)
{
    ev_timer *look = &supervisor->network_watch.look;

    if (ev_is_active(look))
        return;
    ev_now_update(supervisor->loop);
    ev_timer_set(look, LOOK_S, 0.);
    ev_timer_start(supervisor->loop, look);
}

/* Draining workers may have the only namespace that is left. */
static bool has_namespaces(struct supervisor *supervisor)
{
    return namespaces_are_wanted(supervisor->current->config) ||
           LIST_NEXT(LIST_FIRST(&supervisor->namespaces.all), link);
}

/* What entering them takes is kept for as long as there is one. */
static void settle(struct supervisor *supervisor)
{
    struct network_watch *watch = &supervisor->network_watch;
    bool are_there = has_namespaces(supervisor);

    if (!are_there)
        confine_give_up_namespaces(supervisor->current->config);
    else if (!watch->is_told && (caps_permitted() & CAPS_BIT(CAP_SYS_ADMIN)))
        log_notice("jail", "[ ] a listener has netns: the supervisor keeps CAP_SYS_ADMIN and "
                           "CAP_SYS_PTRACE, to enter network namespaces");
    watch->is_told = are_there;
    if (are_there)
        look_later(supervisor);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct supervisor *supervisor = timer->data;
    const struct generation *current = supervisor->current;

    (void)loop;
    (void)revents;
    if (!current)
        return;
    bool differs = namespaces_differ(&supervisor->namespaces, current->config);
    if (differs && clock_now_ms() >= supervisor->network_watch.held_until_ms)
        lifecycle_report(&supervisor->life, ON_NETWORK);
    settle(supervisor);
    if (differs || (supervisor->namespaces.own.locals &&
                    locals_due_ms(supervisor->namespaces.own.locals) >= 0))
        look_later(supervisor);
}

static void on_locals(void *context)
{
    struct supervisor *supervisor = context;

    (void)locals_update(supervisor->namespaces.own.locals);
    look_later(supervisor);
}

void network_watch_init(struct supervisor *supervisor)
{
    struct network_watch *watch = &supervisor->network_watch;
    const struct locals *locals = supervisor->namespaces.own.locals;

    ev_timer_init(&watch->look, on_look, 0., 0.);
    watch->look.data = supervisor;
    if (locals)
        reader_open(&watch->reader, supervisor->loop, locals_fd(locals), on_locals, supervisor);
}

static void tell_closed(const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].closed_because)
            log_warning("listening", "[!] %s is closed: %s (netns \"%s\")",
                        config->listeners[i].name, config->listeners[i].closed_because,
                        config->listeners[i].netns);
}

void network_watch_load_ended(struct supervisor *supervisor, bool is_good)
{
    struct network_watch *watch = &supervisor->network_watch;

    watch->held_until_ms = is_good ? 0 : clock_now_ms() + HOLD_MS;
    if (is_good)
        tell_closed(supervisor->current->config);
    settle(supervisor);
}

void network_watch_close(struct supervisor *supervisor)
{
    if (!supervisor->loop)
        return;
    ev_timer_stop(supervisor->loop, &supervisor->network_watch.look);
    reader_close(&supervisor->network_watch.reader, supervisor->loop);
}
