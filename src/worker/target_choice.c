/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/worker/target_choice.h"

enum reason target_choose(const struct listener_config *listener, const struct addr *local,
                          const struct target_facts *facts, struct target_choice *out)
{
    const struct addr *target = listener_config_target(listener, addr_family(&facts->client));

    (void)local;
    *out = (struct target_choice){ 0 };
    if (!target)
        return REASON_NO_TARGET;
    out->target = *target;
    out->source = facts->client;
    return REASON_NONE;
}
