/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/firewall.h"

#include <stdlib.h>

#include "mmproxy/routing/kernel/nft.h"

/* Where packets come by: those to the target, and its replies. */
struct stop {
    const char *hook;
    bool is_reply;
    bool is_elsewhere; /* of targets on other machines too, else of those on this host alone */
};

static const struct stop stops[] = {
    { "output", false, true },    { "postrouting", false, true }, { "prerouting", false, false },
    { "input", false, false },    { "output", true, false },      { "postrouting", true, false },
    { "prerouting", true, true }, { "input", true, true },
};

void firewall_close(struct firewall *firewall)
{
    free(firewall->text);
    *firewall = (struct firewall){ 0 };
}

static struct ruleset_packet packet_at(const struct stop *stop, const struct firewall_way *way)
{
    const struct listener_config *listener = way->listener;

    return (struct ruleset_packet){
        .hook = stop->hook,
        .device = way->is_local ? "lo" : way->device,
        .src = stop->is_reply ? way->target : way->client,
        .dst = stop->is_reply ? way->client : way->target,
        .mark = stop->is_reply ? listener->mark
                               : listener_config_socket_mark(listener, addr_family(&way->target)),
        .is_udp = listener->protocol == PROTOCOL_UDP,
        .is_new = !stop->is_reply,
        .is_dst_local = way->is_local && !stop->is_reply,
    };
}

bool firewall_find(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                   struct ruleset_list *list)
{
    if (!firewall->is_read)
        firewall->text = nft_text();
    firewall->is_read = true;
    for (size_t i = 0; firewall->text && i < sizeof stops / sizeof *stops; i++) {
        struct ruleset_packet packet = packet_at(&stops[i], way);

        if (way->is_local || stops[i].is_elsewhere)
            ruleset_find(firewall->text, &packet, effects, list);
    }
    return list->n_items > 0;
}

static const char *what_it_does(enum ruleset_effect effect)
{
    switch (effect) {
    case RULESET_REJECT:
        return "This firewall rule rejects its packets";
    case RULESET_NOTRACK:
        return "Return path connmark needs conntrack, and this rule switches it off for its "
               "packets";
    case RULESET_SET_MARK:
        return "This rule changes the mark of its packets";
    case RULESET_POLICY_DROP:
        return "This firewall chain drops its packets";
    case RULESET_SNAT:
        return "This rule replaces the client's address by another";
    case RULESET_DNAT:
        return "This rule sends its packets elsewhere";
    default:
        return "This firewall rule drops its packets";
    }
}

bool firewall_report(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                     const struct report_sink *sink)
{
    struct ruleset_list list = { .n_items = 0 };

    (void)firewall_find(firewall, way, effects, &list);
    for (size_t i = 0; i < list.n_items; i++) {
        report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: %s: %s. This command mends it:",
                         what_it_does(list.items[i].effect), list.items[i].rule);
        report_sink_command(sink, list.items[i].command);
    }
    return list.n_items > 0;
}
