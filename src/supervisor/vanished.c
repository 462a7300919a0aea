/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/vanished.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mmproxy/jail/caps.h"
#include "mmproxy/routing/managed/runtime_dir.h"

/* Threads of one process may be in several. A process that can't be looked at may be in any. */
static bool has_thread_in(const char *pid, unsigned long long inode)
{
    const struct dirent *entry;
    bool found = false;
    char path[64];
    struct stat info;

    snprintf(path, sizeof path, "/proc/%.20s/task", pid);
    DIR *threads = opendir(path);
    while (!found && threads && (entry = readdir(threads))) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "%.20s/ns/net", entry->d_name);
        if (fstatat(dirfd(threads), path, &info, 0) == 0)
            found = info.st_ino == inode;
        else
            found = errno != ENOENT && errno != ESRCH; /* ended meanwhile */
    }
    if (threads)
        closedir(threads);
    return found;
}

static bool has_process(unsigned long long inode)
{
    const struct dirent *entry;
    DIR *processes = opendir("/proc");
    bool found = !processes;

    while (!found && (entry = readdir(processes)))
        found = isdigit((unsigned char)entry->d_name[0]) && has_thread_in(entry->d_name, inode);
    if (processes)
        closedir(processes);
    return found;
}

/* As those in /run/netns are. */
static bool is_mounted(unsigned long long inode)
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    bool found = !mounts;
    char root[32];
    char line[4096];

    snprintf(root, sizeof root, " net:[%llu] ", inode);
    while (!found && fgets(line, sizeof line, mounts))
        found = strstr(line, root);
    if (mounts)
        fclose(mounts);
    return found;
}

static bool is_there(unsigned long long inode)
{
    return is_mounted(inode) || has_process(inode);
}

void vanished_clean(void)
{
    (void)caps_raise(CAPS_BIT(CAP_SYS_PTRACE));
    runtime_dir_sweep(is_there);
    (void)caps_lower(CAPS_BIT(CAP_SYS_PTRACE));
}
