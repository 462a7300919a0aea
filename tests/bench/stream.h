/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream: a direction of a connection as records (wire.h), sent and received in phases.
 *
 * The client begins a phase with START, which tells how much the target shall send. Each
 * side sends DATA until its limit is reached or, where there is none, until it is asked to
 * finish, and ends with FINISH. The target finishes when the client has, so a phase is over
 * for the client when it has received FINISH: by then every byte has arrived both ways.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#define STREAM_UNLIMITED UINT64_MAX

struct stream_out {
    uint64_t position;   /* in the pattern */
    uint64_t limit;      /* bytes of this phase, or STREAM_UNLIMITED */
    uint64_t sent;       /* of them */
    uint64_t asked_back; /* the value of START */
    bool start_due;
    bool is_active; /* FINISH has not been begun yet */
    bool finish_asked;
    struct wire_record record;
    size_t record_left; /* bytes of it that are still to be sent */
    uint64_t data_left; /* bytes of its DATA */
};

/*
 * Begins a phase. asked_back: what the client wants from the target; NULL for the target,
 * which sends no START. The phase before must be over.
 */
void stream_out_begin(struct stream_out *out, uint64_t limit, const uint64_t *asked_back);

/* Sends no more than what has been begun (or the limit, where there is one), then FINISH. */
void stream_out_finish(struct stream_out *out);

/*
 * Sends what the socket takes, up to a share that is fair to other connections.
 * returns: 1 when nothing is left to be sent for now, 0 to be called when the socket is
 * writable again, or -errno.
 */
int stream_out_run(struct stream_out *out, int fd);

struct stream_in {
    uint64_t position;
    uint64_t received; /* bytes of DATA in this phase */
    bool every_byte;   /* compare them all (pattern.h) */
    struct wire_record record;
    size_t record_have;
    uint64_t data_left;
    void (*on_start)(void *owner, uint64_t asked); /* NULL: START is a mistake */
    void (*on_finish)(void *owner);
    void *owner;
};

/*
 * Reads what is there, up to a share that is fair to other connections. Ends the program when
 * bytes are wrong or fewer than FINISH says.
 * returns: 1 at the end of file, 0 to be called when there is more, or -errno.
 */
int stream_in_run(struct stream_in *in, int fd);

#endif
