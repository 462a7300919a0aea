/* SPDX-License-Identifier: BSD-2-Clause */
/* caps: which capabilities a process keeps. A set has a bit for each capability. */
#ifndef MMPROXY_JAIL_CAPS_H
#define MMPROXY_JAIL_CAPS_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPS_BIT(capability) (UINT64_C(1) << (capability))

enum { CAPS_TEXT_MAX = 1024 };

/* One capability and why it is kept. */
struct caps_line {
    int capability;
    const char *why;
};

/* The table of what the supervisor may keep, each with its reason; static. */
const struct caps_line *caps_supervisor_lines(size_t *n);

/* Besides, where a listener has the key netns. */
const struct caps_line *caps_namespace_lines(size_t *n);

/* The permitted set of this process. */
uint64_t caps_permitted(void);

/*
 * The least that spoofed connections need here, found by trying: CAP_NET_RAW alone, else
 * CAP_NET_ADMIN, which SO_MARK wants before Linux 5.17.
 * returns: 0 with *out, or -errno: EPERM (neither is enough, or there is neither), ...
 */
int caps_probe(uint32_t mark, uint64_t *out);

/*
 * Raises in, or lowers from, the effective set: a process uses a privilege that it keeps only
 * while it does what the privilege is for. Bits that are not permitted are left alone.
 * returns: 0 or -errno.
 */
int caps_raise(uint64_t set);
int caps_lower(uint64_t set);

/*
 * The supervisor's: gives up for ever what its table does not name, for programs that it runs
 * too; ambient ones that stay are passed on to them. CAP_NET_ADMIN is kept but lowered, and so
 * are those for namespaces; a second call may give these up. returns: 0 or -errno.
 */
int caps_confine_supervisor(bool enters_namespaces);

/*
 * A worker's, first step, while it has all its privileges: empties the bounding set and locks
 * the securebits where CAP_SETPCAP allows it. Afterwards changing users does not take
 * capabilities away. returns: 0 or -errno.
 */
int caps_bound(void);

/*
 * Second step, as the user that it stays: permitted and effective are what keep and the
 * permitted set have in common, nothing else is left. returns: 0 or -errno.
 */
int caps_keep(uint64_t keep);

/* "cap_net_raw cap_net_bind_service", "none". returns: out. */
char *caps_format(uint64_t set, char out[CAPS_TEXT_MAX]);

#endif
