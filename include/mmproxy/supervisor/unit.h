/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unit: how systemd runs mmproxy.service. -n and --check read the files as the service will:
 * root reads what its user can't, and the service would start with that configuration, or
 * reload it, in vain.
 */
#ifndef MMPROXY_SUPERVISOR_UNIT_H
#define MMPROXY_SUPERVISOR_UNIT_H

#include <stdbool.h>
#include <sys/types.h>

struct unit {
    char user[64]; /* "": the service is not run by systemd, or not with this file, or as root */
    bool hides_homes;
    gid_t groups[64]; /* of this process, to come back to */
    int n_groups;
};

/* Asks systemd, if this process is root. Else, and without systemd, the user is "". */
void unit_find(struct unit *out, const char *config_path);

/*
 * From here on files are opened as the service opens them. returns: 0; -errno, with nothing
 * changed: ENOENT: there is no such user.
 */
int unit_enter(struct unit *unit);

/* The user is root again; home directories stay hidden for this process. */
void unit_leave(const struct unit *unit);

#endif
