/* SPDX-License-Identifier: BSD-2-Clause */
/* The nftables ruleset as text. */
#include <string.h>

#include "fuzz.h"
#include "mmproxy/routing/nftlist.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct nftlist list = { 0 };
    char *text = malloc(len + 1);

    PROPERTY(text != NULL);
    memcpy(text, bytes, len);
    text[len] = '\0';
    PROPERTY(nftlist_parse(&list, text) == 0);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct nftlist_mark *item = &list.items[i];

        PROPERTY(item->mark != 0);
        PROPERTY(item->is_v4 || item->is_v6);
        if (item->is_v4)
            PROPERTY(nftlist_has(&list, item->is_save, AF_INET, item->mark));
        if (item->is_v6)
            PROPERTY(nftlist_has(&list, item->is_save, AF_INET6, item->mark));
    }
    nftlist_close(&list);
    free(text);
    return 0;
}
