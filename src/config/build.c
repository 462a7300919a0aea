/* SPDX-License-Identifier: BSD-2-Clause */
#include "build.h"

#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "map_key.h"
#include "peer_subnets.h"

/* Room for more CPUs than any kernel is built for today; a small mask would be refused. */
enum { CPUS_MAX = 16384 };

struct config *build_new(void)
{
    struct config *config = calloc(1, sizeof *config);

    if (!config)
        return NULL;
    keys_set_defaults(&keys_of_config, config);
    keys_set_defaults(&keys_of_log, config);
    return config;
}

static unsigned usable_cpus(void)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    int n = 0;

    if (!set)
        return 1;
    CPU_ZERO_S(size, set);
    if (sched_getaffinity(0, size, set) == 0)
        n = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return n > 0 ? (unsigned)n : 1;
}

int build_resolve(struct config *config)
{
    if (config->workers == 0)
        config->workers = usable_cpus();
    if (config->workers > CONFIG_WORKERS_MAX)
        config->workers = CONFIG_WORKERS_MAX; /* a very large machine */
    if (!config->user)
        config->user = strdup(getpwnam("_mmproxy") ? "_mmproxy" : "nobody");
    return config->user ? 0 : -ENOMEM;
}

/* A direct peer sends no header that could name a port. */
static void check_direct(const struct draft *draft, struct mistakes *mistakes)
{
    const struct listener_config *config = &draft->config;

    if (config->direct && (config->target_v4.port == TARGET_PORT_HEADER ||
                           config->target_v6.port == TARGET_PORT_HEADER))
        mistakes_error(mistakes, draft_line_of(draft, "direct_subnets"),
                       "\"direct_subnets\" can't go with a target that has the port of the "
                       "header: such peers send none");
}

void build_listeners(struct config *config, struct draft *drafts, size_t n_drafts,
                     struct draft *defaults, bool is_lenient, struct mistakes *mistakes)
{
    config->listeners = calloc(n_drafts + 1, sizeof *config->listeners);
    if (!config->listeners) {
        mistakes_error(mistakes, 0, "out of memory");
        return;
    }
    peer_subnets_load(config, drafts, n_drafts, defaults, is_lenient, mistakes);
    for (size_t i = 0; i < n_drafts; i++) {
        check_direct(&drafts[i], mistakes);
        map_key_read(&drafts[i], mistakes);
        config->listeners[i] = drafts[i].config;
        drafts[i].config.listen = NULL;
        drafts[i].config.endpoints = NULL;
    }
    config->n_listeners = n_drafts;
}
