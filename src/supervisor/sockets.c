/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/sockets.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/net/listening.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/net/steer.h"
#include "mmproxy/supervisor/service.h"
#include "mmproxy/supervisor/socket_lines.h"

/*
 * More than that many a service manager does not get: it names each of them in an environment
 * variable, which is limited. The unit's FileDescriptorStoreMax is above it.
 */
enum { STORED_MAX = 480 };

static bool has_address(const struct listen_socket *socket, enum protocol protocol,
                        const struct addr *addr)
{
    return socket->protocol == protocol && addr_equal(&socket->addr, addr);
}

/* The first place that does not come before the address. */
static size_t place_of(const struct sockets *sockets, enum protocol protocol,
                       const struct addr *addr)
{
    size_t low = 0;
    size_t n = sockets->n;

    while (n > 0) {
        size_t half = n / 2;
        const struct listen_socket *socket = &sockets->all[low + half];
        bool is_before = socket->protocol != protocol ? socket->protocol < protocol
                                                      : addr_compare(&socket->addr, addr) < 0;
        low += is_before ? half + 1 : 0;
        n = is_before ? n - half - 1 : half;
    }
    return low;
}

/* UDP: the group's first. */
static struct listen_socket *find(const struct sockets *sockets, enum protocol protocol,
                                  const struct addr *addr)
{
    size_t i = place_of(sockets, protocol, addr);

    return i < sockets->n && has_address(&sockets->all[i], protocol, addr) ? &sockets->all[i]
                                                                           : NULL;
}

static unsigned count(const struct sockets *sockets, enum protocol protocol,
                      const struct addr *addr)
{
    size_t first = place_of(sockets, protocol, addr);
    size_t i = first;

    while (i < sockets->n && has_address(&sockets->all[i], protocol, addr))
        i++;
    return (unsigned)(i - first);
}

static void forget(const struct listen_socket *socket)
{
    service_forget_socket(socket->protocol, &socket->addr, socket->member);
}

static int make_room(struct sockets *sockets)
{
    if (sockets->n < sockets->room)
        return 0;
    size_t room = 2 * sockets->room + 8;
    struct listen_socket *all = reallocarray(sockets->all, room, sizeof *all);
    if (!all)
        return -ENOMEM;
    sockets->all = all;
    sockets->room = room;
    return 0;
}

/* There is room. Behind those with the same address: its number in the group is the last. */
static void insert(struct sockets *sockets, const struct listen_socket *socket)
{
    size_t i = place_of(sockets, socket->protocol, &socket->addr) + socket->member;

    memmove(&sockets->all[i + 1], &sockets->all[i], (sockets->n - i) * sizeof *sockets->all);
    sockets->all[i] = *socket;
    sockets->n++;
}

/* The listeners, and behind them the exporter as one more. NULL behind the last one. */
static const struct listener_config *nth(const struct config *config, size_t i)
{
    if (i < config->n_listeners)
        return &config->listeners[i];
    return i == config->n_listeners ? &config->exporter : NULL;
}

/* Sets wanted_by of all sockets. One look-up for each range: there may be 10,000 of both. */
static void look_up_listeners(struct sockets *sockets, const struct config *config)
{
    const struct listener_config *listener;

    for (size_t i = 0; i < sockets->n; i++)
        sockets->all[i].wanted_by = NULL;
    for (size_t i = 0; (listener = nth(config, i)); i++)
        for (size_t j = 0; j < listener->n_listen; j++) {
            const struct addr_range *range = &listener->listen[j];
            size_t k = place_of(sockets, listener->protocol, &range->addr);
            for (; k < sockets->n && sockets->all[k].protocol == listener->protocol &&
                   addr_range_contains(range, &sockets->all[k].addr);
                 k++)
                sockets->all[k].wanted_by = listener;
        }
}

static int share(const struct listen_socket *socket, bool on)
{
    return socket->protocol == PROTOCOL_UDP ? sock_set(socket->fd, SOL_SOCKET, SO_REUSEADDR, on)
                                            : sock_share_port(socket->fd, on);
}

/* Sockets on this port that no listener wants any more. returns: how many. */
static unsigned share_leaving(const struct sockets *sockets, enum protocol protocol,
                              const struct addr *addr, bool on)
{
    unsigned n = 0;

    for (size_t i = 0; i < sockets->n; i++) {
        const struct listen_socket *socket = &sockets->all[i];
        if (socket->protocol != protocol || addr_family(&socket->addr) != addr_family(addr) ||
            addr_port(&socket->addr) != addr_port(addr) || socket->wanted_by)
            continue;
        if (share(socket, on) == 0)
            n++;
    }
    return n;
}

/*
 * From a wildcard to one address or back, on the same port: the kernel has the new one only
 * beside the old one that is to go, and only if both agree. For this moment they do.
 */
static int listen_anyway(const struct sockets *sockets, const struct listener_config *listener,
                         const struct addr *addr)
{
    int fd = sock_listen(addr, listener->backlog, listener->keepalive_s, false);
    if (fd != -EADDRINUSE || share_leaving(sockets, PROTOCOL_TCP, addr, true) == 0)
        return fd;
    fd = sock_listen(addr, listener->backlog, listener->keepalive_s, true);
    (void)share_leaving(sockets, PROTOCOL_TCP, addr, false);
    if (fd >= 0)
        (void)sock_share_port(fd, false);
    return fd;
}

static bool is_ours(const struct sockets *sockets, const struct listening *listening)
{
    struct stat status;

    for (size_t i = 0; i < sockets->n; i++)
        if (fstat(sockets->all[i].fd, &status) == 0 && status.st_ino == listening->inode)
            return true;
    return false;
}

/*
 * Does another program receive datagrams there? A socket that is bound to a foreign address does
 * not: it is a session of ours whose client happens to have this port.
 */
static bool is_received_elsewhere(const struct sockets *sockets, const struct addr *addr)
{
    struct listening *all = NULL;
    struct locals *locals = NULL;
    bool is_taken = false;
    size_t n = 0;

    if (listening_read_udp(&all, &n) < 0 || locals_new(&locals) < 0)
        is_taken = true; /* as the kernel says */
    for (size_t i = 0; i < n && !is_taken; i++)
        is_taken = listening_takes(&all[i], addr) && !is_ours(sockets, &all[i]) &&
                   (addr_is_local_claim(&all[i].addr) || locals_contain(locals, &all[i].addr));
    locals_free(locals);
    free(all);
    return is_taken;
}

/*
 * The first of a group. Two programs that receive on one port would each get some of the
 * datagrams, and no error would say so. Draining workers still hold sockets that receive nothing.
 */
static int receive_first(const struct sockets *sockets, const struct addr *addr)
{
    int fd = sock_receive(addr, SOCK_ALONE);
    if (fd != -EADDRINUSE || is_received_elsewhere(sockets, addr))
        return fd;
    (void)share_leaving(sockets, PROTOCOL_UDP, addr, true);
    fd = sock_receive(addr, SOCK_BESIDE_FREED);
    (void)share_leaving(sockets, PROTOCOL_UDP, addr, false);
    return fd;
}

static int open_socket(const struct sockets *sockets, const struct listener_config *listener,
                       const struct addr *addr, unsigned n)
{
    if (listener->protocol == PROTOCOL_TCP)
        return listen_anyway(sockets, listener, addr);
    return n == 0 ? receive_first(sockets, addr) : sock_receive(addr, SOCK_IN_GROUP);
}

static int open_one(struct sockets *sockets, const struct listener_config *listener,
                    const struct addr *addr)
{
    unsigned n = count(sockets, listener->protocol, addr);
    int err = make_room(sockets);
    if (err < 0)
        return err;
    int fd = open_socket(sockets, listener, addr, n);
    if (fd < 0)
        return fd;
    /* Decided before any worker inherits it: they have to know. */
    bool is_stored = service_has_store() && sockets->n < STORED_MAX;
    const struct listen_socket socket = { .protocol = listener->protocol,
                                          .addr = *addr,
                                          .member = n,
                                          .fd = fd,
                                          .wanted_by = listener,
                                          .is_new = true,
                                          .is_stored = is_stored,
                                          .is_kept_outside = is_stored };
    if (is_stored)
        service_keep_socket(fd, listener->protocol, addr, n);
    insert(sockets, &socket);
    return 0;
}

/*
 * The first so many members of the group get datagrams. Those that a load has added get none
 * before its commit: no process reads them.
 */
static void steer(const struct sockets *sockets, const struct listener_config *listener,
                  const struct addr *addr, unsigned n_members)
{
    static const enum steer_by by[] = {
        [UDP_HEADER_EVERY] = STEER_BY_V2,
        [UDP_HEADER_FIRST] = STEER_BY_PEER,
        [UDP_HEADER_SPP] = STEER_BY_SPP,
    };
    const struct listen_socket *any = find(sockets, listener->protocol, addr);
    char text[ADDR_STRLEN];

    if (!any || any->protocol != PROTOCOL_UDP || count(sockets, PROTOCOL_UDP, addr) <= 1)
        return;
    int err = steer_attach(any->fd, addr_family(addr), by[listener->udp_header], n_members);
    if (err < 0)
        log_warning("listening", "[!] datagrams of one client to %s may go to several workers: %s",
                    addr_format(addr, text), strerror(-err));
}

/* A group that came from outside may be closed to others: then it stays as small as it is. */
static int open_all(struct sockets *sockets, const struct config *config,
                    const struct listener_config *listener, const struct addr *addr)
{
    unsigned wanted = listener->protocol == PROTOCOL_UDP ? config->workers : 1;
    unsigned before = count(sockets, listener->protocol, addr);

    for (unsigned n = before; n < wanted; n++) {
        int err = open_one(sockets, listener, addr);
        if (err == -EADDRINUSE && n > 0)
            return 0;
        if (err < 0)
            return err;
    }
    if (before < wanted)
        steer(sockets, listener, addr, before > 0 ? before : wanted);
    return 0;
}

/* *addr: the one that failed. */
static int open_range(struct sockets *sockets, const struct config *config,
                      const struct listener_config *listener, const struct addr_range *range,
                      struct addr *addr)
{
    int err = 0;

    for (unsigned i = 0; err == 0 && i < addr_range_count(range); i++) {
        *addr = addr_range_at(range, i);
        err = open_all(sockets, config, listener, addr);
    }
    return err;
}

int sockets_open_missing(struct sockets *sockets, const struct config *config,
                         struct sockets_failure *failure)
{
    const struct listener_config *listener;

    look_up_listeners(sockets, config);
    for (size_t i = 0; (listener = nth(config, i)); i++) {
        for (size_t j = 0; j < listener->n_listen; j++) {
            int err = open_range(sockets, config, listener, &listener->listen[j], &failure->addr);
            failure->listener = listener;
            if (err < 0)
                return err;
        }
    }
    return 0;
}

/*
 * Is it a TCP socket that listens or did so before its port was closed, or a UDP socket?
 * returns: 0, or -errno.
 */
static int recognise(int fd, enum protocol *protocol, struct addr *addr)
{
    socklen_t len = sizeof *addr;
    int is_listening = 0;
    int type = 0;
    socklen_t option_len = sizeof type;

    if (getsockname(fd, &addr->sa, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &option_len) < 0)
        return -errno;
    *protocol = type == SOCK_DGRAM ? PROTOCOL_UDP : PROTOCOL_TCP;
    if (addr_family(addr) != AF_INET && addr_family(addr) != AF_INET6)
        return -EINVAL;
    if (type == SOCK_DGRAM)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &option_len) < 0)
        return -errno;
    return is_listening || (addr_port(addr) != 0 && !sock_is_connected(fd)) ? 0 : -EINVAL;
}

int sockets_adopt(struct sockets *sockets, int fd, bool is_kept_outside, bool is_stored)
{
    struct addr addr = { 0 };
    enum protocol protocol = PROTOCOL_TCP;

    int err = recognise(fd, &protocol, &addr);
    if (err < 0)
        return err;
    unsigned n = count(sockets, protocol, &addr);
    if (protocol == PROTOCOL_TCP && n > 0)
        return -EEXIST;
    err = make_room(sockets);
    if (err < 0)
        return err;
    if (protocol == PROTOCOL_UDP)
        (void)sock_tell_local(fd, &addr);
    const struct listen_socket socket = { .protocol = protocol,
                                          .addr = addr,
                                          .member = n,
                                          .fd = fd,
                                          .is_kept_outside = is_kept_outside || is_stored,
                                          .is_stored = is_stored,
                                          .is_adopted = true };
    insert(sockets, &socket);
    return 0;
}

/* In order: a process that takes the sockets over counts the members of a group again. */
static void remove_at(struct sockets *sockets, size_t i)
{
    close(sockets->all[i].fd);
    sockets->n--;
    memmove(&sockets->all[i], &sockets->all[i + 1], (sockets->n - i) * sizeof *sockets->all);
}

void sockets_rollback(struct sockets *sockets)
{
    for (size_t i = sockets->n; i-- > 0;) {
        if (!sockets->all[i].is_new)
            continue;
        if (sockets->all[i].is_stored)
            forget(&sockets->all[i]);
        remove_at(sockets, i);
    }
}

/* For good, in every process that has it; one of a manager's own is its own business. */
static void shut_down(const struct listen_socket *socket)
{
    if (socket->is_stored)
        forget(socket);
    if (socket->is_stored || !socket->is_kept_outside)
        sock_free_port(socket->fd);
}

static void drop(const struct listen_socket *socket, struct socket_lines *lines)
{
    socket_lines_add(lines, socket->is_adopted ? SOCKET_UNWANTED : SOCKET_GONE, NULL,
                     &socket->addr);
    shut_down(socket);
}

void sockets_drop_unwanted(struct sockets *sockets, const struct config *config)
{
    struct socket_lines lines = { .name = NULL };
    size_t kept = 0;

    look_up_listeners(sockets, config);
    for (size_t i = 0; i < sockets->n; i++) {
        if (!sockets->all[i].is_kept_outside || sockets->all[i].wanted_by) {
            sockets->all[kept++] = sockets->all[i];
            continue;
        }
        drop(&sockets->all[i], &lines);
        close(sockets->all[i].fd);
    }
    sockets->n = kept;
    socket_lines_end(&lines);
}

static void steer_range(const struct sockets *sockets, const struct listener_config *listener,
                        const struct addr_range *range)
{
    for (unsigned i = 0; i < addr_range_count(range); i++) {
        const struct addr addr = addr_range_at(range, i);
        steer(sockets, listener, &addr, count(sockets, PROTOCOL_UDP, &addr));
    }
}

static void steer_all(const struct sockets *sockets, const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];
        for (size_t j = 0; listener->protocol == PROTOCOL_UDP && j < listener->n_listen; j++)
            steer_range(sockets, listener, &listener->listen[j]);
    }
}

/* It stays, for this listener. */
static void commit(struct listen_socket *socket, const struct listener_config *listener,
                   struct socket_lines *lines)
{
    if (socket->is_new || socket->is_adopted)
        socket_lines_add(lines, SOCKET_OPENED, listener, &socket->addr);
    if (!socket->is_new && !socket->is_closed && socket->protocol == PROTOCOL_TCP)
        sock_set_up_again(socket->fd, listener->backlog, listener->keepalive_s);
    socket->is_new = false;
    socket->is_adopted = false;
}

void sockets_commit(struct sockets *sockets, const struct config *config)
{
    struct socket_lines lines = { .name = NULL };
    size_t kept = 0;

    steer_all(sockets, config);
    look_up_listeners(sockets, config);
    for (size_t i = 0; i < sockets->n; i++) {
        struct listen_socket *socket = &sockets->all[i];
        if (socket->wanted_by) {
            commit(socket, socket->wanted_by, &lines);
            sockets->all[kept++] = *socket;
        } else {
            drop(socket, &lines);
            close(socket->fd);
        }
    }
    sockets->n = kept;
    socket_lines_end(&lines);
}

bool sockets_close_some(struct sockets *sockets, const struct config *config,
                        bool (*is_closed)(const void *context,
                                          const struct listener_config *listener),
                        const void *context)
{
    struct socket_lines lines = { .name = NULL };
    bool has_opened = false;

    look_up_listeners(sockets, config);
    for (size_t i = 0; i < sockets->n; i++) {
        struct listen_socket *socket = &sockets->all[i];
        const struct listener_config *listener = socket->wanted_by;
        bool is_wanted =
            listener && socket->protocol == PROTOCOL_TCP && is_closed(context, listener);
        if (!listener || is_wanted == socket->is_closed)
            continue;
        socket->is_closed = is_wanted;
        if (is_wanted)
            sock_free_port(socket->fd);
        else
            sock_set_up_again(socket->fd, listener->backlog, listener->keepalive_s);
        has_opened |= !is_wanted;
        socket_lines_add(&lines, is_wanted ? SOCKET_CLOSED : SOCKET_OPENED_AGAIN, listener,
                         &socket->addr);
    }
    socket_lines_end(&lines);
    return has_opened;
}

void sockets_shut_down(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n; i++)
        shut_down(&sockets->all[i]);
    sockets_close(sockets);
}

void sockets_abandon(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n; i++)
        if (!sockets->all[i].is_kept_outside)
            sock_free_port(sockets->all[i].fd);
    sockets_close(sockets);
}

void sockets_store(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n; i++)
        if (sockets->all[i].is_stored && sockets->all[i].is_new)
            service_keep_socket(sockets->all[i].fd, sockets->all[i].protocol, &sockets->all[i].addr,
                                sockets->all[i].member);
}

void sockets_close(struct sockets *sockets)
{
    while (sockets->n > 0)
        remove_at(sockets, sockets->n - 1);
    free(sockets->all);
    sockets->all = NULL;
}

int sockets_of_exporter(const struct sockets *sockets, const struct config *config)
{
    const struct listen_socket *found =
        config->exporter.n_listen > 0 ? find(sockets, PROTOCOL_TCP, &config->metrics.addr) : NULL;

    return found ? found->fd : -1;
}

static bool is_listeners(struct sockets *sockets, const struct config *config,
                         const struct listen_socket *socket)
{
    look_up_listeners(sockets, config);
    return socket->wanted_by && socket->wanted_by != &config->exporter;
}

void sockets_leave_exporter(struct sockets *sockets, const struct config *const configs[2])
{
    for (unsigned i = 0; i < 2; i++) {
        const struct config *other = configs[1 - i];
        if (!configs[i] || configs[i]->exporter.n_listen == 0)
            continue;
        struct listen_socket *socket = find(sockets, PROTOCOL_TCP, &configs[i]->metrics.addr);
        if (socket && !is_listeners(sockets, configs[i], socket) &&
            !(other && is_listeners(sockets, other, socket)))
            remove_at(sockets, (size_t)(socket - sockets->all));
    }
}

static void add_for_workers(const struct sockets *sockets, enum protocol protocol,
                            const struct addr *addr, unsigned listener, struct worker_socket *list,
                            size_t *n)
{
    const struct listen_socket *group = find(sockets, protocol, addr);
    unsigned members = count(sockets, protocol, addr);

    assert(group);
    for (unsigned i = 0; i < members; i++)
        list[(*n)++] = (struct worker_socket){ .fd = group[i].fd,
                                               .listener = listener,
                                               .addr = *addr,
                                               .member = group[i].member,
                                               .is_kept_outside = group[i].is_kept_outside };
}

struct worker_socket *sockets_for_workers(const struct sockets *sockets,
                                          const struct config *config, size_t *n)
{
    struct worker_socket *list = calloc(sockets->n > 0 ? sockets->n : 1, sizeof *list);
    if (!list)
        return NULL;

    *n = 0;
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->n_listen; j++) {
            const struct addr_range *range = &listener->listen[j];
            for (unsigned k = 0; k < addr_range_count(range); k++) {
                const struct addr addr = addr_range_at(range, k);
                add_for_workers(sockets, listener->protocol, &addr, (unsigned)i, list, n);
            }
        }
    }
    return list;
}
