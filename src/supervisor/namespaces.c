/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/namespaces.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/jail/caps.h"
#include "mmproxy/routing/wanted/auto_path.h"

#define OWN_PATH       "/proc/self/ns/net"
#define DOES_NOT_EXIST "its network namespace does not exist"
#define LO_IS_DOWN     "the loopback of its network namespace is down"

enum { PATH_SIZE = sizeof NAMESPACES_NAMES + LISTENER_NETNS_MAX };

static const uint64_t needed = CAPS_BIT(CAP_SYS_ADMIN) | CAPS_BIT(CAP_SYS_PTRACE);

int namespaces_open(struct namespaces *namespaces)
{
    struct stat info;
    int fd = open(OWN_PATH, O_RDONLY | O_CLOEXEC);

    *namespaces = (struct namespaces){ .own = { .fd = fd, .probe = -1 } };
    LIST_INSERT_HEAD(&namespaces->all, &namespaces->own, link);
    if (fd < 0 || fstat(fd, &info) < 0)
        return -errno;
    namespaces->device = info.st_dev;
    namespaces->own_inode = info.st_ino;
    (void)locals_new(&namespaces->own.locals);
    return 0;
}

static void close_one(struct network *network)
{
    locals_free(network->locals);
    network->locals = NULL;
    if (network->probe >= 0)
        close(network->probe);
    if (network->fd >= 0)
        close(network->fd);
    network->probe = network->fd = -1;
}

void namespaces_drop(struct network *network)
{
    assert(network->id != 0 && !network->managed);
    LIST_REMOVE(network, link);
    close_one(network);
    free(network);
}

void namespaces_close(struct namespaces *namespaces)
{
    struct network *network = LIST_FIRST(&namespaces->all);

    while (network) {
        struct network *next = LIST_NEXT(network, link);
        if (network->id != 0)
            namespaces_drop(network);
        network = next;
    }
    close_one(&namespaces->own);
}

bool namespaces_are_wanted(const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].netns[0] != '\0')
            return true;
    return false;
}

struct network *namespaces_get(struct namespaces *namespaces, uint64_t id)
{
    struct network *network;

    LIST_FOREACH (network, &namespaces->all, link)
        if (network->id == id)
            return network;
    return NULL;
}

static int enter(int fd)
{
    return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int namespaces_enter(const struct network *network)
{
    if (network->id == 0)
        return 0;
    (void)caps_raise(needed);
    int err = enter(network->fd);
    (void)caps_lower(needed);
    return err;
}

void namespaces_leave(const struct namespaces *namespaces, const struct network *network)
{
    if (network->id == 0)
        return;
    (void)caps_raise(needed);
    int err = enter(namespaces->own.fd);
    (void)caps_lower(needed);
    /* Whatever followed would be done to the wrong network. */
    assert(err == 0);
}

static const char *path_of(const struct listener_config *listener, char out[PATH_SIZE])
{
    (void)snprintf(out, PATH_SIZE, "%s%s", listener->netns[0] == '/' ? "" : NAMESPACES_NAMES,
                   listener->netns);
    return out;
}

/* returns: 0 with its inode's number, or -errno: -ENOENT where no namespace is at that path. */
static int look_up(const struct namespaces *namespaces, const char *path, uint64_t *inode)
{
    struct stat info;

    (void)caps_raise(needed);
    int err = stat(path, &info) < 0 ? -errno : 0;
    (void)caps_lower(needed);
    if (err == 0 && info.st_dev != namespaces->device)
        err = -ENOENT; /* a file that one is yet to be mounted on */
    if (err == 0)
        *inode = info.st_ino;
    return err;
}

/* Opens what can be opened from within. returns: 0 or -errno. */
static int look_inside(const struct namespaces *namespaces, struct network *network)
{
    int err = namespaces_enter(network);

    if (err < 0)
        return err;
    network->probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)locals_new(&network->locals);
    namespaces_leave(namespaces, network);
    return network->probe < 0 ? -EMFILE : 0;
}

static int open_path(struct network *network, const char *path)
{
    struct stat info = { .st_ino = 0 };

    (void)caps_raise(needed);
    /* Meanwhile it may have become a FIFO. */
    network->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int err = network->fd < 0 || fstat(network->fd, &info) < 0 ? -errno : 0;
    (void)caps_lower(needed);
    if (err == 0 && ioctl(network->fd, NS_GET_NSTYPE) != CLONE_NEWNET)
        err = -EINVAL;
    if (err == 0)
        network->id = info.st_ino;
    return err;
}

static struct network *get_known(struct namespaces *namespaces, uint64_t inode)
{
    return inode == namespaces->own_inode ? &namespaces->own : namespaces_get(namespaces, inode);
}

/* The path may lead to a known one by now. returns: 1 if it is new, else 0, with *out; or -errno.
 */
static int add(struct namespaces *namespaces, const char *path, struct network **out)
{
    struct network *network = calloc(1, sizeof *network);

    if (!network)
        return -ENOMEM;
    network->fd = network->probe = -1;
    int err = open_path(network, path);
    *out = err == 0 ? get_known(namespaces, network->id) : NULL;
    if (err == 0 && !*out)
        err = look_inside(namespaces, network);
    if (err < 0 || *out) {
        close_one(network);
        free(network);
        return err;
    }
    LIST_INSERT_AFTER(&namespaces->own, network, link);
    *out = network;
    return 1;
}

static bool has_loopback(const struct network *network)
{
    struct ifreq request = { .ifr_name = "lo" };

    return ioctl(network->probe, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP;
}

static const char *reason_of(int err)
{
    if (err == -EPERM || err == -EACCES)
        return "its network namespace can't be entered: that takes CAP_SYS_ADMIN, and "
               "CAP_SYS_PTRACE "
               "for a path in /proc";
    if (err == -EINVAL)
        return "its netns is no network namespace";
    return DOES_NOT_EXIST;
}

/* returns: why it can't be used, or NULL with *out. */
static const char *find_namespace(struct namespaces *namespaces,
                                  const struct listener_config *listener, struct network **out)
{
    char path[PATH_SIZE];
    uint64_t inode = 0;

    *out = &namespaces->own;
    if (listener->netns[0] == '\0')
        return NULL;
    int err = look_up(namespaces, path_of(listener, path), &inode);
    if (err == 0)
        *out = get_known(namespaces, inode);
    if (err == 0 && !*out)
        err = add(namespaces, path, out);
    if (err < 0)
        return reason_of(err);
    if (*out == &namespaces->own || has_loopback(*out))
        return NULL;
    if (err == 1) /* kept only for use: else each one that comes and goes would stay */
        namespaces_drop(*out);
    return LO_IS_DOWN;
}

const char *namespaces_cure(const char *closed_because)
{
    if (strcmp(closed_because, DOES_NOT_EXIST) == 0)
        return " Start the container, or what else makes it; or correct netns. To see those that "
               "have names: ip netns";
    return "";
}

/* What depends on the network of a listener's targets. */
static void find(struct namespaces *namespaces, struct listener_config *listener)
{
    struct network *network;

    listener->closed_because = find_namespace(namespaces, listener, &network);
    listener->namespace_id = listener->closed_because ? 0 : network->id;
    listener->auto_v4 = listener->auto_v6 = RETURN_PATH_AUTO;
    if (!listener->closed_because)
        auto_path_find(listener, network->locals);
}

static void update_locals(const struct namespaces *namespaces)
{
    const struct network *network;

    LIST_FOREACH (network, &namespaces->all, link)
        if (network->locals)
            (void)locals_update(network->locals);
}

void namespaces_find(struct namespaces *namespaces, struct config *config)
{
    update_locals(namespaces);
    for (size_t i = 0; i < config->n_listeners; i++) {
        struct listener_config *listener = &config->listeners[i];
        listener->index = i;
        find(namespaces, listener);
        if (listener->closed_because)
            listener->n_listen = 0;
    }
}

bool namespaces_differ(struct namespaces *namespaces, const struct config *config)
{
    update_locals(namespaces);
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *then = &config->listeners[i];
        struct listener_config now = *then;
        find(namespaces, &now);
        if (now.closed_because != then->closed_because || now.namespace_id != then->namespace_id ||
            now.auto_v4 != then->auto_v4 || now.auto_v6 != then->auto_v6)
            return true;
    }
    return false;
}

struct network *namespaces_open_down(struct namespaces *namespaces,
                                     struct listener_config *listener, bool *is_new)
{
    struct network *network = NULL;
    char path[PATH_SIZE];

    if (!listener->closed_because || strcmp(listener->closed_because, LO_IS_DOWN) != 0)
        return NULL;
    int err = add(namespaces, path_of(listener, path), &network);
    if (err < 0 || network == &namespaces->own)
        return NULL;
    *is_new = err == 1;
    listener->namespace_id = network->id;
    auto_path_find(listener, network->locals);
    return network;
}

int namespaces_part(const struct config *config, uint64_t id, struct config *out)
{
    *out = *config;
    out->n_listeners = 0;
    out->listeners = calloc(config->n_listeners + 1, sizeof *out->listeners);
    if (!out->listeners)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].namespace_id == id && !config->listeners[i].closed_because)
            out->listeners[out->n_listeners++] = config->listeners[i];
    return 0;
}
