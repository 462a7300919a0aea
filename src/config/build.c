/* SPDX-License-Identifier: BSD-2-Clause */
#include "build.h"

#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "allowed_subnets.h"
#include "keys.h"
#include "source.h"

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

static int order(uintptr_t a, uintptr_t b)
{
    return (a > b) - (a < b);
}

/* Listeners with one file, or with one array (that of "defaults"), stand side by side. */
static int by_subnets(const void *a, const void *b)
{
    const struct draft *left = *(struct draft *const *)a;
    const struct draft *right = *(struct draft *const *)b;

    if (!left->allowed_path || !right->allowed_path)
        return order((uintptr_t)left->allowed_array, (uintptr_t)right->allowed_array);
    return strcmp(left->allowed_path, right->allowed_path);
}

/* Mistakes are reported at the line of the first listener. */
static int by_subnets_and_line(const void *a, const void *b)
{
    int result = by_subnets(a, b);

    return result != 0
               ? result
               : order((*(struct draft *const *)a)->line, (*(struct draft *const *)b)->line);
}

static struct subnets *load_file(struct config *config, const struct draft *draft, bool is_lenient,
                                 struct mistakes *mistakes)
{
    unsigned line = draft_line_of(draft, "allowed_subnets");
    char *path = config->path ? source_resolve(config->path, draft->allowed_path)
                              : strdup(draft->allowed_path);
    struct subnets *set = NULL;

    if (path)
        set = allowed_subnets_of_file(path, is_lenient, line, mistakes);
    else
        mistakes_error(mistakes, line, "out of memory");
    free(path);
    return set;
}

static void load_subnets(struct config *config, struct draft **sorted, size_t n, bool is_lenient,
                         struct mistakes *mistakes)
{
    for (size_t i = 0; i < n; i++) {
        struct draft *draft = sorted[i];
        struct subnets *set;

        if (i > 0 && by_subnets(&sorted[i - 1], &sorted[i]) == 0) {
            draft->config.allowed = sorted[i - 1]->config.allowed;
            continue;
        }
        set = draft->allowed_array ? allowed_subnets_of_array(draft->allowed_array, mistakes)
                                   : load_file(config, draft, is_lenient, mistakes);
        draft->config.allowed = set;
        if (set)
            config->subnets[config->n_subnets++] = set;
    }
}

static bool has_subnets(const struct draft *draft)
{
    return draft->allowed_path || draft->allowed_array;
}

void build_listeners(struct config *config, struct draft *drafts, size_t n_drafts,
                     struct draft *defaults, bool is_lenient, struct mistakes *mistakes)
{
    struct draft **sorted = calloc(n_drafts + 1, sizeof *sorted);
    size_t n_sorted = 0;

    config->subnets = calloc(n_drafts + 1, sizeof *config->subnets);
    config->listeners = calloc(n_drafts + 1, sizeof *config->listeners);
    if (!sorted || !config->subnets || !config->listeners) {
        mistakes_error(mistakes, 0, "out of memory");
        free(sorted);
        return;
    }
    if (defaults && has_subnets(defaults))
        sorted[n_sorted++] = defaults;
    for (size_t i = 0; i < n_drafts; i++)
        if (has_subnets(&drafts[i]))
            sorted[n_sorted++] = &drafts[i];
    qsort(sorted, n_sorted, sizeof(struct draft *), by_subnets_and_line);
    load_subnets(config, sorted, n_sorted, is_lenient, mistakes);
    free(sorted);
    for (size_t i = 0; i < n_drafts; i++) {
        config->listeners[i] = drafts[i].config;
        drafts[i].config.listen = NULL;
    }
    config->n_listeners = n_drafts;
}
