/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/firewall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/shell.h"
#include "mmproxy/routing/kernel/nft.h"
#include "mmproxy/routing/kernel/xtables.h"
#include "mmproxy/routing/wanted/legacy.h"

/* Where packets come by: those to the target, and its replies. */
struct stop {
    const char *hook;
    bool is_reply;
    bool is_elsewhere; /* of targets on other machines too, else of those on this host alone */
};

static const struct stop stops[] = {
    { "output", false, true },   { "postrouting", false, true }, { "egress", false, true },
    { "ingress", false, false }, { "prerouting", false, false }, { "input", false, false },
    { "output", true, false },   { "postrouting", true, false }, { "egress", true, false },
    { "ingress", true, true },   { "prerouting", true, true },   { "input", true, true },
};

void firewall_close(struct firewall *firewall)
{
    free(firewall->text);
    *firewall = (struct firewall){ 0 };
}

static struct ruleset_packet packet_at(const struct stop *stop, const struct firewall_way *way)
{
    const struct listener_config *listener = way->listener;
    bool is_unmarked =
        stop->is_reply && way->unmarked[0] != '\0' && strcmp(stop->hook, "output") == 0;

    return (struct ruleset_packet){
        .hook = stop->hook,
        .device = is_unmarked     ? way->unmarked
                  : way->is_local ? "lo"
                                  : way->device,
        .src = stop->is_reply ? way->target : way->client,
        .dst = stop->is_reply ? way->client : way->target,
        .mark = stop->is_reply ? listener->mark
                               : listener_config_socket_mark(listener, addr_family(&way->target)),
        .is_udp = listener->protocol == PROTOCOL_UDP,
        .is_new = !stop->is_reply,
        .is_dst_local = way->is_local && !stop->is_reply,
        .is_rerouted = is_unmarked,
    };
}

/* Behind the rules of nftables, under other names of tables. */
static void write_legacy(struct firewall *firewall, FILE *out)
{
    for (int is_v6 = 0; is_v6 < 2; is_v6++) {
        char *saved;

        if (xtables_save_legacy(is_v6, &saved) < 0)
            firewall->unread = is_v6 ? "ip6tables-legacy" : "iptables-legacy";
        if (saved)
            legacy_translate(out, saved, is_v6);
        free(saved);
    }
}

static void read_rules(struct firewall *firewall, bool has_elements)
{
    size_t size = 0;
    FILE *out;
    char *nft;

    if (firewall->is_read && (firewall->has_elements || !has_elements))
        return;
    firewall_close(firewall);
    firewall->is_read = true;
    firewall->has_elements = has_elements;
    out = open_memstream(&firewall->text, &size);
    if (!out)
        return;
    nft = nft_text(has_elements);
    if (nft)
        fputs(nft, out);
    free(nft);
    fflush(out);
    firewall->legacy_at = size;
    write_legacy(firewall, out);
    if (fclose(out) != 0) {
        free(firewall->text);
        firewall->text = NULL;
    }
}

static void find(const struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                 struct ruleset_list *list)
{
    const char *text = firewall->text;
    const struct ruleset ruleset = { text, firewall->has_elements,
                                     text ? text + firewall->legacy_at : NULL };

    for (size_t i = 0; text && i < sizeof stops / sizeof *stops; i++) {
        struct ruleset_packet packet = packet_at(&stops[i], way);

        if (way->is_local || stops[i].is_elsewhere)
            ruleset_find(&ruleset, &packet, effects, list);
    }
}

bool firewall_find(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                   struct ruleset_list *list)
{
    read_rules(firewall, false);
    find(firewall, way, effects, list);
    /* The elements may be many: they are read where there is reason to. */
    if (list->n_items == 0 && (effects & RULESET_REFUSES) && firewall->text &&
        strstr(firewall->text, "addr @")) {
        read_rules(firewall, true);
        find(firewall, way, effects, list);
    }
    return list->n_items > 0;
}

bool firewall_find_listed(struct firewall *firewall, const struct firewall_way *way,
                          unsigned effects, struct ruleset_list *list)
{
    read_rules(firewall, false);
    find(firewall, way, effects, list);
    return list->n_items > 0;
}

const char *firewall_text(struct firewall *firewall)
{
    read_rules(firewall, false);
    return firewall->text ? firewall->text : "";
}

unsigned firewall_marks(const struct firewall_way *way)
{
    enum return_path path = listener_config_return_path(way->listener, addr_family(&way->target));

    if (path == RETURN_PATH_LOOPBACK)
        return 0;
    return path == RETURN_PATH_CONNMARK ? RULESET_SET_MARK | RULESET_NOTRACK : RULESET_SET_MARK;
}

const char *firewall_listing(const struct firewall *firewall)
{
    if (!firewall->unread)
        return "nft list ruleset";
    return strcmp(firewall->unread, "iptables-legacy") == 0
               ? "nft list ruleset; iptables-legacy -S"
               : "nft list ruleset; ip6tables-legacy -S";
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

/* A rule for what leaves this host, such as a kill switch: replies seem to, at first. */
static void report_by_mark(const struct ruleset_found *found, const struct firewall_way *way,
                           const char *mending, const struct report_sink *sink)
{
    bool is_connmark = listener_config_return_path(way->listener, addr_family(&way->target)) ==
                       RETURN_PATH_CONNMARK;
    char device[SHELL_QUOTED_MAX(IF_NAMESIZE)];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: %s: %s. With %s replies are bound for %s until they are marked: "
                     "%slet marked packets pass.%s",
                     what_it_does(found->effect), found->rule, is_connmark ? "connmark" : "flows",
                     shell_quote(way->unmarked, device, sizeof device),
                     is_connmark ? "use return path fwmark, or " : "", mending);
}

bool firewall_report(struct firewall *firewall, const struct firewall_way *way, unsigned effects,
                     const struct report_sink *sink)
{
    struct ruleset_list list = { .n_items = 0 };

    (void)firewall_find(firewall, way, effects, &list);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct ruleset_found *found = &list.items[i];
        const char *mending = found->command[0] == '\0' ? ""
                              : report_sink_has_told(sink, found->command)
                                  ? " A command above mends it."
                                  : " This command mends it:";

        if (found->is_by_mark)
            report_by_mark(found, way, mending, sink);
        else
            report_sink_line(sink, LOG_LEVEL_WARNING, "[!] FAILED: %s: %s.%s",
                             what_it_does(found->effect), found->rule, mending);
        if (found->command[0] != '\0')
            report_sink_command(sink, found->command);
    }
    return list.n_items > 0;
}
