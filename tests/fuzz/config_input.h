/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the targets for configurations share: files in memory with fixed names, and a sink
 * that states what holds for every line that is reported.
 */
#ifndef MMPROXY_TESTS_FUZZ_CONFIG_INPUT_H
#define MMPROXY_TESTS_FUZZ_CONFIG_INPUT_H

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "mmproxy/config/config.h"

/* "101" in a configuration file, or in its @include, is the second one of these. */
#define INPUT_CONFIG  "/proc/self/fd/107"
#define INPUT_SUBNETS "/proc/self/fd/101"

enum { INPUT_CONFIG_FD = 107, INPUT_SUBNETS_FD = 101 };

struct reports {
    unsigned n_errors;
    unsigned n_warnings;
    bool is_usage;        /* every error so far starts with "mmproxy: " */
    unsigned long line;   /* of the configuration file, in the last report about it */
    bool is_out_of_order; /* a report was about a line before that of the report before */
    uint32_t digest;      /* of all lines in their order */
};

/* Lines of the two files, counting what stands behind the last newline. */
static unsigned long input_lines[2];

static inline void input_write(int fd, const void *bytes, size_t len)
{
    static bool is_open[2];

    if (!is_open[fd == INPUT_SUBNETS_FD]) {
        int memory = memfd_create("input", 0);

        PROPERTY(memory >= 0 && dup2(memory, fd) == fd && close(memory) == 0);
        is_open[fd == INPUT_SUBNETS_FD] = true;
    }
    PROPERTY(ftruncate(fd, 0) == 0);
    PROPERTY(pwrite(fd, bytes, len, 0) == (ssize_t)len);
    input_lines[fd == INPUT_SUBNETS_FD] = 1;
    for (size_t i = 0; i < len; i++)
        input_lines[fd == INPUT_SUBNETS_FD] += ((const char *)bytes)[i] == '\n';
}

/* The LINE of "FILE:LINE: what is wrong"; 0 where the line is none of the kind. */
static inline unsigned long input_line_of(const char *line)
{
    for (const char *at = strchr(line, ':'); at != NULL; at = strchr(at + 1, ':')) {
        char *end;
        unsigned long number = at[1] >= '1' && at[1] <= '9' ? strtoul(at + 1, &end, 10) : 0;

        if (number != 0 && strncmp(end, ": ", 2) == 0 && end[2] != '\0')
            return number;
    }
    return 0;
}

/* What is wrong with a file stands at a line that this file has. */
static inline void input_check_place(struct reports *reports, const char *line)
{
    unsigned long number = input_line_of(line);

    PROPERTY(line[0] == '/' && number != 0);
    if (strncmp(line, INPUT_SUBNETS ":", strlen(INPUT_SUBNETS ":")) == 0)
        PROPERTY(number <= input_lines[1]);
    if (strncmp(line, INPUT_CONFIG ":", strlen(INPUT_CONFIG ":")) != 0)
        return;
    PROPERTY(number <= input_lines[0]);
    reports->is_out_of_order = reports->is_out_of_order || number < reports->line;
    reports->line = number;
}

/* Mistakes beyond a number that anybody would read are only counted, without a line. */
static inline bool input_is_count(const char *line)
{
    const char *count = strstr(line, "and ");
    size_t len = count != NULL ? strlen(count) : 0;

    return len > 0 && count[4] >= '1' && count[4] <= '9' &&
           (strcmp(count + len - 9, " mistakes") == 0 ||
            strcmp(count + len - 10, " bad lines") == 0 ||
            strcmp(count + len - 14, " host bits set") == 0);
}

static inline void input_report(void *context, bool is_error, const char *line)
{
    struct reports *reports = context;

    PROPERTY(line[0] != '\0');
    for (const char *c = line; *c != '\0'; c++)
        PROPERTY((unsigned char)*c >= 0x20 && *c != 0x7f);
    for (const char *c = line; *c != '\0'; c++)
        reports->digest = (reports->digest ^ (unsigned char)*c) * 16777619U;
    if (strncmp(line, "mmproxy: ", 9) != 0 && !input_is_count(line))
        input_check_place(reports, line);
    if (is_error) {
        bool is_usage = strncmp(line, "mmproxy: ", 9) == 0;
        reports->is_usage = is_usage && (reports->n_errors == 0 || reports->is_usage);
        reports->n_errors++;
    } else {
        reports->n_warnings++;
    }
}

static inline bool input_share_ports(const struct addr_range *range, struct port_range ports)
{
    return addr_port(&range->addr) <= ports.last && ports.first <= range->last;
}

/* The target is not listened on. */
static inline void input_check_no_loop(const struct addr_range *range,
                                       const struct listener_config *listener, sa_family_t family)
{
    const struct addr *target = listener_config_target(listener, family);
    struct port_range ports;

    for (size_t i = 0; listener_config_ports(listener, family, i, &ports); i++) {
        PROPERTY(ports.first != 0 && ports.first <= ports.last);
        PROPERTY(!input_share_ports(range, ports) || !addr_equal_host(&range->addr, target) ||
                 range->addr.in6.sin6_scope_id != target->in6.sin6_scope_id);
    }
}

/* What config.h promises of a listener. */
static inline void input_check_listener(const struct listener_config *listener)
{
    PROPERTY(listener->n_listen >= 1 && listener->allowed != NULL);
    PROPERTY(addr_is_set(&listener->target_v4.addr) || addr_is_set(&listener->target_v6.addr));
    PROPERTY(!addr_is_set(&listener->target_v4.addr) ||
             addr_family(&listener->target_v4.addr) == AF_INET);
    PROPERTY(!addr_is_set(&listener->target_v6.addr) ||
             addr_family(&listener->target_v6.addr) == AF_INET6);
    PROPERTY(listener->mark != 0 && listener->table != 0);
    PROPERTY(listener->table < 253 || listener->table > 255);
    PROPERTY(listener->header_timeout_ms != 0 && listener->connect_timeout_ms != 0);
    PROPERTY(listener->max_pending != 0 && listener->backlog != 0);
    for (size_t i = 0; i < listener->n_listen; i++) {
        const struct addr_range *range = &listener->listen[i];
        PROPERTY(addr_port(&range->addr) != 0 && range->last >= addr_port(&range->addr));
        input_check_no_loop(range, listener, AF_INET);
        input_check_no_loop(range, listener, AF_INET6);
    }
}

#endif
