/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of nftables as text: what they do to packets, and the clients that they name. */
#include "mmproxy/routing/wanted/ruleclients.h"
#include "mmproxy/routing/wanted/special.h"
#include "rules_input.h"

enum { CLIENTS_MAX = 8 };

static bool is_same(const struct ruleclients *a, const struct ruleclients *b)
{
    return a->prefix.len == b->prefix.len && a->first_port == b->first_port &&
           a->last_port == b->last_port &&
           (a->prefix.len == 0 || addr_equal_host(&a->prefix.addr, &b->prefix.addr));
}

static void check_clients(const char *text, sa_family_t family)
{
    struct ruleclients clients[CLIENTS_MAX];
    struct ruleclients fewer[CLIENTS_MAX / 2];
    size_t n = ruleclients_find(text, family, clients, CLIENTS_MAX);
    size_t n_fewer = ruleclients_find(text, family, fewer, CLIENTS_MAX / 2);

    PROPERTY(n <= CLIENTS_MAX && n_fewer == (n < CLIENTS_MAX / 2 ? n : CLIENTS_MAX / 2));
    PROPERTY(ruleclients_find(text, family, clients, 0) == 0);
    for (size_t i = 0; i < n; i++) {
        const struct ruleclients *one = &clients[i];

        PROPERTY((one->prefix.len == 0) != (one->last_port == 0));
        PROPERTY(one->first_port <= one->last_port);
        PROPERTY(one->prefix.len == 0 ||
                 (addr_family(&one->prefix.addr) == family && special_is_public(&one->prefix)));
        PROPERTY(i == 0 || clients[i - 1].prefix.len <= one->prefix.len);
        PROPERTY(i >= n_fewer || fewer[i].prefix.len == one->prefix.len);
        for (size_t j = 0; j < i; j++)
            PROPERTY(!is_same(one, &clients[j]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *text = rules_text(bytes, len);
    size_t n = rules_check_text(text, false);

    PROPERTY(n == 0 || (strstr(text, "table") && strstr(text, "hook")));
    check_clients(text, AF_INET);
    check_clients(text, AF_INET6);
    free(text);
    return 0;
}
