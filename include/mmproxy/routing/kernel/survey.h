/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * survey: looks at this host and tells which of the wanted items hold, and why others don't.
 * Looking and judging are apart: what was seen is data, and the judgement of it is pure.
 */
#ifndef MMPROXY_ROUTING_KERNEL_SURVEY_H
#define MMPROXY_ROUTING_KERNEL_SURVEY_H

#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/wanted/judge.h"
#include "mmproxy/routing/wanted/nftlist.h"
#include "mmproxy/routing/wanted/wanted.h"

/* The findings. All zero is nothing. */
struct survey_sight {
    struct rtnl_rules rules[2]; /* [0] is IPv4, [1] IPv6 */
    struct rtnl_routes routes[2];
    bool lacks_route[2]; /* some public addresses have no route at all, whatever the mark */
    struct nftlist nft;
    bool lacks_nft; /* the program; to read the rules none is needed */
    int nft_error;  /* why it could not be read, -errno; 0 = it could */
    /*
     * Owned, one for each wanted item. Sysctls: the value, or -errno. Save and restore items: what
     * xtables_has said; 0 if nftables has it.
     */
    int *answers;
    uint32_t *uids; /* owned, one for each reply: of the socket that listens there, else root's */
    bool all_localnet; /* net.ipv4.conf.all.route_localnet is on */
};

struct survey {
    struct judgement *items; /* owned; one for each wanted item */
    /*
     * connmark and flows mark a reply only after it got a route: these families have items of
     * theirs and no route to some clients. [0] is IPv4, [1] IPv6.
     */
    bool no_route[2];
    bool no_nft;      /* an item's command needs nft, and it is not installed */
    bool no_iptables; /* there was reason to ask iptables, and it is not installed */
};

/* Finds the facts that wanted_add needs. returns: 0 or -errno. */
int survey_host(struct rtnl *rtnl, struct wanted_host *out);

/*
 * Sees everything that the wanted items depend on; changes nothing. with_marks: save and restore
 * items too, by nftables and by running iptables, which takes its time: not for the supervisor.
 * returns: 0, or -errno; survey_forget is due in either case.
 */
int survey_look(struct survey_sight *sight, const struct wanted *wanted, struct rtnl *rtnl,
                bool with_marks);
void survey_forget(struct survey_sight *sight);

/*
 * Pure: judges every wanted item by what survey_look saw for the same wanted; without marks save
 * and restore items are JUDGE_UNKNOWN. returns: 0 or -ENOMEM; survey_close is due in either case.
 */
int survey_judge(struct survey *survey, const struct wanted *wanted,
                 const struct survey_sight *sight, bool with_marks);

/* Looks and judges, with marks. returns: 0, or -errno; survey_close is due in either case. */
int survey_run(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl);
void survey_close(struct survey *survey);

/* The same without marks: never waits. */
int survey_routing(struct survey *survey, const struct wanted *wanted, struct rtnl *rtnl);

/* An address that no client has: 192.0.2.1 or 2001:db8::1, port 0. */
struct addr survey_client(sa_family_t family);

/*
 * The same for the listener's target of that family: where clients of the other family are mapped
 * to it, an address of their pool, since firewalls may drop these alone.
 */
struct addr survey_client_of(const struct listener_config *listener, sa_family_t family);
/*
 * Another one, for hosts that let nothing in from addresses for documentation. Mapped clients have
 * their pool alone, so theirs is the same again.
 */
struct addr survey_other_client_of(const struct listener_config *listener, sa_family_t family);

/* Public addresses spread over the space; to be looked up. returns: false where there is no such i.
 */
bool survey_sample(sa_family_t family, size_t i, struct addr *out);

#endif
