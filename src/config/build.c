/* SPDX-License-Identifier: BSD-2-Clause */
#include "build.h"

#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "source.h"
#include "subnets_file.h"

/* Room for more CPUs than any kernel is built for today; a small mask would be refused. */
enum { CPUS_MAX = 16384 };

struct config *build_new(void)
{
    struct config *config = calloc(1, sizeof(*config));

    if (config == NULL)
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

    if (set == NULL)
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
    if (config->user == NULL)
        config->user = strdup(getpwnam("_mmproxy") != NULL ? "_mmproxy" : "nobody");
    return config->user != NULL ? 0 : -ENOMEM;
}

static int by_path(const void *a, const void *b)
{
    const struct draft *left = *(struct draft *const *)a;
    const struct draft *right = *(struct draft *const *)b;
    int result = strcmp(left->allowed_path, right->allowed_path);

    /* The first in the file is the one whose line mistakes are told with. */
    return result != 0 ? result : (left->line > right->line) - (left->line < right->line);
}

static const struct subnets *load_one(struct config *config, const struct draft *draft,
                                      bool is_lenient, struct mistakes *mistakes)
{
    unsigned line = draft_line_of(draft, "allowed_subnets");
    char *path = config->path != NULL ? source_resolve(config->path, draft->allowed_path)
                                      : strdup(draft->allowed_path);
    struct subnets *set;

    if (path == NULL) {
        mistakes_error(mistakes, line, "out of memory");
        return NULL;
    }
    set = subnets_file_load(path, is_lenient, line, mistakes);
    free(path);
    if (set != NULL)
        config->subnets[config->n_subnets++] = set;
    return set;
}

static void load_subnets(struct config *config, struct draft **sorted, size_t n, bool is_lenient,
                         struct mistakes *mistakes)
{
    const struct draft *first = NULL;

    for (size_t i = 0; i < n; i++) {
        struct draft *draft = sorted[i];

        if (first != NULL && strcmp(first->allowed_path, draft->allowed_path) == 0) {
            draft->config.allowed = first->config.allowed;
            continue;
        }
        draft->config.allowed = load_one(config, draft, is_lenient, mistakes);
        first = draft;
    }
}

void build_listeners(struct config *config, struct draft *drafts, size_t n_drafts, bool is_lenient,
                     struct mistakes *mistakes)
{
    struct draft **sorted = calloc(n_drafts + 1, sizeof(*sorted));
    size_t n_sorted = 0;

    config->subnets = calloc(n_drafts + 1, sizeof(*config->subnets));
    config->listeners = calloc(n_drafts + 1, sizeof(*config->listeners));
    if (sorted == NULL || config->subnets == NULL || config->listeners == NULL) {
        mistakes_error(mistakes, 0, "out of memory");
        free(sorted);
        return;
    }
    for (size_t i = 0; i < n_drafts; i++) {
        if (drafts[i].allowed_path != NULL)
            sorted[n_sorted++] = &drafts[i];
    }
    qsort(sorted, n_sorted, sizeof(struct draft *), by_path);
    load_subnets(config, sorted, n_sorted, is_lenient, mistakes);
    free(sorted);
    for (size_t i = 0; i < n_drafts; i++) {
        config->listeners[i] = drafts[i].config;
        drafts[i].config.listen = NULL;
    }
    config->n_listeners = n_drafts;
}
