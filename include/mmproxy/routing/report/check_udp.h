/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_udp: a UDP target can't be tried by connecting, and what a service would make of a stray
 * datagram is unknown. So nothing is sent: is there a socket, and would its replies come back?
 *
 * spec: mmproxy(8), "RETURN PATH"
 */
#ifndef MMPROXY_ROUTING_REPORT_CHECK_UDP_H
#define MMPROXY_ROUTING_REPORT_CHECK_UDP_H

#include <stdbool.h>

#include "mmproxy/config/config.h"
#include "mmproxy/net/listening.h"
#include "mmproxy/net/rtnl.h"
#include "mmproxy/routing/report/causes.h"
#include "mmproxy/routing/report/report_sink.h"

/* Of a target on this machine. */
struct check_udp {
    bool has_socket;
    bool comes_back;
};

struct check_udp check_udp_look(const struct listener_config *listener, const struct addr *target,
                                const struct listening *sockets, size_t n_sockets,
                                struct rtnl *rtnl);

void check_udp_report(const struct check_udp *check, const struct listener_config *listener,
                      const struct addr *target, struct causes *causes,
                      const struct report_sink *sink);

/* Replies do not come back: why? Of a target elsewhere, too. */
void check_udp_lost(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, const struct report_sink *sink);

#endif
