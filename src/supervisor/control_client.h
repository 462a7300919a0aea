/* SPDX-License-Identifier: BSD-2-Clause */
/* control_client: one connection to the control socket; commands.c fills it, control.c sends. */
#ifndef SUPERVISOR_CONTROL_CLIENT_H
#define SUPERVISOR_CONTROL_CLIENT_H

#include <ev.h>

#include "mmproxy/control/json.h"
#include "mmproxy/control/request.h"
#include "mmproxy/exporter/metrics.h"
#include "mmproxy/supervisor/control.h"

enum {
    CLIENT_LINE_MAX = 8192,      /* of an answer */
    CLIENT_OUT_MAX = 256 * 1024, /* what waits for a client that reads slowly */
    CLIENT_OUT_MUCH = 64 * 1024, /* with so much waiting nothing more is asked for */
};

/* The same command, put to the process before an upgrade; see earlier.h. */
struct earlier_question {
    enum { EARLIER_UNASKED, EARLIER_ASKED, EARLIER_TOLD } state;
    bool is_partial; /* not all that it knows has come */
    int fd;          /* its answer; -1 = none is under way */
    ev_io io;
    size_t n;
    char line[CLIENT_LINE_MAX + 1];
};

struct control_client {
    LIST_ENTRY(control_client) link;
    struct supervisor *supervisor;
    int fd;
    bool may_change;
    bool is_asked;    /* its request has come */
    bool is_answered; /* nothing will be added to out */
    struct request request;
    char in[REQUEST_MAX];
    size_t n_in;
    char *out; /* from start on it is to be sent; owned */
    size_t out_start;
    size_t out_len;
    size_t out_size;
    ev_io io;
    ev_timer timeout;
    /* The state of the command under way. */
    size_t next; /* status: the next listener; sessions and close: the next worker */
    pid_t *pids; /* sessions, close: of the workers; owned */
    size_t n_pids;
    size_t next_id;
    bool is_first;   /* of this worker's sessions nothing has been asked yet */
    size_t n_mapped; /* map: how many listeners have been looked at */
    bool is_inspecting;
    unsigned n_silent; /* workers that did not answer */
    uint64_t n_closed;
    unsigned loads;      /* that are to end before the answer */
    bool has_marked;     /* drain, resume: the name was added or taken away */
    struct board *board; /* metrics: what they are made of; owned */
    struct metrics_cursor cursor;
    pid_t checker; /* check: the process; 0 = none */
    int check_fd;  /* its report */
    ev_io check_io;
    bool check_ended;
    bool check_holds;
    bool has_begun; /* status: what comes before the processes before an upgrade */
    struct earlier_question earlier;
};

/* A line of an answer. */
struct control_line {
    struct json json;
    char text[CLIENT_LINE_MAX];
};

/* returns: the line's object, with its type. */
struct json *control_line_begin(struct control_line *line, const char *type);

/* Adds a line. If it does not fit, line and client are dropped. */
void control_client_add(struct control_client *client, struct json *json);
void control_client_add_text(struct control_client *client, const char *text, size_t len);

/* The last line: an exit status, and a sentence or NULL. */
void control_client_end(struct control_client *client, int code, const char *message);

/* Is there so much for the client to read that nothing more should be added now? */
bool control_client_is_behind(const struct control_client *client);

/* Waits for what the client does next, and ends its patience where it does nothing. */
void control_client_watch(struct control_client *client);

#endif
