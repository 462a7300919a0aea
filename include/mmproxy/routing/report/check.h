/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check: tries every target: is it on this machine, does it answer, does it answer to a
 * client's address? Of what fails, `causes` says why.
 *
 * spec: mmproxy(8), "RETURN PATH"
 */
#ifndef MMPROXY_ROUTING_REPORT_CHECK_H
#define MMPROXY_ROUTING_REPORT_CHECK_H

#include <stdbool.h>

#include "mmproxy/config/config.h"
#include "mmproxy/routing/report/report_sink.h"

enum { CHECK_TIMEOUT_MS = 300 }; /* that a target has to answer */

/*
 * Checks all targets side by side and reports them in the order of the listeners; two that
 * share target and return path count once. Blocks for CHECK_TIMEOUT_MS or a little more
 * (causes may run iptables): for the preflight process and the foreground. Needs
 * CAP_NET_RAW; what is missing is said. More targets than there are descriptors take turns.
 * returns: is everything fine? Lack of IPv6 on this host is a warning only.
 */
bool check_run(const struct config *config, const struct report_sink *sink);

#endif
