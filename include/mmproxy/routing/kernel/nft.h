/* SPDX-License-Identifier: BSD-2-Clause */
/* nft: the nftables ruleset through libnftables. Needs CAP_NET_ADMIN. */
#ifndef MMPROXY_ROUTING_KERNEL_NFT_H
#define MMPROXY_ROUTING_KERNEL_NFT_H

#include "mmproxy/routing/wanted/nftlist.h"
#include "mmproxy/routing/wanted/wanted.h"

/*
 * Reads the ruleset's CONNMARK rules; those of our own table only where own_only is set.
 * Takes its time on a host with a large ruleset. returns: 0 or -errno.
 */
int nft_read(struct nftlist *list, bool own_only);

/*
 * The ruleset as `nft -a` writes it, for ruleset_find, with the elements of its sets or without;
 * NULL where it can't be read. Owned by the caller.
 */
char *nft_text(bool has_elements);

/*
 * Makes our own table hold exactly the items of wanted for which wanted_is_mark holds, in one
 * transaction; without any the table goes. old: what nft_read has read of it. Flows that are
 * wanted still are not forgotten. returns: 0 or -errno.
 */
int nft_write(const struct wanted *wanted, const struct nftlist *old);

#endif
