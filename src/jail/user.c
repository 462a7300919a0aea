/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/user.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/jail/caps.h"

/* Each line of a map is "first-inside first-outside count". Without /proc nothing is known. */
static bool is_mapped(const char *map, uint32_t id)
{
    FILE *file = fopen(map, "re");
    uint32_t first;
    uint32_t count;
    bool found = false;

    if (!file)
        return true;
    while (!found && fscanf(file, "%" SCNu32 " %*u %" SCNu32, &first, &count) == 2)
        found = id >= first && id - first < count;
    fclose(file);
    return found;
}

/* A user namespace made by an ordinary user has setgroups(2) denied for good. */
static bool may_set_groups(void)
{
    char word[8] = "";

    if (!(caps_permitted() & CAPS_BIT(CAP_SETGID)))
        return false;
    FILE *file = fopen("/proc/self/setgroups", "re");
    if (!file)
        return true;
    (void)!fscanf(file, "%7s", word);
    fclose(file);
    return strcmp(word, "deny") != 0;
}

int user_find(struct user *out, const char *name)
{
    *out = (struct user){ .uid = geteuid(), .gid = getegid(), .drops_groups = may_set_groups() };
    if (out->uid != 0)
        return 0;

    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry)
        return errno != 0 ? -errno : -ENOENT;
    if (!is_mapped("/proc/self/uid_map", entry->pw_uid) ||
        !is_mapped("/proc/self/gid_map", entry->pw_gid)) {
        out->is_unmapped = true;
        return 0;
    }
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    out->is_switched = true;
    return 0;
}

int user_become(const struct user *user)
{
    if (user->drops_groups && setgroups(0, NULL) < 0)
        return -errno;
    if (!user->is_switched)
        return 0;
    /* The group first: the user has no right to change it any more. */
    if (setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return -errno;
    return 0;
}
