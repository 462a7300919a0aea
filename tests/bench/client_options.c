/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "net.h"

static _Noreturn void usage(void)
{
    net_fail("usage: bench_client --to ADDRESS:PORT --work WORK [OPTION...]\n"
             "WORK: once, echo, up, down, both, hold, udp-echo, udp-flood, udp-hold\n"
             "  --header v1|v2|none (v2)   what precedes every connection\n"
             "  --claim                    claim a client's address even without a header\n"
             "  --expect-port              the client's port must be preserved too\n"
             "  --connections N (1)        at a time\n"
             "  --beside N (0)             further ones that stay and are silent\n"
             "  --seconds S (1)            that are timed\n"
             "  --warm-up S (0)            before that\n"
             "  --bytes N (65536)          each way and connection, for hold\n"
             "  --size N (64)              bytes of a datagram's payload, 64 to 1400\n"
             "Says \"ready\", waits for a line, works, prints its figures as JSON, and keeps its\n"
             "connections until the end of file.");
}

static enum wire_header parse_header(const char *text)
{
    if (strcmp(text, "v1") == 0)
        return WIRE_HEADER_V1;
    if (strcmp(text, "v2") == 0)
        return WIRE_HEADER_V2;
    if (strcmp(text, "none") != 0)
        usage();
    return WIRE_HEADER_NONE;
}

static void set_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case 't':
        options->to = net_parse(value);
        break;
    case 'w':
        options->work = value;
        break;
    case 'h':
        options->header = parse_header(value);
        break;
    case 'c':
        options->claim = true;
        break;
    case 'p':
        options->expect_port = true;
        break;
    case 'n':
        options->connections = (unsigned)strtoul(value, NULL, 10);
        break;
    case 'i':
        options->beside = (unsigned)strtoul(value, NULL, 10);
        break;
    case 's':
        options->seconds = strtod(value, NULL);
        break;
    case 'u':
        options->warm_up = strtod(value, NULL);
        break;
    case 'b':
        options->bytes = strtoull(value, NULL, 10);
        break;
    case 'z':
        options->size = strtoul(value, NULL, 10);
        break;
    default:
        usage();
    }
}

void client_options(struct options *options, int argc, char *argv[])
{
    static const struct option known[] = {
        { "to", required_argument, NULL, 't' },
        { "work", required_argument, NULL, 'w' },
        { "header", required_argument, NULL, 'h' },
        { "claim", no_argument, NULL, 'c' },
        { "expect-port", no_argument, NULL, 'p' },
        { "connections", required_argument, NULL, 'n' },
        { "beside", required_argument, NULL, 'i' },
        { "seconds", required_argument, NULL, 's' },
        { "warm-up", required_argument, NULL, 'u' },
        { "bytes", required_argument, NULL, 'b' },
        { "size", required_argument, NULL, 'z' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    *options = (struct options){ .header = WIRE_HEADER_V2,
                                 .connections = 1,
                                 .seconds = 1,
                                 .bytes = 65536,
                                 .size = sizeof(struct wire_hello) };
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        set_option(options, option, optarg);
    if (optind != argc || !options->work || options->to.sin_family == 0 ||
        options->connections == 0 || options->size < sizeof(struct wire_hello) ||
        options->size > WIRE_DATAGRAM_MAX)
        usage();
}
