/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/claims.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mmproxy/routing/kernel/unixdiag.h"
#include "mmproxy/routing/managed/runtime_dir.h"

#define SOCKET_PREFIX "mmproxy-claim/"
#define FILE_PREFIX   "claim."
#define ASIDE         ".new" /* what is being written; becomes the claim's file by rename(2) */

enum { FILE_NAME_LEN = sizeof FILE_PREFIX + CLAIMS_ID_LEN + sizeof ASIDE, TRIES = 10 };

static void format_file_name(const char *id, const char *suffix, char out[FILE_NAME_LEN])
{
    snprintf(out, FILE_NAME_LEN, FILE_PREFIX "%s%s", id, suffix);
}

/* returns: 0, or -errno: -EADDRINUSE where a process has that name. */
static int bind_name(int fd, const char *id)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int len = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, SOCKET_PREFIX "%s", id);

    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    return bind(fd, (const struct sockaddr *)&name, size) < 0 ? -errno : 0;
}

/*
 * One end of a pair whose other end is closed: no process can connect to it, and the worker that
 * inherits it can neither connect it nor send anything.
 */
static int make_claim(struct claim *claim)
{
    unsigned long long chance;
    int ends[2];

    if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
        return -errno;
    snprintf(claim->id, sizeof claim->id, "%d.%016llx", (int)getpid(), chance);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    close(ends[1]);
    int err = bind_name(ends[0], claim->id);
    if (err < 0)
        close(ends[0]);
    else
        claim->fd = ends[0];
    return err;
}

/* The claim as text, owned by the caller; NULL where memory is short. */
static char *format(const struct wanted *wanted, size_t *len)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, len);

    if (!file)
        return NULL;
    for (size_t i = 0; i < wanted->n_items; i++)
        wanted_write_item(file, &wanted->items[i]);
    if (fclose(file) == 0)
        return text;
    free(text);
    return NULL;
}

static bool says_already(int folder, const char *file_name, const char *text, size_t len)
{
    int fd = openat(folder, file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool is_same = fd >= 0;
    ssize_t n = 1;
    size_t done = 0;
    char now[512];

    for (; is_same && n > 0; done += (size_t)n) {
        n = read(fd, now, sizeof now);
        is_same = n >= 0 && (size_t)n <= len - done && memcmp(now, text + done, (size_t)n) == 0;
    }
    if (fd >= 0)
        close(fd);
    return is_same && done == len;
}

static int write_file(int folder, const char *file_name, const char *text, size_t len)
{
    int fd = openat(folder, file_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = 0;

    if (fd < 0)
        return -errno;
    for (size_t done = 0; err == 0 && done < len;) {
        ssize_t n = write(fd, text + done, len - done);

        if (n < 0)
            err = -errno;
        else
            done += (size_t)n;
    }
    close(fd);
    return err;
}

/* A file that says less than what is needed would be worse than none: it goes. */
static int replace_file(int folder, const char *id, const char *text, size_t len)
{
    char aside[FILE_NAME_LEN];
    char file_name[FILE_NAME_LEN];

    format_file_name(id, ASIDE, aside);
    format_file_name(id, "", file_name);
    if (says_already(folder, file_name, text, len))
        return 0;
    int err = write_file(folder, aside, text, len);
    if (err == 0 && renameat(folder, aside, folder, file_name) < 0)
        err = -errno;
    if (err < 0) {
        (void)unlinkat(folder, aside, 0);
        (void)unlinkat(folder, file_name, 0);
    }
    return err;
}

/* The last instance to leave may remove the folder before there is a file of ours in it. */
static int say(const char *id, const char *text, size_t len)
{
    int err = -ENOENT;

    for (int i = 0; err == -ENOENT && i < TRIES; i++) {
        int folder = runtime_dir_open(true);

        if (folder < 0)
            return folder;
        err = replace_file(folder, id, text, len);
        close(folder);
    }
    return err;
}

int claims_say(struct claim *claim, const struct wanted *wanted)
{
    size_t len = 0;
    int err = claim->fd < 0 ? make_claim(claim) : 0;

    if (err < 0)
        return err;
    char *text = format(wanted, &len);
    if (!text)
        return -ENOMEM;
    err = say(claim->id, text, len);
    free(text);
    return err;
}

static void remove_files(const char *id)
{
    char file_name[FILE_NAME_LEN];
    int folder = runtime_dir_open(false);

    if (folder < 0)
        return;
    format_file_name(id, ASIDE, file_name);
    (void)unlinkat(folder, file_name, 0);
    format_file_name(id, "", file_name);
    (void)unlinkat(folder, file_name, 0);
    close(folder);
}

void claims_abandon(struct claim *claim)
{
    if (claim->fd >= 0)
        close(claim->fd);
    claim->fd = -1;
}

void claims_withdraw(struct claim *claim)
{
    if (claim->fd >= 0)
        remove_files(claim->id);
    claims_abandon(claim);
}

/* returns: false where the name is not that of a claim's file. */
static bool parse_file_name(const char *file_name, char id[CLAIMS_ID_LEN], bool *is_aside)
{
    const char *name = file_name + sizeof FILE_PREFIX - 1;
    size_t len = strlen(file_name);

    if (strncmp(file_name, FILE_PREFIX, sizeof FILE_PREFIX - 1) != 0)
        return false;
    len -= sizeof FILE_PREFIX - 1;
    *is_aside = len >= sizeof ASIDE && strcmp(name + len - (sizeof ASIDE - 1), ASIDE) == 0;
    if (*is_aside)
        len -= sizeof ASIDE - 1;
    if (len == 0 || len >= CLAIMS_ID_LEN)
        return false;
    snprintf(id, CLAIMS_ID_LEN, "%.*s", (int)len, name);
    return true;
}

/* returns: 0, or -errno where not all of it was read. */
static int read_items(FILE *file, struct wanted *out)
{
    struct wanted_item item;
    char line[256];
    int err = 0;

    while (err == 0 && fgets(line, sizeof line, file))
        err = wanted_parse_item(line, &item) ? wanted_add_item(out, &item) : -EBADMSG;
    return err == 0 && ferror(file) ? -EIO : err;
}

static int read_claim(int folder, const char *file_name, struct wanted *out)
{
    int fd = openat(folder, file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    int err = file ? read_items(file, out) : -errno;

    if (file)
        fclose(file);
    else if (fd >= 0)
        close(fd);
    return err;
}

/* returns: 1 where no process has that name, 0 where one has it, or -errno. */
static int is_name_free(const char *id)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    int err = bind_name(fd, id);
    close(fd);
    return err == -EADDRINUSE ? 0 : err < 0 ? err : 1;
}

static const char *id_of(const struct unixdiag_socket *socket)
{
    return socket->name + sizeof SOCKET_PREFIX - 1;
}

static struct unixdiag_socket *find_socket(const struct unixdiag *sockets, const char *id)
{
    for (size_t i = 0; i < sockets->n_items; i++) {
        if (strcmp(id_of(&sockets->items[i]), id) == 0)
            return &sockets->items[i];
    }
    return NULL;
}

/*
 * Socket and file must have the same owner: any local user can bind a name. A socket
 * that is not listed may have come since, or the kernel can't list them: then the name is tried.
 * returns: 1 it lives, 0 it is dead, or -errno.
 */
static int is_alive(int folder, const char *file_name, const struct unixdiag_socket *socket,
                    const char *id)
{
    struct stat info;

    if (fstatat(folder, file_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 1 : -errno; /* withdrawn just now: nothing to do */
    if (socket)
        return socket->owner == info.st_uid;
    int is_free = is_name_free(id);
    return is_free < 0 ? is_free : !is_free;
}

static int add_dead(struct claims_view *view, const char *id)
{
    char(*more)[CLAIMS_ID_LEN] = reallocarray(view->dead, view->n_dead + 1, sizeof *more);

    if (!more)
        return -ENOMEM;
    view->dead = more;
    memcpy(view->dead[view->n_dead++], id, CLAIMS_ID_LEN);
    return 0;
}

static int read_file(struct claims_view *view, int folder, const char *file_name, const char *own,
                     struct unixdiag *sockets)
{
    char id[CLAIMS_ID_LEN];
    bool is_aside;

    if (!parse_file_name(file_name, id, &is_aside) || strcmp(id, own) == 0)
        return 0;
    struct unixdiag_socket *socket = find_socket(sockets, id);
    int alive = is_alive(folder, file_name, socket, id);
    if (alive < 0)
        return alive;
    if (!alive)
        return add_dead(view, id);
    if (is_aside)
        return 0;
    int err = read_claim(folder, file_name, &view->others);
    if (err == 0 && socket)
        socket->is_known = true;
    return err == -ENOENT ? 0 : err;
}

/* Only claims of root and of our own user count: any local user can bind a name. */
static bool has_unseen(const struct unixdiag *sockets, const char *own)
{
    for (size_t i = 0; i < sockets->n_items; i++) {
        const struct unixdiag_socket *socket = &sockets->items[i];

        if (!socket->is_known && strcmp(id_of(socket), own) != 0 &&
            (socket->owner == 0 || socket->owner == geteuid()))
            return true;
    }
    return false;
}

/* returns: the folder's entries, NULL where there are none; *err: 0 or -errno. */
static DIR *open_listing(int *err)
{
    int folder = runtime_dir_open(false);
    DIR *dir = folder < 0 ? NULL : fdopendir(folder);

    *err = folder < 0 ? folder : dir ? 0 : -errno;
    if (folder >= 0 && !dir)
        close(folder);
    if (*err == -ENOENT)
        *err = 0;
    return dir;
}

int claims_read(const struct claim *own, struct claims_view *view)
{
    const char *own_id = own->fd >= 0 ? own->id : "";
    struct unixdiag sockets = { 0 };
    const struct dirent *entry;
    int first = unixdiag_read(&sockets, SOCKET_PREFIX);
    int err;
    DIR *dir = open_listing(&err);

    first = first < 0 ? first : err;
    while (dir && (entry = readdir(dir))) {
        err = read_file(view, dirfd(dir), entry->d_name, own_id, &sockets);
        first = first < 0 ? first : err;
    }
    if (dir)
        closedir(dir);
    view->has_unseen = has_unseen(&sockets, own_id);
    view->is_incomplete = first < 0;
    unixdiag_close(&sockets);
    return first;
}

void claims_view_close(struct claims_view *view)
{
    wanted_close(&view->others);
    free(view->dead);
    *view = (struct claims_view){ 0 };
}

void claims_bury(const struct claims_view *view)
{
    for (size_t i = 0; i < view->n_dead; i++)
        remove_files(view->dead[i]);
}

bool claims_exist(void)
{
    const struct dirent *entry;
    char id[CLAIMS_ID_LEN];
    bool is_aside;
    int err;
    DIR *dir = open_listing(&err);
    bool found = err < 0; /* there may be */

    while (dir && (entry = readdir(dir)))
        found |= parse_file_name(entry->d_name, id, &is_aside);
    if (dir)
        closedir(dir);
    return found;
}
