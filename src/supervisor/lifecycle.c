/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/lifecycle.h"

#include <assert.h>
#include <string.h>

enum { STEPS_MAX = 10 };

enum answer {
    IGNORED,    /* whatever is not in the table */
    REMEMBERED, /* until a state comes that takes it or ignores it; many are as one */
    TAKEN,
};

struct transition {
    enum answer answer;
    enum life_state next;
    enum life_step steps[STEPS_MAX + 1]; /* taken in this order, in the next state already */
};

/* clang-format off */
#define REMEMBER           { .answer = REMEMBERED }
#define GO(next_, ...)     { .answer = TAKEN, .next = (next_), .steps = { __VA_ARGS__ } }
#define STOP               GO(LIFE_STOPPING, DO_TELL_STOPPING, DO_ROLL_BACK, DO_KILL_BINARY, \
                              DO_WITHDRAW_CONTROL, DO_END_EXPORT, DO_CLOSE_PORTS, DO_RETIRE_ALL, DO_GRANT_TIME, DO_END_IF_ALONE)
#define ABANDON            GO(LIFE_ENDED, DO_ROLL_BACK, DO_KILL_BINARY, DO_WITHDRAW_CONTROL, DO_END_EXPORT, DO_ABANDON, \
                              DO_END)

/*
 * The reasons for the order of steps. The return path comes before the fork: workers hold the claim
 * to it for as long as they live, and nothing waits for it. Serving comes before retiring: if a process
 * dies in between, another accepts. While two processes have the listening sockets, neither shuts
 * them down: that begins before START_BINARY and ends with NEW_FAILED or ANSWERED.
 */
static const struct transition table[LIFE_STATES][LIFE_EVENTS] = {
[LIFE_STARTING] = {
    [ON_BEGIN]      = GO(LIFE_STARTING, DO_PREPARE),
    [ON_HUP]        = REMEMBER,
    [ON_USR2]       = GO(LIFE_STARTING, DO_REFUSE_USR2),
    [ON_TERM]       = STOP,
    [ON_PREPARED]   = GO(LIFE_STARTING, DO_OPEN_LOG, DO_SET_UP_RETURN, DO_FORK),
    [ON_READY]      = GO(LIFE_SERVING, DO_PROMOTE, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS,
                         DO_OFFER_CONTROL, DO_EXPORT, DO_CHECK_TARGETS, DO_TELL_LOADED),
    [ON_FAILED]     = GO(LIFE_KILLING, DO_FAIL_START, DO_ROLL_BACK, DO_KILL, DO_END_IF_ALONE) },
[LIFE_TAKING_OVER] = {
    [ON_BEGIN]      = GO(LIFE_TAKING_OVER, DO_PREPARE),
    [ON_HUP]        = REMEMBER,
    [ON_USR2]       = GO(LIFE_TAKING_OVER, DO_REFUSE_USR2),
    [ON_TERM]       = GO(LIFE_STOPPING, DO_ROLL_BACK, DO_LET_GO, DO_GRANT_TIME, DO_END_IF_ALONE),
    [ON_PREPARED]   = GO(LIFE_TAKING_OVER, DO_OPEN_LOG, DO_SET_UP_RETURN, DO_FORK),
    [ON_READY]      = GO(LIFE_ANNOUNCED, DO_PROMOTE, DO_SERVE_BESIDE, DO_ANNOUNCE),
    [ON_OLD_GONE]   = GO(LIFE_KILLING, DO_ROLL_BACK, DO_LET_GO, DO_FAIL_START, DO_END_IF_ALONE),
    [ON_FAILED]     = GO(LIFE_KILLING, DO_FAIL_START, DO_ROLL_BACK, DO_LET_GO, DO_END_IF_ALONE) },
[LIFE_ANNOUNCED] = {
    [ON_HUP]        = REMEMBER,
    [ON_USR1]       = REMEMBER,
    [ON_USR2]       = REMEMBER,
    [ON_TERM]       = REMEMBER,
    [ON_ANSWERED]   = GO(LIFE_SERVING, DO_BE_MAIN, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS,
                         DO_OFFER_CONTROL, DO_EXPORT, DO_CHECK_TARGETS, DO_TELL_LOADED),
    [ON_OLD_GONE]   = GO(LIFE_STOPPING, DO_LET_GO, DO_FAIL_START, DO_RETIRE_ALL, DO_GRANT_TIME) },
[LIFE_SERVING] = {
    [ON_HUP]        = GO(LIFE_LOADING, DO_TELL_LOADING, DO_PREPARE),
    [ON_USR1]       = ABANDON,
    [ON_USR2]       = GO(LIFE_REPLACING, DO_SERVE_BESIDE, DO_START_BINARY),
    [ON_TERM]       = STOP,
    [ON_NETWORK]    = GO(LIFE_LOADING, DO_TELL_LOADING, DO_PREPARE),
    [ON_GONE]       = GO(LIFE_SERVING, DO_SET_UP_RETURN),
    [ON_CHECK_DUE]  = GO(LIFE_SERVING, DO_RECHECK_TARGETS),
    [ON_CHECKED]    = GO(LIFE_SERVING, DO_ADJUST_PORTS) },
[LIFE_LOADING] = {
    [ON_HUP]        = REMEMBER,
    [ON_USR1]       = ABANDON,
    [ON_USR2]       = REMEMBER,
    [ON_TERM]       = STOP,
    [ON_PREPARED]   = GO(LIFE_LOADING, DO_SET_UP_RETURN, DO_FORK),
    [ON_UNCHANGED]  = GO(LIFE_SERVING, DO_SET_UP_RETURN, DO_CHECK_TARGETS, DO_TELL_UNCHANGED),
    [ON_READY]      = GO(LIFE_SERVING, DO_PROMOTE, DO_COMMIT_PORTS, DO_SERVE, DO_ADJUST_PORTS,
                         DO_RETIRE, DO_OFFER_CONTROL, DO_EXPORT, DO_CHECK_TARGETS, DO_TELL_LOADED),
    [ON_FAILED]     = GO(LIFE_SERVING, DO_ROLL_BACK, DO_SET_UP_RETURN, DO_TELL_FAILED),
    [ON_GONE]       = GO(LIFE_LOADING, DO_SET_UP_RETURN),
    [ON_CHECK_DUE]  = REMEMBER,
    [ON_CHECKED]    = REMEMBER },
[LIFE_REPLACING] = {
    [ON_HUP]        = REMEMBER,
    [ON_USR1]       = ABANDON,
    [ON_USR2]       = GO(LIFE_REPLACING, DO_REFUSE_USR2),
    [ON_TERM]       = STOP,
    [ON_NEW_READY]  = GO(LIFE_LEAVING, DO_RETIRE_ALL, DO_WITHDRAW_CONTROL, DO_END_EXPORT, DO_HAND_OVER,
                         DO_TELL_UPGRADED),
    [ON_NEW_FAILED] = GO(LIFE_SERVING, DO_SERVE, DO_TELL_UPGRADE_FAILED),
    [ON_GONE]       = GO(LIFE_REPLACING, DO_SET_UP_RETURN),
    [ON_CHECK_DUE]  = REMEMBER,
    [ON_CHECKED]    = REMEMBER },
[LIFE_LEAVING] = {
    [ON_HUP]        = GO(LIFE_LEAVING, DO_PASS_HUP_ON),
    [ON_USR2]       = GO(LIFE_LEAVING, DO_REFUSE_USR2),
    [ON_TERM]       = GO(LIFE_STOPPING, DO_GRANT_TIME),
    [ON_PULLED]     = GO(LIFE_RESETTING, DO_RESET),
    [ON_GONE]       = GO(LIFE_LEAVING, DO_SET_UP_RETURN, DO_END_IF_ALONE),
    [ON_ALONE]      = GO(LIFE_ENDED, DO_END) },
[LIFE_STOPPING] = {
    [ON_USR2]       = GO(LIFE_STOPPING, DO_REFUSE_USR2),
    [ON_TERM]       = GO(LIFE_RESETTING, DO_RESET),
    [ON_PULLED]     = GO(LIFE_RESETTING, DO_RESET),
    [ON_TIMER]      = GO(LIFE_RESETTING, DO_RESET),
    [ON_GONE]       = GO(LIFE_STOPPING, DO_END_IF_ALONE),
    [ON_ALONE]      = GO(LIFE_ENDED, DO_END) },
[LIFE_RESETTING] = {
    [ON_TERM]       = GO(LIFE_KILLING, DO_KILL, DO_END_IF_ALONE),
    [ON_TIMER]      = GO(LIFE_KILLING, DO_KILL, DO_END_IF_ALONE),
    [ON_GONE]       = GO(LIFE_RESETTING, DO_END_IF_ALONE),
    [ON_ALONE]      = GO(LIFE_ENDED, DO_END) },
[LIFE_KILLING] = {
    [ON_GONE]       = GO(LIFE_KILLING, DO_END_IF_ALONE),
    [ON_ALONE]      = GO(LIFE_ENDED, DO_END) },
};
/* clang-format on */

void lifecycle_init(struct lifecycle *life, enum life_state state,
                    void (*take)(void *context, enum life_step step), void *context)
{
    *life = (struct lifecycle){ .state = state, .take = take, .context = context };
}

static void handle(struct lifecycle *life, enum life_event event)
{
    const struct transition *transition = &table[life->state][event];
    unsigned bit = 1U << event;

    life->remembered &= ~bit;
    if (transition->answer == REMEMBERED)
        life->remembered |= bit;
    if (transition->answer != TAKEN)
        return;
    life->state = transition->next;
    for (const enum life_step *step = transition->steps; *step != NO_STEP; step++)
        life->take(life->context, *step);
}

/* The first of the remembered events that need not wait any longer. returns: was there one? */
static bool recall(struct lifecycle *life, enum life_event *out)
{
    for (unsigned event = 0; event < LIFE_EVENTS; event++) {
        if (!(life->remembered & 1U << event) || table[life->state][event].answer == REMEMBERED)
            continue;
        *out = (enum life_event)event;
        return true;
    }
    return false;
}

static bool next_event(struct lifecycle *life, enum life_event *out)
{
    if (life->n_queued == 0)
        return recall(life, out);
    *out = life->queue[0];
    life->n_queued--;
    memmove(&life->queue[0], &life->queue[1], life->n_queued * sizeof life->queue[0]);
    return true;
}

void lifecycle_report(struct lifecycle *life, enum life_event event)
{
    assert(life->n_queued < LIFE_QUEUE);
    life->queue[life->n_queued++] = event;
    if (life->is_busy)
        return;
    life->is_busy = true;
    while (next_event(life, &event))
        handle(life, event);
    life->is_busy = false;
}
