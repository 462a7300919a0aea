/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verify: the report of the return path, one command a line, in the original's words.
 *
 * spec: mmproxy(8), "RETURN PATH"
 */
#ifndef MMPROXY_ROUTING_REPORT_VERIFY_H
#define MMPROXY_ROUTING_REPORT_VERIFY_H

#include <stdbool.h>

#include "mmproxy/config/config.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/report/report_sink.h"

/*
 * Looks at everything that the configuration's return path needs and reports it; without
 * listeners it says nothing. It may wait (iptables is run): for the preflight process and
 * the foreground, not for the supervisor. Needs CAP_NET_ADMIN for connmark only.
 * returns: does all of it hold? What could not be looked at doesn't; it was reported.
 */
bool verify_run(const struct config *config, const struct report_sink *sink);

/* Pure: the part of it that says what was found about each item. returns: does all of it hold? */
bool verify_report(const struct config *config, const struct wanted *wanted,
                   const struct survey *survey, const struct report_sink *sink);

#endif
