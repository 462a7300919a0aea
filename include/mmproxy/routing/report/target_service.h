/* SPDX-License-Identifier: BSD-2-Clause */
/* target_service: is the service of a target on this host there, and does it take connections? */
#ifndef MMPROXY_ROUTING_REPORT_TARGET_SERVICE_H
#define MMPROXY_ROUTING_REPORT_TARGET_SERVICE_H

#include "mmproxy/net/listening.h"
#include "mmproxy/routing/report/firewall.h"
#include "mmproxy/routing/report/report_sink.h"

/* The sockets that listen on this host, read when they are first asked for. All zero is not read.
 */
struct target_service {
    const struct config *config; /* mmproxy's own sockets are no service */
    bool is_read;
    struct listening *listening; /* owned */
    size_t n_listening;
};

void target_service_close(struct target_service *service);

/* A connection was refused: it tells why. */
void target_service_refused(struct target_service *service, struct firewall *firewall,
                            const struct firewall_way *way, const struct report_sink *sink);

/* Nothing came back: does the service accept no connections? It tells so. */
bool target_service_hangs(struct target_service *service, const struct addr *target,
                          const struct report_sink *sink);

#endif
