/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of check share. */
#ifndef MMPROXY_ROUTING_REPORT_CHECK_INTERNAL_H
#define MMPROXY_ROUTING_REPORT_CHECK_INTERNAL_H

#include <net/if.h>

#include "mmproxy/routing/report/attempts.h"
#include "mmproxy/routing/report/causes.h"

struct target {
    const struct listener_config *listener;
    struct addr addr;
    bool is_local;
    char device[IF_NAMESIZE]; /* that leads there; "" where none does */
    bool lacks_ipv6;          /* nothing to try */
    /* 0 or -errno. Of UDP: has it a socket, do replies come back? */
    int plain;
    int spoofed;
    struct addr source;    /* that the spoofed connection is from */
    bool is_translated;    /* it is reached, but not from the client's address */
    struct others *others; /* owned; clients who fail although the check's own does not; or NULL */
    struct addr client;    /* a real one whose connection failed of late; or not set */
    int client_result;
};

/* Is it tried by connecting? */
bool check_tries(const struct target *target);

/* A connection to it from a client's address; source not set: from one of this host's own. */
struct attempt check_attempt(const struct target *target, const struct addr *source);

/*
 * The second round of connections: from another address where the first one failed, from the
 * address of a real client that the sink names, and from clients that rules may treat differently.
 * returns: 0 or -ENOMEM.
 */
int check_again_run(struct target *items, size_t n, struct causes *causes,
                    const struct report_sink *sink);

#endif
