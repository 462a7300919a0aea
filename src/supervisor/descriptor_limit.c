/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/descriptor_limit.h"

#include <stdio.h>
#include <sys/resource.h>

/* For everything else: log, channels, notifications, and some sessions. */
enum { RESERVED = 32 };

static rlim_t sockets_of(const struct config *config, const struct listener_config *listener)
{
    rlim_t n = 0;

    for (size_t i = 0; i < listener->n_listen; i++)
        n += addr_range_count(&listener->listen[i]);
    return listener->protocol == PROTOCOL_UDP ? n * config->workers : n;
}

/* The soft limit is raised at the start: the hard one counts. */
bool descriptor_limit_suffices(const struct config *config, char line[DESCRIPTOR_LIMIT_LINE_MAX])
{
    const struct listener_config *largest = NULL;
    struct rlimit limit;
    rlim_t most = 0;
    rlim_t n = 0;

    for (size_t i = 0; i < config->n_listeners; i++) {
        rlim_t its = sockets_of(config, &config->listeners[i]);
        n += its;
        if (its > most) {
            most = its;
            largest = &config->listeners[i];
        }
    }
    if (!largest || getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max == RLIM_INFINITY ||
        n + RESERVED <= limit.rlim_max)
        return true;
    int used = largest->file ? snprintf(line, DESCRIPTOR_LIMIT_LINE_MAX,
                                        "%.400s:%u: listener \"%s\": ", largest->file,
                                        largest->line, largest->name)
                             : snprintf(line, DESCRIPTOR_LIMIT_LINE_MAX, "mmproxy: ");
    (void)snprintf(line + used, (size_t)(DESCRIPTOR_LIMIT_LINE_MAX - used),
                   "all ports need %llu descriptors, but a process may have %llu: raise "
                   "LimitNOFILE= of the unit, or \"ulimit -n\"",
                   (unsigned long long)n + RESERVED, (unsigned long long)limit.rlim_max);
    return false;
}
