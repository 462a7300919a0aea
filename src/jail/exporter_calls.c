/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls of the exporter once it serves, besides common_calls.c. Not in this list, on purpose:
 * calls that open a file or make a socket, connect, bind, listen, clone and execve, mprotect (the
 * counters stay read-only).
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "filter_args.h"

static const struct filter_line lines[] = {
    { .call = "time", .why = "the date of a response, where the vDSO has to ask the kernel" },
    { .call = "setsockopt", .why = "the head leaves with the body", OPTION(IPPROTO_TCP, TCP_CORK) },
    { .call = "fcntl", .why = "is a connection non-blocking?", .args = { IS(1, F_GETFL) } },
    { .call = "fcntl64", .why = "the same (32-bit)", .args = { IS(1, F_GETFL) } },
    { .call = "sendmsg", .why = "the head and the body of a response at once" },
    { .call = "futex", .why = "libmicrohttpd's locks; there is one thread" },
};

struct filter_table filter_exporter_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}
