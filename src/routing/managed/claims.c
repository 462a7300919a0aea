/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/claims.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define CLAIM "claim."

int claims_make(int folder, char name[CLAIMS_NAME_LEN])
{
    struct timespec now;
    int fd;
    int r;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(name, CLAIMS_NAME_LEN, CLAIM "%d.%lld%09ld", (int)getpid(), (long long)now.tv_sec,
             now.tv_nsec);
    fd = openat(folder, name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    r = -errno; /* without its lock it is no claim */
    unlinkat(folder, name, 0);
    close(fd);
    return r;
}

/* The claim as text, owned by the caller; NULL where memory is short. */
static char *format(const struct wanted *wanted, size_t *len)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, len);

    if (!file)
        return NULL;
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        fprintf(file, "%d %d %u %u %s\n", (int)item->kind, item->family == AF_INET6 ? 6 : 4,
                item->mark, item->table, item->sysctl[0] ? item->sysctl : "-");
    }
    if (fclose(file) == 0)
        return text;
    free(text);
    return NULL;
}

static bool says(int claim, const char *text, size_t len)
{
    char *now = malloc(len + 1);
    bool same = now && pread(claim, now, len + 1, 0) == (ssize_t)len && memcmp(now, text, len) == 0;

    free(now);
    return same;
}

/* Over what was there and shortened afterwards: a full file system takes nothing away. */
static int overwrite(int fd, const char *text, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, text + done, len - done, (off_t)done);

        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

int claims_write(int folder, const char *name, int claim, const struct wanted *wanted)
{
    size_t len = 0;
    char *text = format(wanted, &len);
    int fd;
    int r;

    if (!text)
        return -ENOMEM;
    if (says(claim, text, len)) {
        free(text);
        return 0;
    }
    /* In place: another file would not have the lock. Nobody reads without the common one. */
    fd = openat(folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 ? -errno : overwrite(fd, text, len);
    if (fd >= 0)
        close(fd);
    free(text);
    return r;
}

/* returns: 0, or -errno where not all of it was read. */
static int read_items(FILE *file, struct wanted *out)
{
    struct wanted_item item = { 0 };
    int family;
    int kind;
    int r = 0;

    while (r == 0 && fscanf(file, "%d %d %u %u %63s", &kind, &family, &item.mark, &item.table,
                            item.sysctl) == 5) {
        item.kind = (enum wanted_kind)kind;
        item.family = family == 6 ? AF_INET6 : AF_INET;
        if (strcmp(item.sysctl, "-") == 0)
            item.sysctl[0] = '\0';
        r = wanted_add_item(out, &item);
    }
    if (r == 0 && ferror(file))
        return -EIO;
    return r == 0 && !feof(file) ? -EBADMSG : r;
}

/* fd: closed. */
static int read_open(int fd, struct wanted *out)
{
    FILE *file = fdopen(fd, "r");
    int r;

    if (!file) {
        r = -errno;
        close(fd);
        return r;
    }
    r = read_items(file, out);
    fclose(file);
    return r;
}

/* Adds it to out if somebody holds it. returns: 0, or -errno where it can't be known or read. */
static int read_claim(int folder, const char *name, struct wanted *out, bool *died)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        unlinkat(folder, name, 0);
        *died = true;
    } else if (errno == EWOULDBLOCK) {
        return read_open(fd, out);
    } else {
        r = -errno;
    }
    close(fd);
    return r;
}

/* A listing of its own: the descriptor's position is shared by whoever inherited it. */
static DIR *list(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

static bool is_claim(const char *name)
{
    return strncmp(name, CLAIM, sizeof(CLAIM) - 1) == 0;
}

int claims_read(int folder, const char *own, struct wanted *out, bool *incomplete, bool *died)
{
    const struct dirent *entry;
    DIR *dir = list(folder);
    int first = dir ? 0 : -errno;

    while (dir && (entry = readdir(dir))) {
        int r = 0;

        if (is_claim(entry->d_name) && strcmp(entry->d_name, own) != 0)
            r = read_claim(folder, entry->d_name, out, died);
        if (first == 0)
            first = r;
    }
    if (dir)
        closedir(dir);
    *incomplete |= first < 0;
    return first;
}

bool claims_exist(int folder)
{
    const struct dirent *entry;
    DIR *dir = list(folder);
    bool found = !dir; /* there may be */

    while (dir && (entry = readdir(dir)))
        found |= is_claim(entry->d_name);
    if (dir)
        closedir(dir);
    return found;
}
