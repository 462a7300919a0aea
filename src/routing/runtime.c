/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mmproxy/routing/presence.h"

#define DEFAULT_DIRECTORY "/run/mmproxy"
#define CLAIM             "claim."

enum { NAME_LEN = PRESENCE_NAME_LEN, LOCK_TRIES = 100, LOCK_PAUSE_NS = 5000000 };

struct runtime {
    int error;    /* why there is no directory; 0 = there is one */
    int parent;   /* descriptor of the runtime directory, -1 */
    int folder;   /* ... and of this network namespace's in it */
    int lock;     /* while locked, else -1 */
    int claim;    /* holds the lock on our claim file */
    int presence; /* an abstract socket: seen by all of the network namespace */
    char folder_name[NAME_LEN];
    char claim_name[NAME_LEN];
    struct remembered remembered;
};

static int open_folder(int at, const char *path, mode_t mode)
{
    int fd;

    if (mkdirat(at, path, mode) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    return fd;
}

static int open_parent(void)
{
    const char *given = getenv("RUNTIME_DIRECTORY");
    char path[PATH_MAX];

    if (!given || given[0] != '/')
        given = DEFAULT_DIRECTORY;
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(given, ":"), given);
    return open_folder(AT_FDCWD, path, 0755);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int open_lock(struct runtime *runtime)
{
    runtime->lock = openat(runtime->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return runtime->lock < 0 ? -errno : 0;
}

/* Another instance may have removed the folder, as the last one, just before we locked it. */
static bool is_lock_current(const struct runtime *runtime)
{
    struct stat ours;
    struct stat now;

    return fstat(runtime->lock, &ours) == 0 &&
           fstatat(runtime->folder, "lock", &now, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == now.st_ino && ours.st_dev == now.st_dev;
}

static int reopen_folder(struct runtime *runtime)
{
    int fd = open_folder(runtime->parent, runtime->folder_name, 0700);

    if (fd < 0)
        return fd;
    close_fd(&runtime->folder);
    runtime->folder = fd;
    return 0;
}

int runtime_lock(struct runtime *runtime)
{
    struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

    if (runtime->error != 0)
        return 0;
    for (int i = 0; i < LOCK_TRIES; i++) {
        int r = open_lock(runtime);

        if (r == -ENOENT)
            r = reopen_folder(runtime);
        if (r < 0)
            return r;
        if (runtime->lock < 0)
            continue;
        if (flock(runtime->lock, LOCK_EX | LOCK_NB) == 0 && is_lock_current(runtime))
            return 0;
        close_fd(&runtime->lock);
        nanosleep(&pause, NULL);
    }
    return -EBUSY;
}

void runtime_unlock(struct runtime *runtime)
{
    close_fd(&runtime->lock);
}

/* The whole of a file that we wrote; NULL where there is none. Owned by the caller. */
static FILE *open_file(const struct runtime *runtime, const char *name)
{
    int fd = openat(runtime->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

    if (!file && fd >= 0)
        close(fd);
    return file;
}

/* -1 where only memory is left. */
static int usable_folder(const struct runtime *runtime)
{
    return runtime->error == 0 ? runtime->folder : -1;
}

int runtime_remember(struct runtime *runtime, const char *name, int value)
{
    return remembered_add(&runtime->remembered, usable_folder(runtime), name, value);
}

int runtime_forget(struct runtime *runtime, const char *name)
{
    return remembered_drop(&runtime->remembered, usable_folder(runtime), name);
}

const struct runtime_sysctl *runtime_sysctls(const struct runtime *runtime, size_t *n)
{
    *n = runtime->remembered.n;
    return runtime->remembered.items;
}

static int open_claim(struct runtime *runtime)
{
    struct timespec now;

    close_fd(&runtime->claim);
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(runtime->claim_name, sizeof(runtime->claim_name), CLAIM "%d.%lld%09ld", (int)getpid(),
             (long long)now.tv_sec, now.tv_nsec);
    runtime->claim =
        openat(runtime->folder, runtime->claim_name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (runtime->claim < 0)
        return -errno;
    return flock(runtime->claim, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* Is there a claim, and did nobody remove its file? */
static bool has_claim(const struct runtime *runtime)
{
    struct stat info;

    return runtime->claim >= 0 && fstat(runtime->claim, &info) == 0 && info.st_nlink > 0;
}

static int write_claim(const struct runtime *runtime, const struct wanted *wanted)
{
    FILE *file;
    int fd;
    int r;

    /* In place: another file would not have the lock. Nobody reads without the common one. */
    fd = openat(runtime->folder, runtime->claim_name, O_WRONLY | O_TRUNC | O_CLOEXEC);
    file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        r = -errno;
        close_fd(&fd);
        return r;
    }
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];

        fprintf(file, "%d %d %u %u %s\n", (int)item->kind, item->family == AF_INET6 ? 6 : 4,
                item->mark, item->table, item->sysctl[0] ? item->sysctl : "-");
    }
    return fclose(file) == 0 ? 0 : -errno;
}

int runtime_claim(struct runtime *runtime, const struct wanted *wanted)
{
    int r = 0;
    int saved;

    if (runtime->error != 0)
        return 0;
    if (!has_claim(runtime))
        r = open_claim(runtime);
    if (r == 0)
        r = write_claim(runtime, wanted);
    saved = remembered_save(&runtime->remembered, runtime->folder);
    return r < 0 ? r : saved;
}

static int read_claim(const struct runtime *runtime, const char *name, struct wanted *out)
{
    FILE *file = open_file(runtime, name);
    struct wanted_item item = { 0 };
    int family;
    int kind;
    int r = 0;

    while (file && r == 0 &&
           fscanf(file, "%d %d %u %u %63s", &kind, &family, &item.mark, &item.table, item.sysctl) ==
               5) {
        item.kind = (enum wanted_kind)kind;
        item.family = family == 6 ? AF_INET6 : AF_INET;
        if (strcmp(item.sysctl, "-") == 0)
            item.sysctl[0] = '\0';
        r = wanted_add_item(out, &item);
    }
    if (file)
        fclose(file);
    return r;
}

/* Does somebody hold this claim? One that can't be looked at may be held. */
static bool is_alive(const struct runtime *runtime, const char *name)
{
    int fd = openat(runtime->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool alive = fd < 0 ? errno != ENOENT : flock(fd, LOCK_SH | LOCK_NB) < 0;

    if (fd >= 0)
        close(fd);
    return alive;
}

/* A listing of its own: the descriptor's position is shared by whoever inherited it. */
static DIR *list_folder(const struct runtime *runtime)
{
    int fd = openat(runtime->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    if (!folder && fd >= 0)
        close(fd);
    return folder;
}

int runtime_others(struct runtime *runtime, struct wanted *out, bool *strangers, bool *died)
{
    const struct dirent *entry;
    DIR *folder;
    int r = 0;

    *died = false;
    *strangers = presence_of_strangers(runtime->parent);
    if (runtime->error != 0)
        return 0;
    remembered_read(&runtime->remembered, runtime->folder);
    folder = list_folder(runtime);
    if (!folder) {
        *strangers = true;
        return -errno;
    }
    while (r == 0 && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, CLAIM, sizeof(CLAIM) - 1) != 0 ||
            strcmp(entry->d_name, runtime->claim_name) == 0)
            continue;
        if (is_alive(runtime, entry->d_name)) {
            r = read_claim(runtime, entry->d_name, out);
            continue;
        }
        unlinkat(runtime->folder, entry->d_name, 0);
        *died = true;
    }
    closedir(folder);
    return r;
}

struct runtime *runtime_new(void)
{
    struct runtime *runtime = calloc(1, sizeof(*runtime));

    if (!runtime)
        return NULL;
    runtime->folder = runtime->lock = runtime->claim = runtime->presence = -1;
    presence_namespace(runtime->folder_name);
    runtime->parent = open_parent();
    if (runtime->parent < 0)
        runtime->error = runtime->parent;
    else
        runtime->error = reopen_folder(runtime);
    if (runtime->error == 0 && faccessat(runtime->folder, ".", W_OK, AT_EACCESS) < 0)
        runtime->error = -errno;
    runtime->presence = presence_open(runtime->parent);
    return runtime;
}

int runtime_error(const struct runtime *runtime)
{
    return runtime->error;
}

bool runtime_has_claims(const struct runtime *runtime)
{
    const struct dirent *entry;
    bool found = false;

    if (runtime->error != 0)
        return false;
    DIR *folder = list_folder(runtime);
    if (!folder)
        return true; /* there may be */
    while ((entry = readdir(folder)))
        found |= strncmp(entry->d_name, CLAIM, sizeof(CLAIM) - 1) == 0;
    closedir(folder);
    return found;
}

void runtime_withdraw(struct runtime *runtime)
{
    int r;

    if (runtime->error != 0)
        return;
    r = runtime_lock(runtime);
    if (runtime->claim >= 0)
        unlinkat(runtime->folder, runtime->claim_name, 0);
    close_fd(&runtime->claim);
    remembered_read(&runtime->remembered, runtime->folder);
    if (r == 0 && !runtime_has_claims(runtime) && runtime->remembered.n == 0) {
        remembered_unlink(runtime->folder);
        unlinkat(runtime->folder, "lock", 0);
        unlinkat(runtime->parent, runtime->folder_name, AT_REMOVEDIR);
    }
    runtime_unlock(runtime);
}

static void free_all(struct runtime *runtime, bool keep_claim)
{
    close_fd(&runtime->parent);
    close_fd(&runtime->folder);
    close_fd(&runtime->lock);
    close_fd(&runtime->presence);
    if (!keep_claim)
        close_fd(&runtime->claim);
    free(runtime);
}

void runtime_free(struct runtime *runtime)
{
    if (!runtime)
        return;
    runtime_withdraw(runtime);
    free_all(runtime, false);
}

void runtime_leave(struct runtime *runtime)
{
    if (runtime)
        free_all(runtime, true);
}
