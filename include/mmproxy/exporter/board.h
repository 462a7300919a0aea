/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * board: what the supervisor tells the exporter besides the counters, in shared memory that the
 * supervisor alone writes. Each exporter has a board of its own: the list of listeners on it does
 * not change while it lives.
 */
#ifndef MMPROXY_EXPORTER_BOARD_H
#define MMPROXY_EXPORTER_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/config/config.h"

enum board_health { BOARD_UNKNOWN, BOARD_DOWN, BOARD_UP };

/* Do a listener's ports take connections? If not, why? */
enum board_state {
    BOARD_OPEN,
    BOARD_DRAINED,     /* mmproxyctl drain */
    BOARD_TARGET_DOWN, /* close_when_down */
    BOARD_NO_NETNS,    /* the network namespace of its targets can't be used */
    BOARD_REMOVED,     /* the configuration has it no more; its last sessions are open */
    BOARD_STATES
};

/* The word for it in every answer and metric. */
const char *board_state_word(enum board_state state);

enum board_family { BOARD_V4, BOARD_V6, BOARD_FAMILIES };

struct board_listener {
    char name[LISTENER_NAME_MAX + 1];
    unsigned number; /* in the counters */
    enum protocol protocol;
    _Atomic uint8_t state; /* enum board_state */
    /* By family. Unknown: there is no such target, or no check of it has come to its end. */
    _Atomic uint8_t target[BOARD_FAMILIES];
    _Atomic uint8_t return_path[BOARD_FAMILIES];
};

struct board {
    size_t n_listeners;          /* of the generation that serves and of those that drain */
    size_t n_serving;            /* the first so many are those of the current configuration */
    _Atomic int64_t started_s;   /* wall clock */
    _Atomic int64_t loaded_s;    /* the same: when the last load ended */
    _Atomic uint32_t generation; /* that serves; 0 = none */
    _Atomic uint32_t draining;   /* generations */
    _Atomic uint32_t workers;    /* that serve */
    atomic_bool has_failed;      /* the last load */
    _Atomic uint64_t descriptors_limit; /* of each worker */
    struct board_listener listeners[];
};

/* returns: a board for so many listeners, all zero, or NULL when memory is short. */
struct board *board_new(size_t n_listeners);

/* Takes NULL. */
void board_free(struct board *board);

/* In the exporter: it can't write there from now on. returns: 0 or -errno. */
int board_lock(struct board *board);

/* Does a generation serve? One that has no listeners needs no worker for that. */
bool board_is_serving(const struct board *board);

#endif
