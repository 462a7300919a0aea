/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/rules.h"

#include <errno.h>

#include "mmproxy/net/congestion.h"
#include "mmproxy/routing/kernel/survey.h"

/* Where systemd-networkd has no setting the file has a comment, so it stays valid. */
#define NETWORKD_HEAD                             \
    "# /etc/systemd/network/50-mmproxy.network\n" \
    "[Match]\n"                                   \
    "Name=lo\n"

static void print_shell(FILE *out, const struct wanted *wanted)
{
    char command[WANTED_COMMAND_MAX];

    for (size_t i = 0; i < wanted->n_items; i++)
        fprintf(out, "%s\n", wanted_command(&wanted->items[i], command));
}

static void print_undo(FILE *out, const struct wanted *wanted)
{
    char command[WANTED_COMMAND_MAX];

    for (size_t i = wanted->n_items; i-- > 0;)
        fprintf(out, "%s\n", wanted_undo(&wanted->items[i], command));
}

static void print_networkd_item(FILE *out, const struct wanted_item *item)
{
    if (item->kind == WANTED_RULE) {
        fprintf(out, "\n[RoutingPolicyRule]\n");
        if (item->mark != 0)
            fprintf(out, "Family=%s\nFirewallMark=%u\n", item->family == AF_INET6 ? "ipv6" : "ipv4",
                    item->mark);
        else
            fprintf(out, "From=%s\nIncomingInterface=lo\n", wanted_prefix(item->family));
        fprintf(out, "Table=%u\nPriority=%d\n", item->table, WANTED_RULE_PRIORITY);
    }
    if (item->kind == WANTED_ROUTE)
        fprintf(out, "\n[Route]\nType=local\nDestination=%s\nTable=%u\n%s",
                item->family == AF_INET6 ? "::/0" : "0.0.0.0/0", item->table,
                item->avoids_pacing ? "TCPCongestionControlAlgorithm=" CONGESTION_UNPACED "\n"
                                    : "");
}

static void print_networkd(FILE *out, const struct wanted *wanted)
{
    char command[WANTED_COMMAND_MAX];
    bool has_sysctls = false;
    bool has_marks = false;

    fputs(NETWORKD_HEAD, out);
    for (size_t i = 0; i < wanted->n_items; i++)
        print_networkd_item(out, &wanted->items[i]);
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind != WANTED_SYSCTL)
            continue;
        if (!has_sysctls)
            fputs("\n# /etc/sysctl.d/50-mmproxy.conf\n", out);
        has_sysctls = true;
        fprintf(out, "# %s = 1\n", wanted->items[i].sysctl);
    }
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (!wanted_is_mark(&wanted->items[i]))
            continue;
        if (!has_marks)
            fputs("\n# To be run at boot, systemd-networkd does not know them:\n", out);
        has_marks = true;
        fprintf(out, "# %s\n", wanted_command(&wanted->items[i], command));
    }
}

/*
 * A second stanza for lo adds to the stanza that every host has, which is taken down first,
 * and lo takes its IPv6 routes along: a removal that finds nothing must not stop the others.
 */
static void print_interfaces(FILE *out, const struct wanted *wanted)
{
    char command[WANTED_COMMAND_MAX];

    fputs("# /etc/network/interfaces.d/mmproxy\niface lo inet loopback\n", out);
    for (size_t i = 0; i < wanted->n_items; i++)
        fprintf(out, "    post-up %s\n", wanted_command(&wanted->items[i], command));
    for (size_t i = wanted->n_items; i-- > 0;)
        fprintf(out, "    pre-down %s || true\n", wanted_undo(&wanted->items[i], command));
}

void rules_print_wanted(FILE *out, const struct wanted *wanted, enum rules_form form)
{
    if (wanted->n_items == 0)
        return;
    switch (form) {
    case RULES_SHELL:
        print_shell(out, wanted);
        return;
    case RULES_UNDO:
        print_undo(out, wanted);
        return;
    case RULES_NETWORKD:
        print_networkd(out, wanted);
        return;
    case RULES_INTERFACES:
        print_interfaces(out, wanted);
        return;
    }
}

int rules_print(FILE *out, const struct config *config, enum rules_form form)
{
    struct rtnl *rtnl = rtnl_new();
    struct wanted wanted = { 0 };
    struct wanted_host host;
    int err = rtnl ? survey_host(rtnl, &host) : -errno;

    if (err == 0) {
        host.has_ipv6 = true;
        host.is_paced = congestion_is_paced();
        err = wanted_add(&wanted, config, &host);
    }
    if (err == 0)
        rules_print_wanted(out, &wanted, form);
    wanted_close(&wanted);
    rtnl_free(rtnl);
    return err;
}
