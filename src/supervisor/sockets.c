/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/sockets.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/net/sock.h"

static struct listen_socket *find(const struct sockets *sockets, const struct addr *addr)
{
    for (size_t i = 0; i < sockets->n; i++)
        if (addr_equal(&sockets->all[i].addr, addr))
            return &sockets->all[i];
    return NULL;
}

static struct listen_socket *append(struct sockets *sockets)
{
    struct listen_socket *all = reallocarray(sockets->all, sockets->n + 1, sizeof *sockets->all);
    if (!all)
        return NULL;
    sockets->all = all;
    return &all[sockets->n];
}

static int open_one(struct sockets *sockets, const struct listener_config *listener,
                    const struct addr *addr)
{
    if (find(sockets, addr))
        return 0;
    struct listen_socket *socket = append(sockets);
    if (!socket)
        return -ENOMEM;
    int fd = sock_listen(addr, listener->backlog);
    if (fd < 0)
        return fd;
    (void)sock_set_keepalive(fd, listener->keepalive_s);
    *socket = (struct listen_socket){ .addr = *addr, .fd = fd, .is_new = true };
    sockets->n++;
    return 0;
}

int sockets_open_missing(struct sockets *sockets, const struct config *config,
                         struct sockets_failure *failure)
{
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->n_listen; j++) {
            int err = open_one(sockets, listener, &listener->listen[j]);
            if (err < 0) {
                *failure = (struct sockets_failure){ listener, &listener->listen[j] };
                return err;
            }
        }
    }
    return 0;
}

int sockets_adopt(struct sockets *sockets, int fd)
{
    struct addr addr = { 0 };
    socklen_t len = sizeof addr;
    int is_listening = 0;
    socklen_t option_len = sizeof is_listening;

    if (getsockname(fd, &addr.sa, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &option_len) < 0)
        return -errno;
    if (!is_listening || (addr_family(&addr) != AF_INET && addr_family(&addr) != AF_INET6))
        return -EINVAL;
    struct listen_socket *socket = append(sockets);
    if (!socket)
        return -ENOMEM;
    *socket = (struct listen_socket){ .addr = addr, .fd = fd, .is_foreign = true };
    sockets->n++;
    return 0;
}

static void remove_at(struct sockets *sockets, size_t i)
{
    close(sockets->all[i].fd);
    sockets->all[i] = sockets->all[--sockets->n];
}

void sockets_rollback(struct sockets *sockets)
{
    for (size_t i = sockets->n; i-- > 0;)
        if (sockets->all[i].is_new)
            remove_at(sockets, i);
}

static const struct listener_config *wanted_by(const struct config *config, const struct addr *addr)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        for (size_t j = 0; j < config->listeners[i].n_listen; j++)
            if (addr_equal(&config->listeners[i].listen[j], addr))
                return &config->listeners[i];
    return NULL;
}

void sockets_commit(struct sockets *sockets, const struct config *config)
{
    for (size_t i = sockets->n; i-- > 0;) {
        struct listen_socket *socket = &sockets->all[i];
        const struct listener_config *listener = wanted_by(config, &socket->addr);
        if (!listener) {
            (void)shutdown(socket->fd, SHUT_RD);
            remove_at(sockets, i);
            continue;
        }
        if (!socket->is_new) {
            (void)listen(socket->fd, (int)listener->backlog);
            (void)sock_set_keepalive(socket->fd, listener->keepalive_s);
        }
        socket->is_new = false;
    }
}

void sockets_shut_down(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n; i++)
        (void)shutdown(sockets->all[i].fd, SHUT_RD);
    sockets_close(sockets);
}

void sockets_close(struct sockets *sockets)
{
    while (sockets->n > 0)
        remove_at(sockets, sockets->n - 1);
    free(sockets->all);
    sockets->all = NULL;
}

struct worker_socket *sockets_for_workers(const struct sockets *sockets,
                                          const struct config *config, size_t *n)
{
    struct worker_socket *list = calloc(sockets->n > 0 ? sockets->n : 1, sizeof *list);
    if (!list)
        return NULL;

    *n = 0;
    for (size_t i = 0; i < config->n_listeners; i++) {
        for (size_t j = 0; j < config->listeners[i].n_listen; j++) {
            const struct listen_socket *socket = find(sockets, &config->listeners[i].listen[j]);
            assert(socket);
            list[(*n)++] = (struct worker_socket){ .fd = socket->fd, .listener = (unsigned)i };
        }
    }
    return list;
}
