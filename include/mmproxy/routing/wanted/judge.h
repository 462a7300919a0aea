/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * judge: does what the kernel has do what is wanted? Pure: rules, routes and the kernel's own
 * answers come in, verdicts and the commands that mend come out. What counts is the effect,
 * not the spelling.
 */
#ifndef MMPROXY_ROUTING_WANTED_JUDGE_H
#define MMPROXY_ROUTING_WANTED_JUDGE_H

#include "mmproxy/net/rtnlmsg.h"
#include "mmproxy/routing/wanted/wanted.h"

enum judge_verdict {
    JUDGE_HOLDS,
    JUDGE_MISSING,  /* the item's own command mends it */
    JUDGE_SHADOWED, /* there, but an earlier rule takes the replies */
    JUDGE_WRONG,    /* something else stands in its place */
    JUDGE_UNKNOWN,  /* could not be looked at */
};

enum { JUDGE_MENDS_MAX = 4, JUDGE_TEXT_MAX = 256 };

struct judgement {
    enum judge_verdict verdict;
    uint32_t priority;                           /* SHADOWED: of the rule that is in the way */
    char reason[JUDGE_TEXT_MAX];                 /* "" where it holds or is simply missing */
    char mends[JUDGE_MENDS_MAX][JUDGE_TEXT_MAX]; /* commands, in this order */
    size_t n_mends;
};

/*
 * What the kernel says about a reply to dst from the item's source. -EINVAL is what a
 * loopback source gets that would leave this host (or a source that is not this host's):
 * answer is then that without the source.
 */
struct judge_probe {
    struct addr dst;
    int error; /* 0 or -errno */
    bool has_answer;
    struct rtnl_route answer;
};

/* rules: of the item's family, in the order of evaluation. */
void judge_rule(const struct wanted_item *item, const struct rtnl_rules *rules,
                const struct judge_probe *probes, size_t n_probes, struct judgement *out);

/* routes: of the item's family, those of other tables do not count. */
void judge_route(const struct wanted_item *item, const struct rtnl_routes *routes,
                 const struct judge_probe *probes, size_t n_probes, struct judgement *out);

/* Does this rule alone send the item's replies to the item's table? */
bool judge_rule_serves(const struct rtnl_rule *rule, const struct wanted_item *item);

/* Could this rule apply to a reply of the item to dst (NULL: to some address)? */
bool judge_rule_applies(const struct rtnl_rule *rule, const struct wanted_item *item,
                        const struct addr *dst);

/* As ip(8) writes it: "not from all fwmark 0xca6c lookup 51820"; returns buf. */
const char *judge_format_rule(const struct rtnl_rule *rule, char buf[JUDGE_TEXT_MAX]);

#endif
