/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/runtime.h"

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

#include "mmproxy/routing/managed/claims.h"
#include "mmproxy/routing/managed/presence.h"

#define DEFAULT_DIRECTORY "/run/mmproxy"

enum { FOLDER_TRIES = 100, LOCK_TRIES = 100, LOCK_PAUSE_NS = 5000000 };

struct runtime {
    int error;     /* why there is no directory; 0 = there is one */
    int parent;    /* descriptor of the runtime directory, -1 */
    int folder;    /* ... and of this network namespace's in it */
    int lock;      /* while locked, else -1 */
    int claim;     /* holds the lock on our claim file */
    int presence;  /* an abstract socket: seen by all of the network namespace */
    bool is_alone; /* the presence says so: our claim can't be seen by others */
    bool is_busy;  /* another one would not let go of the lock */
    char folder_name[PRESENCE_NAME_LEN];
    char claim_name[CLAIMS_NAME_LEN];
    struct remembered remembered;
};

/* Another instance, as the last one, may remove it between the two calls: then once more. */
static int open_folder(int at, const char *path, mode_t mode)
{
    int tries = 0;
    int fd;

    do {
        if (mkdirat(at, path, mode) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    } while (fd < 0 && errno == ENOENT && ++tries < FOLDER_TRIES);
    return fd < 0 ? -errno : fd;
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

static int take_lock(struct runtime *runtime)
{
    struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

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

/* Anew from the top: what was there may have been removed, or mounted over. */
static void open_directory(struct runtime *runtime)
{
    close_fd(&runtime->parent);
    runtime->parent = open_parent();
    if (runtime->parent < 0) {
        runtime->error = runtime->parent;
        runtime->parent = -1;
        return;
    }
    runtime->error = reopen_folder(runtime);
    if (runtime->error == 0 && faccessat(runtime->folder, ".", W_OK, AT_EACCESS) < 0)
        runtime->error = -errno;
}

int runtime_lock(struct runtime *runtime)
{
    int r;

    if (runtime->error != 0)
        open_directory(runtime);
    if (runtime->error != 0)
        return 0;
    r = take_lock(runtime);
    runtime->is_busy = r == -EBUSY;
    return r;
}

void runtime_unlock(struct runtime *runtime)
{
    close_fd(&runtime->lock);
}

/* What tells others' presence from those who see our claim; -1: nobody does. */
static int presence_folder(const struct runtime *runtime)
{
    return runtime->is_alone ? -1 : runtime->parent;
}

/* Where the file of sysctls is; -1 where only memory is left. */
static struct remembered_place place(const struct runtime *runtime)
{
    return (struct remembered_place){
        .folder = runtime->error == 0 ? runtime->folder : -1,
        .is_locked = runtime->lock >= 0,
    };
}

int runtime_remember(struct runtime *runtime, const char *name, int value)
{
    return remembered_add(&runtime->remembered, place(runtime), name, value);
}

int runtime_forget(struct runtime *runtime, const char *name)
{
    return remembered_drop(&runtime->remembered, place(runtime), name);
}

const struct runtime_sysctl *runtime_sysctls(const struct runtime *runtime, size_t *n)
{
    *n = runtime->remembered.n;
    return runtime->remembered.items;
}

/* Is there a claim, and did nobody remove its file? */
static bool has_claim(const struct runtime *runtime)
{
    struct stat info;

    return runtime->claim >= 0 && fstat(runtime->claim, &info) == 0 && info.st_nlink > 0;
}

static int write_claim(struct runtime *runtime, const struct wanted *wanted)
{
    if (!has_claim(runtime)) {
        close_fd(&runtime->claim);
        runtime->claim = claims_make(runtime->folder, runtime->claim_name);
    }
    if (runtime->claim < 0)
        return runtime->claim;
    return claims_write(runtime->folder, runtime->claim_name, runtime->claim, wanted);
}

/* Those who could not read our claim must not take what we need for left over. */
static void show_presence(struct runtime *runtime, bool is_alone)
{
    int fd;

    if (runtime->presence >= 0 && runtime->is_alone == is_alone)
        return;
    runtime->is_alone = is_alone;
    fd = presence_open(presence_folder(runtime));
    close_fd(&runtime->presence);
    runtime->presence = fd;
}

int runtime_claim(struct runtime *runtime, const struct wanted *wanted)
{
    int saved;
    int r;

    if (runtime->error != 0)
        return 0;
    r = write_claim(runtime, wanted);
    show_presence(runtime, r < 0);
    saved = remembered_save(&runtime->remembered, place(runtime));
    return r < 0 ? r : saved;
}

int runtime_others(struct runtime *runtime, struct wanted *out, struct runtime_view *view)
{
    *view = (struct runtime_view){ .strangers = presence_of_strangers(presence_folder(runtime)) };
    if (runtime->error != 0)
        return 0;
    remembered_read(&runtime->remembered, runtime->folder);
    if (runtime->is_busy) {
        view->incomplete = true; /* whoever has the lock may be writing, or making, a claim */
        return 0;
    }
    return claims_read(runtime->folder, runtime->claim_name, out, &view->incomplete, &view->died);
}

struct runtime *runtime_new(void)
{
    struct runtime *runtime = calloc(1, sizeof(*runtime));

    if (!runtime)
        return NULL;
    runtime->parent = runtime->folder = runtime->lock = runtime->claim = runtime->presence = -1;
    presence_namespace(runtime->folder_name);
    open_directory(runtime);
    show_presence(runtime, runtime->error != 0);
    return runtime;
}

int runtime_error(const struct runtime *runtime)
{
    return runtime->error;
}

bool runtime_has_claims(const struct runtime *runtime)
{
    return runtime->error == 0 && claims_exist(runtime->folder);
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

void runtime_abandon(struct runtime *runtime)
{
    if (runtime)
        free_all(runtime, false);
}

void runtime_leave(struct runtime *runtime)
{
    if (runtime)
        free_all(runtime, true);
}
