/* SPDX-License-Identifier: BSD-2-Clause */
/* state: everything the supervisor holds, for the few files that share it. */
#ifndef MMPROXY_SUPERVISOR_STATE_H
#define MMPROXY_SUPERVISOR_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <time.h>

#include "mmproxy/config/cmdline.h"
#include "mmproxy/supervisor/generation.h"
#include "mmproxy/supervisor/leash.h"
#include "mmproxy/supervisor/lifecycle.h"
#include "mmproxy/supervisor/namespaces.h"
#include "mmproxy/supervisor/reader.h"
#include "mmproxy/supervisor/signals.h"
#include "mmproxy/supervisor/sockets.h"
#include "mmproxy/supervisor/targets.h"

struct board;
struct exporter_notes;
struct peers;
struct preflight_results;

/* A load from PREPARE to PROMOTE or ROLL_BACK; see load.h. */
struct load {
    struct config *config; /* from PREPARE to FORK; owned */
    struct jail jail;      /* for its workers */
    int exit_status;       /* of a start that fails for the latest reason */
    unsigned replaced;     /* number of the generation before the latest promoted one; 0 = none */
    unsigned waited_ms;    /* for ports that a mmproxy that was killed has still */
    ev_timer retry;        /* active: they are tried again */
};

/* The old process's side of SIGUSR2; see upgrade.h. */
struct upgrade {
    char *const *argv;
    int channel;         /* to the new process; -1 = there is none */
    pid_t pid;           /* the new process, which is no child of this one */
    int end_fd;          /* its pidfd, until it is ready; -1 = the kernel has none */
    const char *failure; /* of the latest; NULL: it has been logged */
    struct reader reader;
    struct reader end;
    ev_timer timeout; /* until it is ready; then: sends the number of sessions here */
};

/* The new process's side; see takeover.h. */
struct takeover {
    int channel; /* to the old process; -1 = there is none, or none any more */
    struct reader reader;
    bool is_done;      /* it has handed over */
    bool answers;      /* it can be asked for its sessions */
    unsigned sessions; /* open there, as the old process says */
};

/* A client that can't reach its target, although others can. */
struct preflight_told {
    size_t listener; /* its index */
    struct addr client;
    uint64_t at_us; /* monotonic; 0 = none */
};

enum { PREFLIGHT_TOLD_MAX = 16 };

/* The checks of targets; see preflight.h. */
struct preflight {
    pid_t pid;                         /* 0 = none runs */
    struct preflight_results *filling; /* what that process finds out */
    bool is_repeat;                    /* it checks some of them only */
    bool is_doubt;                     /* ... because a session could not reach its target */
    uint64_t started_us;               /* monotonic: when it was started */
    uint64_t before_us;                /* ... and the one before it */
    struct targets known;
    ev_timer due;         /* active: targets that fail are to be checked again */
    double delay_s;       /* of that */
    ev_timer watch;       /* looks for sessions that could not reach their target */
    unsigned doubt_gap_s; /* between two checks because of these */
    struct preflight_told told[PREFLIGHT_TOLD_MAX]; /* clients of late */
    size_t next_told;
};

/* Looks for changes of the networks of targets; see network_watch.h. */
struct network_watch {
    struct reader reader; /* of the addresses of mmproxy's own */
    ev_timer look;
    uint64_t held_until_ms; /* a load for its sake has failed */
    bool is_told;           /* what the supervisor keeps for it */
};

/* What the service manager is told; see status.h. */
struct status {
    char *mistakes;    /* all of them, a line each; owned; NULL = none */
    char mistake[256]; /* the first of the load under way, or of the last one */
    bool has_failed;   /* the last load */
    time_t loaded_at;  /* when the last load ended */
    bool is_reload;    /* ... which was not the first */
    time_t upgrade_failed_at;
    char told[640]; /* what the manager knows */
    ev_timer refresh;
};

/* The exporter, seen from here; see exports.h. */
struct exports {
    pid_t pid;       /* 0 = none runs */
    int channel;     /* its life; -1 = none */
    int old_channel; /* of the one before, while another one takes its place; -1 = none */
    struct board *board;
    struct exporter_notes *notes; /* from the first start on */
    time_t started_s;             /* this process, by the wall clock */
    uint64_t started_ms;          /* the exporter */
    unsigned deaths_in_a_row;     /* of exporters that did not live long */
    ev_timer retry;
    ev_timer refresh;
};

/* The control socket; see control.h. */
struct control {
    int fd; /* -1 = there is none */
    char *path;
    char *group; /* NULL = none */
    ino_t inode; /* of its file */
    dev_t device;
    struct reader reader;
    LIST_HEAD(, control_client) clients;
    unsigned n_clients;
    LIST_HEAD(, drained) drained;
    time_t started; /* this process */
};

/* A listener that mmproxyctl drain has closed. */
struct drained {
    LIST_ENTRY(drained) link;
    char name[LISTENER_NAME_MAX + 1];
};

struct supervisor {
    const struct cmdline *cmdline;
    struct ev_loop *loop;
    struct lifecycle life;
    struct signals signals;
    struct counters *counters;
    struct peers *peers; /* of UDP; see worker/datagram/peers.h */
    struct sockets sockets;
    struct load load;
    struct generation *next;         /* from FORK to PROMOTE or ROLL_BACK */
    struct generation *current;      /* NULL before the first one serves, and from RETIRE_ALL on */
    struct generation *previous;     /* from PROMOTE to RETIRE; then it is in draining */
    struct generation_list draining; /* and those that have been killed */
    struct generation_events generation_events;
    struct namespaces namespaces; /* each has its return path */
    struct network_watch network_watch;
    struct preflight preflight;
    bool return_path_is_there; /* all that is to be managed */
    struct upgrade upgrade;
    struct takeover takeover;
    struct leashes leashes;
    struct status status;
    struct exports exports;
    struct control control;
    int exit_status;
    ev_timer watchdog;
    ev_timer drain_notice; /* tells of generations that still drain */
    ev_timer stop_timer;
    unsigned drain_timeout_ms; /* of the configuration that served last */
    /* In a forked child: closes what only the supervisor may hold. context: the supervisor. */
    void (*leave)(void *context);
};

#endif
