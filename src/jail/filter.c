/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/filter.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* libseccomp's levels of optimisation: a binary tree instead of one comparison after another. */
enum { BINARY_TREE = 2 };

/* An option that prctl(2) does not have ("mmpx"), and the answer of a filter that is asked. */
enum { ASK_FILTER = 0x6d6d7078, IS_IN_FORCE = EALREADY };

static const uint64_t LOW_32_BITS = UINT32_MAX;

static struct scmp_arg_cmp comparison(const struct filter_arg *arg)
{
    struct scmp_arg_cmp cmp = { .arg = arg->index, .op = SCMP_CMP_MASKED_EQ };

    switch (arg->test) {
    case FILTER_ANY:
    case FILTER_IS:
        cmp.datum_a = LOW_32_BITS;
        cmp.datum_b = arg->value;
        break;
    case FILTER_LACKS:
        cmp.datum_a = arg->value;
        break;
    case FILTER_HAS:
        cmp.datum_a = arg->value;
        cmp.datum_b = arg->value;
        break;
    case FILTER_ABOVE:
        cmp.op = SCMP_CMP_GT;
        cmp.datum_a = arg->value;
        break;
    case FILTER_NULL:
        cmp.op = SCMP_CMP_EQ;
        break;
    case FILTER_OWN_PID:
        cmp.datum_a = LOW_32_BITS;
        cmp.datum_b = (uint32_t)getpid();
        break;
    }
    return cmp;
}

static int add_line(scmp_filter_ctx filter, uint32_t action, const struct filter_line *line)
{
    struct scmp_arg_cmp args[FILTER_ARGS_MAX];
    unsigned n = 0;

    int call = seccomp_syscall_resolve_name(line->call);
    if (call == __NR_SCMP_ERROR)
        return 0; /* of a kernel that this libseccomp does not know; a test looks at the names */
    while (n < FILTER_ARGS_MAX && line->args[n].test != FILTER_ANY) {
        args[n] = comparison(&line->args[n]);
        n++;
    }
    int err = seccomp_rule_add_array(filter, action, call, n, args);
    return err == -EDOM ? 0 : err; /* this architecture does not have it */
}

static int add_table(scmp_filter_ctx filter, uint32_t action, const struct filter_table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        const struct filter_line *line = &table->lines[i];
        uint32_t refusal = line->error != 0 ? SCMP_ACT_ERRNO((uint32_t)line->error) : action;
        int err = add_line(filter, refusal, line);
        if (err < 0)
            return err;
    }
    return 0;
}

static scmp_filter_ctx new_filter(uint32_t action)
{
    scmp_filter_ctx filter = seccomp_init(action);
    if (!filter)
        return NULL;
    if (seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
        seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1) < 0) {
        seccomp_release(filter);
        return NULL;
    }
    /* Where it can't be had the filter is slower and the same. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
    return filter;
}

int filter_allow(const struct filter_table *tables, size_t n_tables)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_TRAP);
    int err = 0;

    if (!filter)
        return -EINVAL;
    for (size_t i = 0; i < n_tables && err == 0; i++)
        err = add_table(filter, SCMP_ACT_ALLOW, &tables[i]);
    if (err == 0)
        err = seccomp_load(filter);
    seccomp_release(filter);
    return err;
}

static int load_denying(const struct filter_table *table, const struct filter_line *answer)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_ALLOW);

    if (!filter)
        return -EINVAL;
    int err = add_table(filter, SCMP_ACT_TRAP, table);
    if (err == 0 && answer)
        err = add_line(filter, SCMP_ACT_ERRNO(IS_IN_FORCE), answer);
    if (err == 0)
        err = seccomp_load(filter);
    seccomp_release(filter);
    return err;
}

int filter_deny(const struct filter_table *table)
{
    return load_denying(table, NULL);
}

/* FNV-1a. */
static uint32_t add_to_hash(uint32_t hash, const void *bytes, size_t len)
{
    const uint8_t *byte = bytes;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ byte[i]) * 16777619U;
    return hash;
}

/* Another table has another one: a newer binary's lines are not those in force. */
static uint32_t fingerprint(const struct filter_table *table)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < table->n; i++) {
        const struct filter_line *line = &table->lines[i];
        hash = add_to_hash(hash, line->call, strlen(line->call) + 1);
        hash = add_to_hash(hash, &line->error, sizeof line->error);
        hash = add_to_hash(hash, line->args, sizeof line->args);
    }
    return hash;
}

int filter_deny_once(const struct filter_table *table)
{
    uint32_t hash = fingerprint(table);
    const struct filter_line answer = {
        .call = "prctl",
        .args = { { .index = 0, .test = FILTER_IS, .value = ASK_FILTER },
                  { .index = 1, .test = FILTER_IS, .value = hash } },
    };

    if (prctl(ASK_FILTER, (unsigned long)hash, 0L, 0L, 0L) < 0 && errno == IS_IN_FORCE)
        return 0;
    return load_denying(table, &answer);
}
