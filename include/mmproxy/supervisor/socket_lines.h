/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * socket_lines: the log lines about sockets that open and close. A group of UDP sockets has one
 * line, and so has a range of ports.
 */
#ifndef MMPROXY_SUPERVISOR_SOCKET_LINES_H
#define MMPROXY_SUPERVISOR_SOCKET_LINES_H

#include "mmproxy/base/ports.h"
#include "mmproxy/config/config.h"

enum socket_event {
    SOCKET_OPENED,
    SOCKET_GONE,         /* no listener wants it any more */
    SOCKET_UNWANTED,     /* the same of one that was handed over */
    SOCKET_CLOSED,       /* for as long as no target can be reached */
    SOCKET_OPENED_AGAIN, /* ... and after that */
};

/* The line that is not written yet. All zero: there is none. */
struct socket_lines {
    const char *name; /* of the listener, or ""; the caller's, and compared by place */
    enum socket_event event;
    struct addr_range range;
};

/*
 * listener: whose sockets these are, and outlives the lines; NULL: no listener's. One address after
 * another, in their order; socket_lines_end is due.
 */
void socket_lines_add(struct socket_lines *lines, enum socket_event event,
                      const struct listener_config *listener, const struct addr *addr);
void socket_lines_end(struct socket_lines *lines);

#endif
