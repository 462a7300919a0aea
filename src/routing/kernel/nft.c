/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/routing/kernel/apart.h"
#include "mmproxy/routing/wanted/flows.h"

enum {
    ANSWER_MAX = 8192,
    LIMIT_MS = 10000, /* the caller does nothing else meanwhile */
};

#define OWN_TABLE "inet " NFTLIST_OWN_TABLE

/* libnftables tells what went wrong as text only; errno is whatever it did last. */
static int error_of(struct nft_ctx *context)
{
    static const int known[] = { ENOENT, EPERM, EACCES, EOPNOTSUPP, EBUSY, ENOMEM, EINVAL };
    const char *text = nft_ctx_get_error_buffer(context);

    for (size_t i = 0; text && i < sizeof known / sizeof known[0]; i++) {
        if (strstr(text, strerror(known[i])))
            return -known[i];
    }
    return -EIO;
}

static int ask(struct mnl_socket *socket)
{
    char buffer[ANSWER_MAX];
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    struct nfgenmsg *family;
    ssize_t len;

    msg->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN;
    msg->nlmsg_flags = NLM_F_REQUEST;
    family = mnl_nlmsg_put_extra_header(msg, sizeof *family);
    family->version = NFNETLINK_V0;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(socket, msg, msg->nlmsg_len) < 0)
        return -errno;
    len = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
    if (len < 0)
        return -errno;
    return mnl_cb_run(buffer, (size_t)len, 0, mnl_socket_get_portid(socket), NULL, NULL) < 0
               ? -errno
               : 0;
}

/*
 * May nftables be asked at all? libnftables writes to stderr itself where it may not, whatever
 * was said about its errors: this is what it asks first, asked before. returns: 0 or -errno.
 */
static int probe(void)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    int err;

    if (!socket)
        return -errno;
    err = ask(socket);
    mnl_socket_close(socket);
    return err;
}

struct request {
    const char *commands;
    unsigned flags; /* of libnftables' output */
};

static int run_here(const void *context, FILE *out)
{
    const struct request *request = context;
    struct nft_ctx *nft;
    int err = probe();

    if (err < 0)
        return err;
    nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!nft)
        return -ENOMEM;
    nft_ctx_output_set_flags(nft, request->flags);
    nft_ctx_set_output(nft, out);
    nft_ctx_buffer_error(nft);
    return nft_run_cmd_from_buffer(nft, request->commands) == 0 ? 0 : error_of(nft);
}

/*
 * libnftables loses some memory for each rule of iptables-nft's that it reads, 20 kB for one with
 * MASQUERADE: it has a process of its own, which ends. *output: what the commands print, owned by
 * the caller.
 */
static int run(const char *commands, unsigned flags, char **output)
{
    const struct request request = { .commands = commands, .flags = flags };

    return apart_run(run_here, &request, LIMIT_MS, output);
}

int nft_read(struct nftlist *list, bool own_only)
{
    char *text;
    int err =
        run(own_only ? "list table " OWN_TABLE : "list ruleset",
            NFT_CTX_OUTPUT_NUMERIC_ALL | NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE, &text);

    if (err == 0)
        err = nftlist_parse(list, text);
    else if (err == -ENOENT && own_only)
        err = 0; /* there is no such table */
    free(text);
    return err;
}

char *nft_text(bool has_elements)
{
    char *text;

    (void)run("list ruleset",
              NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_STATELESS |
                  (has_elements ? 0 : NFT_CTX_OUTPUT_TERSE),
              &text);
    return text;
}

static int write_commands(const char *commands)
{
    char *output;
    int err = run(commands, 0, &output);

    free(output);
    return err;
}

static void print_rules(FILE *out, const struct wanted *wanted, enum wanted_kind kind)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];
        const char *family = item->family == AF_INET6 ? "ipv6" : "ipv4";
        char rule[WANTED_COMMAND_MAX];

        if (item->kind != kind)
            continue;
        if (kind == WANTED_MARK_REPLIES)
            fprintf(out, "%s\n", wanted_nft_rule(item, rule));
        else if (kind == WANTED_MARK_FLOWS)
            fprintf(out, "%s\n", flows_mark_rule(item, rule));
        else if (kind == WANTED_SAVE_MARK)
            fprintf(out, "meta nfproto %s meta mark %u ct mark set meta mark\n", family,
                    item->mark);
        else
            fprintf(out, "meta nfproto %s ct mark %u meta mark set ct mark\n", family, item->mark);
    }
}

static bool has_flows(const struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind == WANTED_MARK_FLOWS)
            return true;
    }
    return false;
}

static bool has_set(const struct wanted *wanted, const char *name)
{
    char set[FLOWS_SET_MAX];

    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind == WANTED_MARK_FLOWS &&
            strcmp(flows_set(&wanted->items[i], set), name) == 0)
            return true;
    }
    return false;
}

/*
 * Adding first makes the removal never fail. Where there are flows, what is written down of them
 * stays: the answers to datagrams that are under way depend on it.
 */
static void print_removal(FILE *out, const struct wanted *wanted, const struct nftlist *old)
{
    bool keeps = has_flows(wanted);

    fprintf(out, "add table " OWN_TABLE "\n%s table " OWN_TABLE "\n", keeps ? "flush" : "delete");
    for (size_t i = 0; keeps && i < old->n_items; i++) {
        const struct nftlist_mark *mark = &old->items[i];

        /* Of the two rules of a set, the marking rule stands for both. */
        if (mark->kind == WANTED_MARK_FLOWS && mark->is_own && !mark->is_record &&
            !has_set(wanted, mark->set))
            fprintf(out, "delete set " OWN_TABLE " %s\n", mark->set);
    }
}

static void print_sets(FILE *out, const struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->n_items; i++) {
        const struct wanted_item *item = &wanted->items[i];
        char definition[FLOWS_TEXT_MAX];
        char set[FLOWS_SET_MAX];

        if (item->kind == WANTED_MARK_FLOWS)
            fprintf(out, "set %s { %s }\n", flows_set(item, set),
                    flows_definition(item, definition));
    }
}

static void print_records(FILE *out, const struct wanted *wanted)
{
    char rule[FLOWS_TEXT_MAX];

    fputs("chain record {\n" FLOWS_RECORD_HOOK "; policy accept;\n", out);
    for (size_t i = 0; i < wanted->n_items; i++) {
        if (wanted->items[i].kind == WANTED_MARK_FLOWS)
            fprintf(out, "%s\n", flows_record_rule(&wanted->items[i], rule));
    }
    fputs("}\n", out);
}

int nft_write(const struct wanted *wanted, const struct nftlist *old)
{
    char *commands = NULL;
    size_t len;
    FILE *out = open_memstream(&commands, &len);
    int err;

    if (!out)
        return -errno;
    /* All of it is one transaction. */
    print_removal(out, wanted, old);
    if (wanted_has_marks(wanted)) {
        fputs("table " OWN_TABLE " {\n", out);
        print_sets(out, wanted);
        if (has_flows(wanted))
            print_records(out, wanted);
        fputs("chain prerouting {\n"
              "type filter hook prerouting priority mangle; policy accept;\n",
              out);
        print_rules(out, wanted, WANTED_SAVE_MARK);
        print_rules(out, wanted, WANTED_MARK_REPLIES);
        fputs("}\nchain output {\ntype route hook output priority mangle; policy accept;\n", out);
        print_rules(out, wanted, WANTED_RESTORE_MARK);
        print_rules(out, wanted, WANTED_MARK_FLOWS);
        fputs("}\n}\n", out);
    }
    err = fclose(out) == 0 ? write_commands(commands) : -errno;
    free(commands);
    return err;
}
