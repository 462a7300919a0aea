/* SPDX-License-Identifier: BSD-2-Clause */
#include "map_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REASON_MAX = CONFIG_MAP_KEY_MAX + 160 };

#define REASON(...) (snprintf(reason, REASON_MAX, __VA_ARGS__), false)

/* Of the file that was opened, which a symbolic link may have led to. */
static bool is_private(const char *path, const struct stat *status, char reason[REASON_MAX])
{
    if (!S_ISREG(status->st_mode))
        return REASON("it must be a file of %d bytes", CLIENT_MAP_KEY_LEN);
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return REASON("it belongs to user %lu, not to the user that mmproxy runs as: chown %lu %s",
                      (unsigned long)status->st_uid, (unsigned long)geteuid(), path);
    if ((status->st_mode & 077) != 0)
        return REASON("its mode is %04o, so that others can use it: chmod 600 %s",
                      (unsigned)status->st_mode & 07777, path);
    return true;
}

static bool read_open_key(struct listener_config *listener, int fd, char reason[REASON_MAX])
{
    uint8_t bytes[CLIENT_MAP_KEY_LEN + 1];
    struct stat status;

    if (fstat(fd, &status) < 0)
        return REASON("%s", strerror(errno));
    if (!is_private(listener->map_key, &status, reason))
        return false;
    if (read(fd, bytes, sizeof bytes) != CLIENT_MAP_KEY_LEN)
        return REASON("it must be a file of %d bytes", CLIENT_MAP_KEY_LEN);
    memcpy(listener->map_secret.bytes, bytes, CLIENT_MAP_KEY_LEN);
    listener->has_map_secret = true;
    return true;
}

/* returns: 1: it was read; 0: there is no such file; -1: it is of no use, and *reason says why. */
static int read_key(struct listener_config *listener, char reason[REASON_MAX])
{
    int fd = open(listener->map_key, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        (void)REASON("%s", strerror(errno));
        return errno == ENOENT ? 0 : -1;
    }
    bool is_good = read_open_key(listener, fd, reason);
    close(fd);
    return is_good ? 1 : -1;
}

void map_key_read(struct draft *draft, struct mistakes *mistakes)
{
    char reason[REASON_MAX];

    if (!listener_config_maps(&draft->config, AF_INET6) || draft_is_bad(draft, "map_key"))
        return;
    if (read_key(&draft->config, reason) < 0)
        mistakes_error(mistakes, draft_line_of(draft, "map_key"), "\"map_key\" is \"%.255s\": %s",
                       draft->config.map_key, reason);
}

/* Written whole under another name: nobody ever reads half a key. returns: 0 or -errno. */
static int write_key(const char *path, const struct client_map_key *key)
{
    char temporary[CONFIG_MAP_KEY_MAX + 16];
    int err = 0;

    (void)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    (void)unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    errno = EIO;
    if (fchmod(fd, 0600) < 0 || write(fd, key->bytes, sizeof key->bytes) != sizeof key->bytes ||
        fsync(fd) < 0)
        err = -errno;
    close(fd);
    /* Another start may have been first: its key stays. */
    if (err == 0 && link(temporary, path) < 0 && errno != EEXIST)
        err = -errno;
    (void)unlink(temporary);
    return err;
}

static void make_folder(const char *path)
{
    char folder[CONFIG_MAP_KEY_MAX];
    char *slash;

    (void)snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        (void)mkdir(folder, 0700); /* write_key says what is wrong with it */
    }
}

static void report(const struct config_sink *sink, bool is_error,
                   const struct listener_config *listener, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void report(const struct config_sink *sink, bool is_error,
                   const struct listener_config *listener, const char *format, ...)
{
    char text[REASON_MAX + 80];
    char line[REASON_MAX + 1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)snprintf(line, sizeof line, "%.400s:%u: \"map_key\" is \"%.255s\": %s",
                   listener->file ? listener->file : "mmproxy", listener->line, listener->map_key,
                   text);
    sink->report(sink->context, is_error, line);
}

/* Makes the file, unless another process was first, and reads it. returns: 0, -1 with *reason. */
static int make_key(struct listener_config *listener, const struct client_map_key *key,
                    char reason[REASON_MAX])
{
    make_folder(listener->map_key);
    int err = write_key(listener->map_key, key);
    if (err < 0)
        (void)REASON("it can't be made: %s", strerror(-err));
    else if ((err = read_key(listener, reason)) == 0)
        (void)REASON("it is a symbolic link that leads nowhere, or is gone again");
    return err > 0 ? 0 : -1;
}

static bool create_key(struct listener_config *listener, const struct config_sink *sink)
{
    struct client_map_key key;
    char reason[REASON_MAX] = "there are no random bytes";
    int err = -1;

    if (getrandom(key.bytes, sizeof key.bytes, 0) == sizeof key.bytes)
        err = make_key(listener, &key, reason);
    if (err < 0)
        report(sink, true, listener, "%s", reason);
    return err == 0;
}

/* The key stays in use even if it can't be written: another would change every mapped address. */
static void restore_key(struct listener_config *listener, const struct client_map_key *key,
                        const struct config_sink *sink)
{
    char reason[REASON_MAX];

    if (make_key(listener, key, reason) == 0) {
        report(sink, false, listener, "it was deleted; the key in use has been written back");
        return;
    }
    listener->map_secret = *key;
    listener->has_map_secret = true;
    report(sink, false, listener,
           "it is gone, and mapped addresses will change at the next start: %s", reason);
}

static const struct client_map_key *find_key(const struct config *in_use, const char *path)
{
    for (size_t i = 0; in_use && i < in_use->n_listeners; i++) {
        const struct listener_config *listener = &in_use->listeners[i];
        if (listener->has_map_secret && strcmp(listener->map_key, path) == 0)
            return &listener->map_secret;
    }
    return NULL;
}

static bool is_missing(const struct listener_config *listener)
{
    struct stat status;

    return stat(listener->map_key, &status) < 0 && errno == ENOENT;
}

bool config_complete_map_keys(struct config *config, const struct config *in_use,
                              const struct config_sink *sink)
{
    bool is_good = true;

    for (size_t i = 0; i < config->n_listeners; i++) {
        struct listener_config *listener = &config->listeners[i];
        const struct client_map_key *key;

        if (!listener_config_maps(listener, AF_INET6) ||
            (listener->has_map_secret && !is_missing(listener)))
            continue;
        key = find_key(in_use, listener->map_key);
        if (key)
            restore_key(listener, key, sink);
        else
            is_good = create_key(listener, sink) && is_good;
    }
    return is_good;
}
