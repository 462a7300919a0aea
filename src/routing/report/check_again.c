/* SPDX-License-Identifier: BSD-2-Clause */
/* The second round of check: from other addresses. */
#include <errno.h>
#include <stdlib.h>

#include "check_internal.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/report/check.h"

enum {
    PER_TARGET_MAX = 2 + OTHERS_MAX,
    WITH_OTHERS_MAX = 64, /* targets for which other clients are looked for */
};

enum purpose { FROM_ANOTHER_ADDRESS, FROM_CLIENT, FROM_OTHER };

struct again {
    struct target *target;
    enum purpose purpose;
    size_t other;
};

/* Both arrays have the same length. */
struct list {
    struct again *items;
    struct attempt *attempts;
    size_t n;
};

static void add(struct list *list, struct target *target, enum purpose purpose, size_t other,
                const struct addr *source)
{
    list->items[list->n] = (struct again){ target, purpose, other };
    list->attempts[list->n++] = check_attempt(target, source);
}

/* Nobody is asked for where nobody gets through. */
static void add_client(struct list *list, struct target *target, const struct report_sink *sink)
{
    if (sink->find_client &&
        sink->find_client(sink->context, target->listener, &target->addr, &target->client) &&
        addr_family(&target->client) == addr_family(&target->addr))
        add(list, target, FROM_CLIENT, 0, &target->client);
    else
        target->client = (struct addr){ 0 };
}

/* Over UDP nothing is tried: what the rules say is all there is. */
static void add_others(struct list *list, struct target *target, struct causes *causes)
{
    target->others = calloc(1, sizeof *target->others);
    if (!target->others)
        return;
    causes_others(causes, target->listener, &target->addr, target->others);
    for (size_t i = 0; check_tries(target) && i < target->others->n; i++)
        add(list, target, FROM_OTHER, i, &target->others->items[i].client);
}

static void collect(struct list *list, struct target *items, size_t n, struct causes *causes,
                    const struct report_sink *sink)
{
    size_t n_others = 0;

    for (size_t i = 0; i < n; i++) {
        struct target *target = &items[i];
        const struct addr another =
            survey_other_client_of(target->listener, addr_family(&target->addr));

        if (target->lacks_ipv6)
            continue;
        if (check_tries(target) && target->spoofed != 0 && target->spoofed != target->plain) {
            add(list, target, FROM_ANOTHER_ADDRESS, 0, &another);
            continue;
        }
        if (target->spoofed != 0)
            continue;
        if (check_tries(target))
            add_client(list, target, sink);
        if (n_others++ < WITH_OTHERS_MAX)
            add_others(list, target, causes);
    }
}

/* From the last to the first: those who get through leave the others of their target. */
static void take(const struct again *again, const struct attempt *attempt)
{
    struct target *target = again->target;
    struct others *others = target->others;

    if (again->purpose == FROM_CLIENT) {
        target->client_result = attempt->result;
    } else if (again->purpose == FROM_ANOTHER_ADDRESS && attempt->result == 0) {
        target->spoofed = 0;
        target->source = attempt->source;
    } else if (again->purpose == FROM_OTHER && attempt->result == 0) {
        for (size_t i = again->other + 1; i < others->n; i++)
            others->items[i - 1] = others->items[i];
        others->n--;
    }
}

int check_again_run(struct target *items, size_t n, struct causes *causes,
                    const struct report_sink *sink)
{
    struct list list = { .items = calloc(PER_TARGET_MAX * n + 1, sizeof *list.items),
                         .attempts = calloc(PER_TARGET_MAX * n + 1, sizeof *list.attempts) };
    int err = list.items && list.attempts ? 0 : -ENOMEM;

    if (err == 0) {
        collect(&list, items, n, causes, sink);
        err = attempts_run(list.attempts, list.n, CHECK_TIMEOUT_MS);
    }
    for (size_t i = list.n; err == 0 && i > 0; i--)
        take(&list.items[i - 1], &list.attempts[i - 1]);
    free(list.items);
    free(list.attempts);
    return err;
}
