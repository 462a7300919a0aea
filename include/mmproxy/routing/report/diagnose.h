/* SPDX-License-Identifier: BSD-2-Clause */
/* diagnose: why a target does not answer, and the command that mends it. */
#ifndef MMPROXY_ROUTING_REPORT_DIAGNOSE_H
#define MMPROXY_ROUTING_REPORT_DIAGNOSE_H

#include "mmproxy/config/config.h"
#include "mmproxy/routing/kernel/rtnl.h"
#include "mmproxy/routing/report/report.h"

struct diagnosis;

/*
 * config and rtnl stay the caller's and must outlive it. The host is looked at when the
 * first failure is told, once. returns: NULL when memory is short.
 */
struct diagnosis *diagnosis_new(const struct config *config, struct rtnl *rtnl);
void diagnosis_free(struct diagnosis *diagnosis);

/* A conventional connection failed. error: -errno, -ETIMEDOUT for no answer in time. */
void diagnose_plain(const struct addr *target, int error, const struct report_sink *sink);

/* A spoofed one did. plain: what the conventional one gave, 0 or -errno. */
void diagnose_spoofed(struct diagnosis *diagnosis, const struct listener_config *listener,
                      const struct addr *target, int error, int plain,
                      const struct report_sink *sink);

#endif
