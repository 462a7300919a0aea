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
#define SYSCTLS           "sysctls"

enum { NAME_LEN = PRESENCE_NAME_LEN, SYSCTLS_MAX = 256 };
enum { FOLDER_TRIES = 100, LOCK_TRIES = 100, LOCK_PAUSE_NS = 5000000 };

struct runtime {
    int error;    /* why there is no directory; 0 = there is one */
    int parent;   /* descriptor of the runtime directory, -1 */
    int folder;   /* ... and of this network namespace's in it */
    int lock;     /* while locked, else -1 */
    int claim;    /* holds the lock on our claim file */
    int presence; /* an abstract socket: seen by all of the network namespace */
    char folder_name[NAME_LEN];
    char claim_name[NAME_LEN];
    struct runtime_sysctl sysctls[SYSCTLS_MAX];
    size_t n_sysctls;
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

static void read_sysctls(struct runtime *runtime)
{
    FILE *file = open_file(runtime, SYSCTLS);
    struct runtime_sysctl item;

    runtime->n_sysctls = 0;
    while (file && runtime->n_sysctls < SYSCTLS_MAX &&
           fscanf(file, "%63s %d", item.name, &item.value) == 2)
        runtime->sysctls[runtime->n_sysctls++] = item;
    if (file)
        fclose(file);
}

/* Written aside and renamed: after a crash there is the old file or the new one. */
static int write_sysctls(const struct runtime *runtime)
{
    int fd =
        openat(runtime->folder, SYSCTLS ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = file != NULL;

    for (size_t i = 0; ok && i < runtime->n_sysctls; i++)
        ok = fprintf(file, "%s %d\n", runtime->sysctls[i].name, runtime->sysctls[i].value) > 0;
    if (file)
        ok = fclose(file) == 0 && ok;
    else if (fd >= 0)
        close(fd);
    if (!ok || renameat(runtime->folder, SYSCTLS ".new", runtime->folder, SYSCTLS) < 0)
        return errno > 0 ? -errno : -EIO;
    return 0;
}

int runtime_remember(struct runtime *runtime, const char *name, int value)
{
    struct runtime_sysctl *item;

    if (runtime->error == 0)
        read_sysctls(runtime);
    for (size_t i = 0; i < runtime->n_sysctls; i++) {
        if (strcmp(runtime->sysctls[i].name, name) == 0)
            return 0;
    }
    if (runtime->n_sysctls == SYSCTLS_MAX)
        return -ENOSPC;
    item = &runtime->sysctls[runtime->n_sysctls++];
    snprintf(item->name, sizeof(item->name), "%s", name);
    item->value = value;
    return runtime->error == 0 ? write_sysctls(runtime) : 0;
}

int runtime_forget(struct runtime *runtime, const char *name)
{
    size_t kept = 0;

    if (runtime->error == 0)
        read_sysctls(runtime);
    for (size_t i = 0; i < runtime->n_sysctls; i++) {
        if (strcmp(runtime->sysctls[i].name, name) != 0)
            runtime->sysctls[kept++] = runtime->sysctls[i];
    }
    runtime->n_sysctls = kept;
    return runtime->error == 0 ? write_sysctls(runtime) : 0;
}

const struct runtime_sysctl *runtime_sysctls(const struct runtime *runtime, size_t *n)
{
    *n = runtime->n_sysctls;
    return runtime->sysctls;
}

static int open_claim(struct runtime *runtime)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(runtime->claim_name, sizeof(runtime->claim_name), CLAIM "%d.%lld%09ld", (int)getpid(),
             (long long)now.tv_sec, now.tv_nsec);
    runtime->claim =
        openat(runtime->folder, runtime->claim_name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (runtime->claim < 0)
        return -errno;
    return flock(runtime->claim, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int runtime_claim(struct runtime *runtime, const struct wanted *wanted)
{
    int r = 0;
    FILE *file;
    int fd;

    if (runtime->error != 0)
        return 0;
    if (runtime->claim < 0)
        r = open_claim(runtime);
    if (r < 0)
        return r;
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

/* Does somebody hold this claim? */
static bool is_alive(const struct runtime *runtime, const char *name)
{
    int fd = openat(runtime->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool alive = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;

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
    read_sysctls(runtime);
    folder = list_folder(runtime);
    if (!folder)
        return -errno;
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

static bool has_claims(const struct runtime *runtime)
{
    const struct dirent *entry;
    DIR *folder = list_folder(runtime);
    bool found = false;

    while (folder && (entry = readdir(folder)))
        found |= strncmp(entry->d_name, CLAIM, sizeof(CLAIM) - 1) == 0;
    if (folder)
        closedir(folder);
    return found;
}

void runtime_withdraw(struct runtime *runtime)
{
    if (runtime->error != 0 || runtime_lock(runtime) < 0)
        return;
    if (runtime->claim >= 0)
        unlinkat(runtime->folder, runtime->claim_name, 0);
    close_fd(&runtime->claim);
    read_sysctls(runtime);
    if (!has_claims(runtime) && runtime->n_sysctls == 0) {
        unlinkat(runtime->folder, SYSCTLS, 0);
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
