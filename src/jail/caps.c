/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/caps.h"

#include <errno.h>
#include <linux/securebits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "mmproxy/net/spoof.h"

/*
 * Not here: CAP_SYS_RESOURCE (the soft limit of descriptors may be raised to the hard
 * one by anybody), CAP_DAC_OVERRIDE and CAP_CHOWN (what it writes, in /run and /proc/sys, is
 * root's).
 */
static const struct caps_line supervisor_lines[] = {
    { CAP_NET_BIND_SERVICE, "listeners below port 1024, at each reload; for workers too" },
    { CAP_NET_RAW, "IP_TRANSPARENT, and SO_MARK since Linux 5.17: what workers are given" },
    { CAP_NET_ADMIN, "the return path: rules, routes, nftables, sysctls; older SO_MARK" },
    { CAP_SETUID, "workers become the service user" },
    { CAP_SETGID, "... with its group and no others" },
    { CAP_SETPCAP, "workers' bounding set is emptied and their securebits locked" },
    { CAP_KILL, "workers run as another user and may have to be killed" },
    { CAP_DAC_READ_SEARCH, "subnets files of other users, ~/x.conf for a try" },
};

/* Besides, where a listener has the key netns. */
static const struct caps_line namespace_lines[] = {
    { CAP_SYS_ADMIN, "setns(2): workers, checks and return paths in other network namespaces" },
    { CAP_SYS_PTRACE, "paths such as /proc/4711/ns/net of processes that have other rights" },
};

/* Without setuid programs and root's special rights; none of it can be undone. */
static const unsigned worker_securebits =
    SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

struct sets {
    uint64_t permitted;
    uint64_t effective;
    uint64_t inheritable;
};

const struct caps_line *caps_namespace_lines(size_t *n)
{
    *n = sizeof namespace_lines / sizeof *namespace_lines;
    return namespace_lines;
}

const struct caps_line *caps_supervisor_lines(size_t *n)
{
    *n = sizeof supervisor_lines / sizeof *supervisor_lines;
    return supervisor_lines;
}

static int last_capability(void)
{
    int n = cap_max_bits();

    return n < 64 ? n : 64;
}

static uint64_t get_flag(cap_t caps, cap_flag_t flag)
{
    uint64_t set = 0;

    for (int i = 0; i < last_capability(); i++) {
        cap_flag_value_t value = CAP_CLEAR;
        if (cap_get_flag(caps, i, flag, &value) == 0 && value == CAP_SET)
            set |= CAPS_BIT(i);
    }
    return set;
}

static int get_sets(struct sets *sets)
{
    cap_t caps = cap_get_proc();

    *sets = (struct sets){ 0 };
    if (!caps)
        return -errno;
    sets->permitted = get_flag(caps, CAP_PERMITTED);
    sets->effective = get_flag(caps, CAP_EFFECTIVE);
    sets->inheritable = get_flag(caps, CAP_INHERITABLE);
    cap_free(caps);
    return 0;
}

static void set_flag(cap_t caps, cap_flag_t flag, uint64_t set)
{
    for (int i = 0; i < last_capability(); i++)
        if (set & CAPS_BIT(i))
            (void)cap_set_flag(caps, flag, 1, &i, CAP_SET);
}

static int set_sets(const struct sets *sets)
{
    cap_t caps = cap_init();
    if (!caps)
        return -errno;

    set_flag(caps, CAP_PERMITTED, sets->permitted);
    set_flag(caps, CAP_EFFECTIVE, sets->effective);
    set_flag(caps, CAP_INHERITABLE, sets->inheritable);
    int err = cap_set_proc(caps) < 0 ? -errno : 0;
    cap_free(caps);
    return err;
}

uint64_t caps_permitted(void)
{
    struct sets sets;

    return get_sets(&sets) < 0 ? 0 : sets.permitted;
}

static int set_effective(const struct sets *had, uint64_t effective)
{
    struct sets sets = *had;

    sets.effective = effective & had->permitted;
    return set_sets(&sets);
}

int caps_probe(uint32_t mark, uint64_t *out)
{
    static const uint64_t candidates[] = { CAPS_BIT(CAP_NET_RAW), CAPS_BIT(CAP_NET_ADMIN) };
    struct sets had;

    int err = get_sets(&had);
    if (err < 0)
        return err;
    err = -EPERM;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates && err == -EPERM; i++) {
        if (!(candidates[i] & had.permitted))
            continue;
        err = set_effective(&had, candidates[i]);
        if (err == 0)
            err = spoof_probe(mark);
        *out = candidates[i];
    }
    int restored = set_effective(&had, had.effective);
    return err < 0 ? err : restored;
}

int caps_raise(uint64_t set)
{
    struct sets had;

    int err = get_sets(&had);
    return err < 0 ? err : set_effective(&had, had.effective | set);
}

int caps_lower(uint64_t set)
{
    struct sets had;

    int err = get_sets(&had);
    return err < 0 ? err : set_effective(&had, had.effective & ~set);
}

/* This takes CAP_SETPCAP. A process without it sets no_new_privs, which is enough. */
static void drop_bounding(uint64_t keep)
{
    for (int i = 0; i < last_capability(); i++)
        if (!(keep & CAPS_BIT(i)) && cap_get_bound(i) == 1)
            (void)cap_drop_bound(i);
}

int caps_confine_supervisor(bool enters_namespaces)
{
    struct sets sets;
    uint64_t lowered = CAPS_BIT(CAP_NET_ADMIN);
    uint64_t keep = 0;

    for (size_t i = 0; i < sizeof supervisor_lines / sizeof *supervisor_lines; i++)
        keep |= CAPS_BIT(supervisor_lines[i].capability);
    for (size_t i = 0; enters_namespaces && i < sizeof namespace_lines / sizeof *namespace_lines;
         i++)
        lowered |= CAPS_BIT(namespace_lines[i].capability);
    keep |= lowered;
    int err = get_sets(&sets);
    if (err < 0)
        return err;
    drop_bounding(keep);
    sets.permitted &= keep;
    sets.effective = sets.permitted & ~lowered;
    /* The kernel takes from the ambient set what is no longer in these two. */
    sets.inheritable &= sets.permitted;
    return set_sets(&sets);
}

int caps_bound(void)
{
    drop_bounding(0);
    if (cap_set_secbits(worker_securebits) == 0)
        return 0;
    return prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) < 0 ? -errno : 0;
}

int caps_keep(uint64_t keep)
{
    struct sets sets;

    int err = get_sets(&sets);
    if (err < 0)
        return err;
    /* Fails where it is locked, and is off then; execve(2) would turn it off in any case. */
    (void)prctl(PR_SET_KEEPCAPS, 0L, 0L, 0L, 0L);
    sets.permitted &= keep;
    sets.effective = sets.permitted;
    sets.inheritable = 0;
    return set_sets(&sets);
}

char *caps_format(uint64_t set, char out[CAPS_TEXT_MAX])
{
    size_t used = 0;

    (void)snprintf(out, CAPS_TEXT_MAX, "none");
    for (int i = 0; i < last_capability(); i++) {
        if (!(set & CAPS_BIT(i)))
            continue;
        char *name = cap_to_name(i);
        int n = snprintf(out + used, CAPS_TEXT_MAX - used, "%s%s", used > 0 ? " " : "",
                         name ? name : "?");
        cap_free(name);
        if (n < 0 || (size_t)n >= CAPS_TEXT_MAX - used)
            break;
        used += (size_t)n;
    }
    return out;
}
