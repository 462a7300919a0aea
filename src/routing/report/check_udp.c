/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/report/check_udp.h"

#include <linux/rtnetlink.h>

#include "mmproxy/routing/kernel/survey.h"

struct check_udp check_udp_look(const struct listener_config *listener, const struct addr *target,
                                const struct listening *sockets, size_t n_sockets,
                                struct rtnl *rtnl)
{
    const struct addr client = survey_client_of(listener, addr_family(target));
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    const uint32_t mark = path == RETURN_PATH_FLOWS ? listener->mark : 0;
    struct check_udp check = { .has_socket = false };
    struct rtnl_route route;

    for (size_t i = 0; i < n_sockets && !check.has_socket; i++)
        check.has_socket = listening_takes(&sockets[i], target);
    /* A reply over UDP bears no mark, but for flows: nothing hands it down from the query. */
    check.comes_back =
        rtnl_lookup(rtnl, &client, target, mark, &route) == 0 && route.type == RTN_LOCAL;
    return check;
}

static void report_no_socket(const struct addr *target, const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Target server %s has no UDP socket. Start the service. To see "
                     "what receives there: ss -lnup 'sport = :%u'",
                     addr_format(target, text), addr_port(target));
}

void check_udp_lost(struct causes *causes, const struct listener_config *listener,
                    const struct addr *target, const struct report_sink *sink)
{
    enum return_path path = listener_config_return_path(listener, addr_family(target));
    const char *cure = "";
    char text[ADDR_STRLEN];

    if (path != RETURN_PATH_FLOWS && path != RETURN_PATH_ROUTED) {
        if (!addr_is_loopback(target))
            cure = " Use return_path flows.";
        else if (path != RETURN_PATH_LOOPBACK)
            cure = " Use return_path loopback: replies over UDP bear no mark.";
    }
    report_sink_line(sink, LOG_LEVEL_WARNING,
                     "[!] FAILED: Replies of %s do not come back to this machine.%s",
                     addr_format(target, text), cure);
    if (cure[0] == '\0')
        (void)causes_datagrams(causes, listener, target, sink);
}

void check_udp_report(const struct check_udp *check, const struct listener_config *listener,
                      const struct addr *target, struct causes *causes,
                      const struct report_sink *sink)
{
    char text[ADDR_STRLEN];

    addr_format(target, text);
    if (!check->has_socket)
        report_no_socket(target, sink);
    else
        report_sink_line(sink, LOG_LEVEL_INFO, "[+] OK. Target server %s has a UDP socket.", text);
    if (check->comes_back)
        report_sink_line(sink, LOG_LEVEL_INFO, "[+] OK. Replies of %s come back to this machine.",
                         text);
    else
        check_udp_lost(causes, listener, target, sink);
}
