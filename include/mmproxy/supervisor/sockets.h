/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sockets: every socket that takes connections or datagrams, keyed by protocol and address, owned
 * for as long as any configuration wants it. A UDP address has a group of sockets, at least one for
 * each worker; the group does not shrink, because the kernel would then choose other members for
 * the peers. A reload takes over what is there, so no queue is ever lost.
 */
#ifndef MMPROXY_SUPERVISOR_SOCKETS_H
#define MMPROXY_SUPERVISOR_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include "mmproxy/config/config.h"
#include "mmproxy/worker/worker.h"

struct listen_socket {
    enum protocol protocol;
    struct addr addr;
    unsigned member; /* UDP: its number in the group of its address; else 0 */
    int fd;
    const struct listener_config *wanted_by; /* in the configuration looked up last; NULL: none */
    bool is_new;          /* opened for a configuration that has not been committed */
    bool is_closed;       /* bound, but it refuses connections: see sockets_close_some */
    bool is_adopted;      /* came from outside, and no commit has had a use for it yet */
    bool is_kept_outside; /* a service manager has a copy, which still listens without us */
    bool is_stored;       /* ... and it has it from us: shut down when no listener wants it */
};

struct sockets {
    struct listen_socket *all; /* by protocol, address and member; owned */
    size_t n;
    size_t room;
};

/* Which address could not be had; the listener is the configuration's. */
struct sockets_failure {
    const struct listener_config *listener;
    struct addr addr;
};

/*
 * Opens what config listens on and is not open yet; is_new marks those.
 * returns: 0, or -errno of the first that failed with *failure filled in; what had been opened
 * stays for sockets_rollback.
 */
int sockets_open_missing(struct sockets *sockets, const struct config *config,
                         struct sockets_failure *failure);

/*
 * Takes a listening socket from outside. returns: 0, -ENOMEM, -EINVAL or another -errno of one
 * that is of no use, -EEXIST: there is one with its address already.
 */
int sockets_adopt(struct sockets *sockets, int fd, bool is_kept_outside, bool is_stored);

/*
 * At a start: gives up what a service manager handed over and config has no use for, before
 * workers inherit it and keep it open.
 */
void sockets_drop_unwanted(struct sockets *sockets, const struct config *config);

/* Forgets what sockets_open_missing opened. */
void sockets_rollback(struct sockets *sockets);

/*
 * Makes config the one that counts: sockets that it does not name are shut down, which also
 * ends them in every worker, and closed; those that stay get its backlog and keepalive.
 */
void sockets_commit(struct sockets *sockets, const struct config *config);

/* Like sockets_commit with a configuration that listens nowhere; for the end. */
void sockets_shut_down(struct sockets *sockets);

/* Instead, where another start follows: sockets that a service manager has still listen. */
void sockets_abandon(struct sockets *sockets);

/* Before sockets_commit: the service manager would not take the new ones before. */
void sockets_store(struct sockets *sockets);

/*
 * TCP: closes the ports of the listeners that is_closed says so of, and opens those of the others.
 * The sockets stay bound, so that no other program can have the port. Workers give closed ones up:
 * they need a new order to serve. returns: was a socket opened?
 */
bool sockets_close_some(struct sockets *sockets, const struct config *config,
                        bool (*is_closed)(const void *context,
                                          const struct listener_config *listener),
                        const void *context);

/* Closes without shutting down: for a forked process that does not need them. */
void sockets_close(struct sockets *sockets);

/* The socket of config's exporter; -1 = it has none. */
int sockets_of_exporter(const struct sockets *sockets, const struct config *config);

/*
 * In a worker: closes that socket, so that the port is free when the exporter has ended; not where
 * one of the two configurations, either of which may be NULL, has a listener there.
 */
void sockets_leave_exporter(struct sockets *sockets, const struct config *const configs[2]);

/*
 * The list for workers of config, every address of which must be open.
 * returns: *n entries to be freed by the caller, or NULL when memory is short.
 */
struct worker_socket *sockets_for_workers(const struct sockets *sockets,
                                          const struct config *config, size_t *n);

#endif
