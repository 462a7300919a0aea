/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * namespaces: the network namespaces that targets are in: mmproxy's own and those of listeners
 * with the key netns. Entering another one takes CAP_SYS_ADMIN, and CAP_SYS_PTRACE to open the
 * path of one that belongs to another process.
 */
#ifndef MMPROXY_SUPERVISOR_NAMESPACES_H
#define MMPROXY_SUPERVISOR_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmproxy/config/config.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/supervisor/reader.h"

#define NAMESPACES_NAMES "/run/netns/" /* the folder of those that have names */

struct managed;

struct network {
    LIST_ENTRY(network) link;
    uint64_t id;             /* as listener_config.namespace_id has it: 0 = mmproxy's own */
    int fd;                  /* keeps it alive; of mmproxy's own too: to come back */
    int probe;               /* a socket in it */
    struct locals *locals;   /* NULL: can't be read */
    struct managed *managed; /* its return path, for the supervisor; NULL: none (yet) */
    struct reader managed_reader;
    struct supervisor *supervisor; /* the same */
};

struct namespaces {
    LIST_HEAD(, network) all;
    struct network own;
    uint64_t device; /* of the file system that all namespaces are in */
    uint64_t own_inode;
};

/* returns: 0 with an object for namespaces_close, or -errno. */
int namespaces_open(struct namespaces *namespaces);
void namespaces_close(struct namespaces *namespaces);

/* Does a listener have the key? */
bool namespaces_are_wanted(const struct config *config);

/*
 * Looks at the network of every listener, and fills in what depends on it: namespace_id,
 * closed_because (and then it has no addresses to listen on), and what return path auto is.
 */
void namespaces_find(struct namespaces *namespaces, struct config *config);

/* Would that come to something else now? */
bool namespaces_differ(struct namespaces *namespaces, const struct config *config);

/* returns: NULL where it is not known. */
struct network *namespaces_get(struct namespaces *namespaces, uint64_t id);

/* This process is in it until namespaces_leave. returns: 0 or -errno. */
int namespaces_enter(const struct network *network);
void namespaces_leave(const struct namespaces *namespaces, const struct network *network);

/* Forgets one that no configuration names any more. Not mmproxy's own. */
void namespaces_drop(struct network *network);

/*
 * A view of config: its listeners of one namespace that are not closed. free(out->listeners) is
 * due. returns: 0 or -ENOMEM.
 */
int namespaces_part(const struct config *config, uint64_t id, struct config *out);

/*
 * The namespace of a listener that is closed because its loopback is down, for a look at it; what
 * depends on it is filled in. *is_new: namespaces_drop is due. returns: NULL where it is not so.
 */
struct network *namespaces_open_down(struct namespaces *namespaces,
                                     struct listener_config *listener, bool *is_new);

/* What to do about it, with a blank before it; "" where the check of the namespace says it. */
const char *namespaces_cure(const char *closed_because);

#endif
