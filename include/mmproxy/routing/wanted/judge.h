/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * judge: does what the kernel has do what is wanted? Pure: rules and routes come in, verdicts
 * and the commands that mend come out. The effect counts, not the spelling.
 *
 * It follows the kernel's way through all rules for the replies to every client at once, as a
 * set of addresses. Three kinds of clients are looked at in turn:
 *
 * - Public addresses. A rule or route that takes replies to any of them is a fault.
 * - The addresses that a rule itself names (`to PREFIX`), private ones too: a fault as well.
 * - All others, such as private networks that a table has routes to. Most hosts have no clients
 *   there: it is noted and no fault. The same goes for a rule that may or may not apply.
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

enum { JUDGE_MENDS_MAX = 6, JUDGE_TEXT_MAX = WANTED_COMMAND_MAX };

struct judgement {
    enum judge_verdict verdict;
    uint32_t priority;           /* SHADOWED: of the rule that is in the way */
    char reason[JUDGE_TEXT_MAX]; /* "" where it holds or is simply missing */
    /* HOLDS: which clients' replies go elsewhere all the same, and why; "" where none do. */
    char note[JUDGE_TEXT_MAX];
    char commands[JUDGE_MENDS_MAX][JUDGE_TEXT_MAX]; /* commands, in this order; of reason or note */
    size_t n_commands;
};

/* The kernel's rules and routes of the item's family. */
struct judge_kernel {
    const struct rtnl_rules *rules;   /* in the order of evaluation */
    const struct rtnl_routes *routes; /* of every table that rules up to the item's lead to */
    const uint32_t *uids;             /* of the services' sockets, one a reply; NULL: all root's */
};

/* replies: those of other marks, tables or families do not count. */
void judge_rule(const struct wanted_item *item, const struct judge_kernel *kernel,
                const struct wanted *replies, struct judgement *out);

void judge_route(const struct wanted_item *item, const struct judge_kernel *kernel,
                 struct judgement *out);

/* Does this rule alone send the replies of all targets that the item may be for to its table? */
bool judge_rule_serves(const struct rtnl_rule *rule, const struct wanted_item *item);

#endif
