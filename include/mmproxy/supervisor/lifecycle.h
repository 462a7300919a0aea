/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lifecycle: the supervisor's life as one state machine, without I/O. The table in lifecycle.c
 * says for each state what an event leads to and which steps are taken, in which order. The
 * mechanisms (load, upgrade, stop, preflight, ...) take the steps and report events; they do not
 * know each other.
 *
 * A new event is a name here, its entries in the table, and its lines in test_lifecycle.c.
 */
#ifndef MMPROXY_SUPERVISOR_LIFECYCLE_H
#define MMPROXY_SUPERVISOR_LIFECYCLE_H

#include <stdbool.h>

enum life_state {
    LIFE_STARTING,    /* the first load is under way; nothing serves */
    LIFE_TAKING_OVER, /* the same, started by an old process (SIGUSR2), which still serves */
    LIFE_ANNOUNCED,   /* serves beside the old process, which knows and has yet to answer */
    LIFE_SERVING,     /* a generation serves, and nothing else is under way */
    LIFE_LOADING,     /* a generation serves, and another load is under way */
    LIFE_REPLACING,   /* a generation serves, and a new binary starts */
    LIFE_LEAVING,     /* a new binary serves; the sessions here have all the time they want */
    LIFE_STOPPING,    /* the sessions here have drain_timeout to end */
    LIFE_RESETTING,   /* they have been reset; their workers are about to exit */
    LIFE_KILLING,     /* all workers have been killed and are to be reaped */
    LIFE_ENDED,
    LIFE_STATES
};

enum life_event {
    ON_BEGIN,      /* the process has all that it needs to load its configuration */
    ON_HUP,        /* SIGHUP */
    ON_USR1,       /* SIGUSR1 */
    ON_USR2,       /* SIGUSR2 */
    ON_TERM,       /* SIGTERM, SIGINT */
    ON_PREPARED,   /* a load: the configuration is good, its addresses are open */
    ON_UNCHANGED,  /* a load: the configuration is the same as before */
    ON_READY,      /* a load: all new workers are ready */
    ON_FAILED,     /* a load: it can't take effect; why has been logged */
    ON_NEW_READY,  /* the new binary serves */
    ON_NEW_FAILED, /* it could not be started, ended, or took too long */
    ON_ANSWERED,   /* the old process has handed over to this one */
    ON_OLD_GONE,   /* the old process has ended */
    ON_PULLED,     /* a later process ends the sessions here (leash.h) */
    ON_GONE,       /* a generation that drained, or an earlier process, and all its workers */
    ON_ALONE,      /* DO_END_IF_ALONE: nothing is left to wait for */
    ON_TIMER,      /* the time that sessions or workers had is over */
    ON_CHECK_DUE,  /* a target failed lately, in a check or for a session */
    ON_CHECKED,    /* a check of targets has ended */
    ON_NETWORK, /* targets' networks are no longer what the load was for; told again until then */
    LIFE_EVENTS
};

enum life_step {
    NO_STEP, /* the end of a list */
    /* Loads. */
    DO_PREPARE,       /* read the configuration, open its addresses: PREPARED, UNCHANGED, FAILED */
    DO_OPEN_LOG,      /* at a start: log as the configuration says; at a reload PROMOTE does */
    DO_SET_UP_RETURN, /* the return path: what all living generations and the next one need */
    DO_FORK,          /* start the next generation's workers: READY, FAILED */
    DO_PROMOTE,       /* the next generation's configuration becomes the current one */
    DO_COMMIT_PORTS,  /* listening sockets as it says; those that it does not name are shut down */
    DO_SERVE,         /* the generation accepts connections; its ports are its own */
    DO_SERVE_BESIDE,  /* the same; they are another process's too */
    DO_RETIRE,        /* the one before it, if there is one, accepts no more and drains */
    DO_OFFER_CONTROL, /* the control socket is where the configuration that counts has it */
    DO_CHECK_TARGETS, /* in a process of their own: CHECKED */
    DO_RECHECK_TARGETS, /* those that failed: CHECKED */
    DO_ADJUST_PORTS,    /* of listeners that are closed while no target can be reached */
    DO_EXPORT,          /* the exporter serves what the configuration that counts says */
    DO_ROLL_BACK,       /* the load under way, if there is one, leaves nothing */
    DO_FAIL_START,      /* the exit status will be the reason why the load failed */
    DO_TELL_LOADING,
    DO_TELL_LOADED,
    DO_TELL_UNCHANGED,
    DO_TELL_FAILED,
    /* Another binary. */
    DO_START_BINARY, /* NEW_READY, NEW_FAILED */
    DO_KILL_BINARY,  /* if one starts */
    DO_HAND_OVER,    /* listening sockets and service manager are the new process's business */
    DO_PASS_HUP_ON,  /* to the new process */
    DO_REFUSE_USR2,
    DO_TELL_UPGRADED,
    DO_TELL_UPGRADE_FAILED,
    DO_ANNOUNCE, /* in the new process: tells the old process that it serves: ANSWERED, OLD_GONE */
    DO_BE_MAIN,  /* in the new process: from now on the service manager hears of this one */
    DO_LET_GO,   /* in the new process: sockets and earlier sessions stay the old one's business */
    /* The end. */
    DO_TELL_STOPPING,
    DO_WITHDRAW_CONTROL, /* there is no control socket any more */
    DO_END_EXPORT,       /* no exporter any more */
    DO_CLOSE_PORTS,      /* new connections are refused */
    DO_RETIRE_ALL,       /* no generation accepts any more; all drain */
    DO_GRANT_TIME,       /* drain_timeout begins: TIMER */
    DO_RESET,            /* the sessions that are left: TIMER */
    DO_KILL,         /* the workers that are left; earlier processes are not waited for any more */
    DO_ABANDON,      /* sessions live on without this process; ports, where a manager keeps them */
    DO_END_IF_ALONE, /* ALONE, where no generation and no earlier process is left */
    DO_END,
    LIFE_STEPS
};

enum { LIFE_QUEUE = 16 };

struct lifecycle {
    enum life_state state;
    unsigned remembered; /* events that wait for a state that takes them, one bit each */
    void (*take)(void *context, enum life_step step);
    void *context;
    enum life_event queue[LIFE_QUEUE]; /* reported while steps are being taken */
    unsigned n_queued;
    bool is_busy;
};

/* state: LIFE_STARTING or LIFE_TAKING_OVER. take: does what a step says, and may report events. */
void lifecycle_init(struct lifecycle *life, enum life_state state,
                    void (*take)(void *context, enum life_step step), void *context);

/* Takes the steps that the event leads to; called from within a step, after the steps under way. */
void lifecycle_report(struct lifecycle *life, enum life_event event);

#endif
