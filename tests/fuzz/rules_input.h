/* SPDX-License-Identifier: BSD-2-Clause */
/* What the targets about a firewall's rules share: packets, and what holds for all that is found.
 */
#ifndef MMPROXY_TESTS_RULES_INPUT_H
#define MMPROXY_TESTS_RULES_INPUT_H

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/routing/wanted/ruleset.h"

/* A packet towards a target, or its reply, at each hook and of each kind. */
static inline struct ruleset_packet rules_packet(size_t i)
{
    static const char *const hooks[] = { "output",     "postrouting", "egress",
                                         "prerouting", "ingress",     "input" };
    static const char *const ends[2][2] = { { "192.0.2.1", "127.0.0.1" },
                                            { "2001:db8::1", "::1" } };
    bool is_reply = i % 2 != 0;
    size_t family = i / 2 % 2;
    struct ruleset_packet packet = {
        .hook = hooks[i / 4 % 6],
        .device = i / 24 % 2 != 0 ? "eth0" : "lo",
        .mark = i / 48 % 2 != 0 ? 123 : 0,
        .is_udp = i / 96 % 2 != 0,
        .is_new = !is_reply,
        .is_dst_local = !is_reply,
        .is_rerouted = is_reply && i / 4 % 6 == 0 && i / 24 % 2 != 0,
    };
    struct addr client;
    struct addr target;

    PROPERTY(!addr_parse_host(&client, ends[family][0]));
    PROPERTY(!addr_parse_host(&target, ends[family][1]));
    addr_set_port(&client, 40000);
    addr_set_port(&target, 22);
    packet.src = is_reply ? target : client;
    packet.dst = is_reply ? client : target;
    return packet;
}

/* There are 192 packets; the text says from which one on a few are taken, of all kinds. */
enum { RULES_PACKETS = 192, RULES_TAKEN = 10, RULES_STEP = 23 };

/* Would a shell take nothing in it for anything but words? */
static inline bool rules_is_plain(const char *text)
{
    char quote = '\0';

    for (; *text != '\0'; text++) {
        if (*text == '\\' && quote != '\'') {
            text += text[1] != '\0';
        } else if (quote != '\0') {
            if (quote == '"' && (*text == '$' || *text == '`'))
                return false;
            quote = *text == quote ? '\0' : quote;
        } else if (*text == '"' || *text == '\'') {
            quote = *text;
        } else if (strchr("$`;&|<>()\n", *text)) {
            return false;
        }
    }
    return quote == '\0';
}

static inline void rules_check_found(const struct ruleset_list *list, unsigned effects)
{
    PROPERTY(list->n_items <= RULESET_FOUND_MAX);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct ruleset_found *found = &list->items[i];

        PROPERTY(found->effect & effects);
        PROPERTY(strlen(found->rule) < sizeof found->rule);
        PROPERTY(rules_is_plain(found->command) && rules_is_plain(found->rule));
        PROPERTY(found->command[0] == '\0' || strncmp(found->command, "nft ", 4) == 0 ||
                 strncmp(found->command, "ip", 2) == 0);
        PROPERTY(!found->is_by_mark || effects & RULESET_REFUSES);
        for (size_t j = 0; j < i; j++)
            PROPERTY(strcmp(found->command, list->items[j].command) != 0);
    }
}

/* What such packets meet. returns: how much is found. */
static inline size_t rules_check_text(const char *text, bool is_legacy)
{
    static const unsigned effects[] = { RULESET_REFUSES, RULESET_SET_MARK | RULESET_NOTRACK,
                                        RULESET_DNAT | RULESET_SNAT };
    size_t at = 0;
    size_t n = 0;

    for (const char *byte = text; *byte != '\0'; byte++)
        at = 31 * at + (unsigned char)*byte;
    for (size_t i = 0; i < RULES_TAKEN; i++) {
        const struct ruleset_packet packet =
            rules_packet((at % RULES_PACKETS + i * RULES_STEP) % RULES_PACKETS);
        const struct ruleset ruleset = { text, i % 3 != 0, is_legacy ? text : NULL };

        for (size_t j = 0; j < sizeof effects / sizeof *effects; j++) {
            struct ruleset_list list = { .n_items = 0 };

            ruleset_find(&ruleset, &packet, effects[j], &list);
            rules_check_found(&list, effects[j]);
            n += list.n_items;
        }
    }
    return n;
}

static inline char *rules_text(const uint8_t *bytes, size_t len)
{
    char *text = malloc(len + 1);

    PROPERTY(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

#endif
