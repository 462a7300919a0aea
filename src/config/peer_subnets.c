/* SPDX-License-Identifier: BSD-2-Clause */
#include "peer_subnets.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "allowed_subnets.h"
#include "mmproxy/base/nested.h"
#include "source.h"

enum { TOLD_MAX = 20 }; /* subnets that are in both lists */

/* The content of one file or array. */
struct peers_list {
    struct subnets_entries entries;
    struct subnets *set; /* NULL after a mistake; of direct subnets owned here */
    bool is_direct;
};

/* One key of one draft. */
struct wish {
    struct draft *draft;
    struct draft_subnets *subnets;
    bool is_direct;
};

struct loading {
    struct config *config;
    bool is_lenient;
    struct mistakes *mistakes;
    struct draft **drafts; /* those of the listeners, and the defaults */
    size_t n_drafts;
    struct wish *wishes; /* two for each draft at the most */
    size_t n_wishes;
    struct peers_list *lists; /* as many at the most */
    size_t n_lists;
};

static int order(uintptr_t a, uintptr_t b)
{
    return (a > b) - (a < b);
}

/* Wishes for one file, or for one array (that of "defaults"), stand side by side. */
static int by_source(const void *a, const void *b)
{
    const struct wish *left = a;
    const struct wish *right = b;

    if (left->is_direct != right->is_direct)
        return left->is_direct ? 1 : -1;
    if (!left->subnets->path || !right->subnets->path)
        return order((uintptr_t)left->subnets->array, (uintptr_t)right->subnets->array);
    return strcmp(left->subnets->path, right->subnets->path);
}

/* Mistakes are reported at the line of the first listener. */
static int by_source_and_line(const void *a, const void *b)
{
    int result = by_source(a, b);

    return result != 0 ? result
                       : order(((const struct wish *)a)->draft->line,
                               ((const struct wish *)b)->draft->line);
}

/* Listeners with the same two lists stand side by side. */
static int by_lists(const void *a, const void *b)
{
    const struct draft *left = *(struct draft *const *)a;
    const struct draft *right = *(struct draft *const *)b;
    int result = order((uintptr_t)left->allowed.list, (uintptr_t)right->allowed.list);

    return result != 0 ? result
                       : order((uintptr_t)left->direct.list, (uintptr_t)right->direct.list);
}

static void keep(struct config *config, struct subnets *set)
{
    if (set)
        config->subnets[config->n_subnets++] = set;
}

static void load_list(const struct loading *loading, const struct wish *wish,
                      struct peers_list *list)
{
    const struct subnets_reading reading = {
        .line = draft_line_of(wish->draft, wish->is_direct ? "direct_subnets" : "allowed_subnets"),
        .is_lenient = loading->is_lenient,
        .is_direct = wish->is_direct,
        .mistakes = loading->mistakes,
    };
    const char *path = wish->subnets->path;
    char *resolved;

    list->is_direct = wish->is_direct;
    if (!path) {
        list->set = allowed_subnets_of_array(wish->subnets->array, &reading, &list->entries);
        return;
    }
    resolved = loading->config->path ? source_resolve(loading->config->path, path) : strdup(path);
    if (resolved)
        list->set = allowed_subnets_of_file(resolved, &reading, &list->entries);
    else
        mistakes_error(loading->mistakes, reading.line, "out of memory");
    free(resolved);
}

static void load_lists(struct loading *loading)
{
    for (size_t i = 0; i < loading->n_wishes; i++) {
        struct wish *wish = &loading->wishes[i];

        if (i == 0 || by_source(&wish[-1], wish) != 0) {
            struct peers_list *list = &loading->lists[loading->n_lists++];
            load_list(loading, wish, list);
            if (!wish->is_direct)
                keep(loading->config, list->set);
        }
        wish->subnets->list = &loading->lists[loading->n_lists - 1];
        if (!wish->is_direct)
            wish->draft->config.allowed = wish->subnets->list->set;
    }
}

static void report_at(const struct loading *loading, const struct peers_list *list,
                      const struct nested *here, const struct peers_list *other_list,
                      const struct nested *there)
{
    const struct subnets_entry *entry = here->from;
    const struct subnets_entry *other = there->from;
    struct place place = places_find(loading->mistakes->places, other->source_line);
    char text[ADDR_STRLEN];

    if (other_list->entries.path)
        place = (struct place){ .file = other_list->entries.path, .line = other->line };
    subnets_entries_report(&list->entries, entry, loading->mistakes,
                           "%s/%u is in \"%s\" too (%s:%u): does such a peer send a header?",
                           addr_format_host(&entry->prefix.addr, text), entry->prefix.len,
                           list->is_direct ? "allowed_subnets" : "direct_subnets", place.file,
                           place.line);
}

/* items are sorted: of equal prefixes those of the first list, which is allowed, come first. */
static bool check_pair(const struct loading *loading, const struct nested *items, size_t n,
                       const struct draft *draft)
{
    const struct peers_list *allowed = draft->allowed.list;
    const struct peers_list *direct = draft->direct.list;
    size_t n_told = 0;

    for (size_t i = 1; i < n; i++) {
        if (!items[i].is_second || items[i - 1].is_second ||
            !nested_equal(&items[i - 1], &items[i]))
            continue;
        if (n_told++ >= TOLD_MAX)
            continue;
        report_at(loading, allowed, &items[i - 1], direct, &items[i]);
        report_at(loading, direct, &items[i], allowed, &items[i - 1]);
    }
    if (n_told > TOLD_MAX)
        mistakes_error(loading->mistakes, draft_line_of(draft, "direct_subnets"),
                       "and %zu more subnets are in both \"allowed_subnets\" and "
                       "\"direct_subnets\"",
                       n_told - TOLD_MAX);
    return n_told == 0;
}

static size_t add_items(struct nested *items, size_t n, const struct peers_list *list)
{
    for (size_t i = 0; i < list->entries.n; i++)
        items[n++] = (struct nested){ .prefix = list->entries.items[i].prefix,
                                      .is_second = list->is_direct,
                                      .from = &list->entries.items[i] };
    return n;
}

/* returns: the peers that send no header; NULL: there are none, or a mistake was reported. */
static struct subnets *split_pair(const struct loading *loading, const struct draft *draft)
{
    const struct peers_list *allowed = draft->allowed.list;
    const struct peers_list *direct = draft->direct.list;
    struct subnets *set = NULL;
    struct nested *items;
    size_t n;

    if (!allowed || !allowed->set || !direct->set || direct->entries.n == 0)
        return NULL;
    items = calloc(allowed->entries.n + direct->entries.n, sizeof *items);
    if (items) {
        n = add_items(items, add_items(items, 0, allowed), direct);
        nested_sort(items, n);
        if (!check_pair(loading, items, n, draft)) {
            free(items);
            return NULL;
        }
        set = nested_second(items, n);
    }
    if (!set)
        mistakes_error(loading->mistakes, draft_line_of(draft, "direct_subnets"), "out of memory");
    free(items);
    return set;
}

static void split_pairs(struct loading *loading)
{
    qsort(loading->drafts, loading->n_drafts, sizeof(struct draft *), by_lists);
    for (size_t i = 0; i < loading->n_drafts; i++) {
        struct draft *draft = loading->drafts[i];

        if (!draft->direct.list)
            continue;
        if (i > 0 && by_lists(&loading->drafts[i - 1], &loading->drafts[i]) == 0) {
            draft->config.direct = loading->drafts[i - 1]->config.direct;
            continue;
        }
        struct subnets *set = split_pair(loading, draft);
        draft->config.direct = set;
        keep(loading->config, set);
    }
}

static void add_wish(struct loading *loading, struct draft *draft, struct draft_subnets *subnets,
                     bool is_direct)
{
    if (subnets->path || subnets->array)
        loading->wishes[loading->n_wishes++] =
            (struct wish){ .draft = draft, .subnets = subnets, .is_direct = is_direct };
}

static void add_draft(struct loading *loading, struct draft *draft)
{
    loading->drafts[loading->n_drafts++] = draft;
    add_wish(loading, draft, &draft->allowed, false);
    add_wish(loading, draft, &draft->direct, true);
}

static void load(struct loading *loading)
{
    if (loading->n_wishes > 0)
        qsort(loading->wishes, loading->n_wishes, sizeof *loading->wishes, by_source_and_line);
    load_lists(loading);
    split_pairs(loading);
    for (size_t i = 0; i < loading->n_lists; i++) {
        subnets_entries_close(&loading->lists[i].entries);
        if (loading->lists[i].is_direct)
            subnets_free(loading->lists[i].set);
    }
}

void peer_subnets_load(struct config *config, struct draft *drafts, size_t n_drafts,
                       struct draft *defaults, bool is_lenient, struct mistakes *mistakes)
{
    struct loading loading = {
        .config = config,
        .is_lenient = is_lenient,
        .mistakes = mistakes,
        /* cppcheck-suppress pointerSize ; a list of pointers */
        .drafts = calloc(n_drafts + 1, sizeof(struct draft *)),
        .wishes = calloc(2 * (n_drafts + 1), sizeof *loading.wishes),
        .lists = calloc(2 * (n_drafts + 1), sizeof *loading.lists),
    };

    config->subnets = calloc(2 * (n_drafts + 1), sizeof *config->subnets);
    if (loading.drafts && loading.wishes && loading.lists && config->subnets) {
        if (defaults)
            add_draft(&loading, defaults);
        for (size_t i = 0; i < n_drafts; i++)
            add_draft(&loading, &drafts[i]);
        load(&loading);
    } else {
        mistakes_error(mistakes, 0, "out of memory");
    }
    free(loading.drafts);
    free(loading.wishes);
    free(loading.lists);
}
