/* SPDX-License-Identifier: BSD-2-Clause */
/* user: whom workers run as. */
#ifndef MMPROXY_JAIL_USER_H
#define MMPROXY_JAIL_USER_H

#include <stdbool.h>
#include <sys/types.h>

struct user {
    uid_t uid;
    gid_t gid;
    bool is_switched;  /* workers become it; else they stay the supervisor's user */
    bool is_unmapped;  /* not switched because this user namespace does not have it */
    bool drops_groups; /* supplementary groups can be given up here */
};

/*
 * Looks the service user up. Where mmproxy was not started by root, workers stay the user that
 * started it. May read files and ask name services: not for workers. returns: 0, or -errno: ENOENT
 * (there is no such user), ...
 */
int user_find(struct user *out, const char *name);

/* Becomes it for ever, with its group alone. returns: 0 or -errno: EPERM, ... */
int user_become(const struct user *user);

#endif
