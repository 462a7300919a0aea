/* SPDX-License-Identifier: BSD-2-Clause */
/* causes: why a target does not answer, and the command that mends it. */
#ifndef MMPROXY_ROUTING_REPORT_CAUSES_H
#define MMPROXY_ROUTING_REPORT_CAUSES_H

#include "mmproxy/config/config.h"
#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/report/others.h"
#include "mmproxy/routing/report/report_sink.h"

struct causes;

/*
 * config and rtnl stay the caller's and must outlive it. The host is looked at when the
 * first failure is reported, once. returns: NULL when memory is short.
 */
struct causes *causes_new(const struct config *config, struct rtnl *rtnl);
void causes_free(struct causes *causes);

/* The target is on loopback and not local: what does this host lack? returns: was it told? */
bool causes_loopback(struct causes *causes, const struct addr *target,
                     const struct report_sink *sink);

/* A conventional connection failed. error: -errno, -ETIMEDOUT for no answer in time. */
void causes_plain(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, int error, const struct report_sink *sink);

/* A spoofed one did, from this address, and a conventional one did not fail in the same way. */
void causes_spoofed(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, const struct addr *client, int error,
                    const struct report_sink *sink);

/* One from the address of a real client failed, and others do not. */
void causes_client(struct causes *causes, const struct listener_config *listener,
                   const struct addr *target, const struct addr *client, int error,
                   const struct report_sink *sink);

/* Clients that rules may treat differently from the check's own, and what is in their way. */
void causes_others(struct causes *causes, const struct listener_config *listener,
                   const struct addr *target, struct others *out);
void causes_other(struct causes *causes, const struct listener_config *listener,
                  const struct addr *target, const struct other *other,
                  const struct report_sink *sink);

/*
 * Does a rule replace clients' addresses on their way to the target? Then connections succeed, and
 * the service sees another client. It tells the rule.
 */
bool causes_translation(struct causes *causes, const struct listener_config *listener,
                        const struct addr *target, const struct report_sink *sink);

/*
 * Is a piece of the return path missing, or does a rule drop or mark datagrams or their replies?
 * It tells all of it.
 */
bool causes_datagrams(struct causes *causes, const struct listener_config *listener,
                      const struct addr *target, const struct report_sink *sink);

#endif
