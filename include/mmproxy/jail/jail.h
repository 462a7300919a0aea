/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * jail: what is left to a process once it has what it needs. docs/threat-model.md says what
 * that is good for.
 */
#ifndef MMPROXY_JAIL_JAIL_H
#define MMPROXY_JAIL_JAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/config/config.h"
#include "mmproxy/jail/user.h"

/* How the workers of one configuration are jailed: a value, made by the supervisor. */
struct jail {
    struct user user;
    uint64_t caps;    /* kept by workers; see caps.h */
    bool keeps_ports; /* they bind clients' ports */
    bool has_udp;     /* they have UDP listeners */
    bool has_filter;  /* sandbox */
    bool is_exporter; /* it is no worker, but serves the metrics */
};

/* The step that failed; static text to go between "can't" and strerror. NULL: nothing failed. */
struct jail_failure {
    const char *what;
};

/*
 * The supervisor, before it reads its configuration for the first time, so that a reload has
 * the rights that the start had: its capabilities, no_new_privs, not dumpable.
 * returns: 0, or -errno with *failure.
 */
int jail_confine(struct jail_failure *failure);

/*
 * The supervisor's filter, for good. The second time it does nothing.
 * returns: as jail_confine; it fails where the kernel has no seccomp filters.
 */
int jail_confine_calls(struct jail_failure *failure);

/*
 * No listener has targets in another network namespace: the supervisor can't enter one any more.
 * For good. returns: as jail_confine.
 */
int jail_give_up_namespaces(bool has_filter, struct jail_failure *failure);

/*
 * Makes the plan for the workers of a configuration: looks the user up and finds by trying
 * which capabilities spoofing needs. returns: as jail_confine; -EPERM: a privilege is missing.
 */
int jail_plan(struct jail *out, const struct config *config, struct jail_failure *failure);

/* The exporter's, made from that of the workers: no capability, and calls of its own. */
struct jail jail_of_exporter(const struct jail *workers);

/*
 * Closes the jail of a worker or the exporter, when everything is open and before a byte from the
 * network is read. For ever. tell: see trap_set. returns: as jail_confine; the process is then of
 * no use.
 */
int jail_close(const struct jail *jail, _Atomic uint32_t *tell, struct jail_failure *failure);

/* Is this a build for tests, whose jail is wider (filter_instrument_calls)? */
bool jail_is_instrumented(void);

#endif
