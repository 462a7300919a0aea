/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inspection: the supervisor has a worker list sessions, or end some of them. Question and answer
 * are in memory that the two share; the channel says only that one is there (WORKER_INSPECT,
 * WORKER_INSPECTED). A worker looks at a bounded number of sessions for each question and serves
 * others before the next one.
 */
#ifndef MMPROXY_WORKER_INSPECTION_H
#define MMPROXY_WORKER_INSPECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/base/subnets.h"
#include "mmproxy/config/config.h"

enum { INSPECTION_RECORDS = 32, INSPECTION_LOOKS = 256 };

/* Which sessions. All zero: all of them. */
struct session_filter {
    char listener[LISTENER_NAME_MAX + 1]; /* "" = any */
    struct prefix client;                 /* no address = any */
    struct prefix peer;
    uint64_t number; /* in its worker; 0 = any */
};

struct session_record {
    uint64_t number; /* in its worker, from 1 */
    char listener[LISTENER_NAME_MAX + 1];
    enum protocol protocol;
    unsigned state; /* an enum session_state; over UDP always SESSION_RELAY */
    struct addr peer;
    struct addr client; /* not set before its header is complete */
    struct addr mapped; /* that the target sees, where it is not the client's; else not set */
    struct addr target;
    uint64_t age_ms;
    uint64_t idle_ms;
    uint64_t bytes_in;
    uint64_t bytes_out;
};

struct inspection {
    /* The supervisor's part. */
    struct session_filter filter;
    bool is_first;  /* from the beginning; else on from where the last answer ended */
    bool is_ending; /* end them instead of listing them */
    /* The worker's part. */
    bool is_done; /* there are no more */
    uint32_t n;   /* in records, or ended */
    struct session_record records[INSPECTION_RECORDS];
};

struct worker;

/* Answers the question that is in the worker's inspection. */
void inspection_answer(struct worker *worker);

#endif
