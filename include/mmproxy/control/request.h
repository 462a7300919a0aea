/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request: the control protocol's one line from the client, as a value. No I/O.
 *
 * spec: docs/control-protocol.md
 */
#ifndef MMPROXY_CONTROL_REQUEST_H
#define MMPROXY_CONTROL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/subnets.h"
#include "mmproxy/config/config.h"

enum {
    REQUEST_MAX = 4096, /* bytes of a line, with its newline */
    REQUEST_IDS_MAX = 128,
};

enum request_command {
    REQUEST_STATUS,
    REQUEST_SESSIONS,
    REQUEST_CLOSE,
    REQUEST_RELOAD,
    REQUEST_CHECK,
    REQUEST_DRAIN,
    REQUEST_RESUME,
    REQUEST_METRICS,
    REQUEST_MAP, /* client is the address, and nothing else is set */
    REQUEST_COMMANDS
};

/* A session: the process that serves it, and its number there. */
struct request_id {
    uint32_t pid;
    uint64_t number;
};

struct request {
    enum request_command command;
    char listener[LISTENER_NAME_MAX + 1]; /* "" = not given */
    struct prefix client;                 /* no address: not given */
    struct prefix peer;
    struct request_id ids[REQUEST_IDS_MAX];
    size_t n_ids;
};

/* line: without its newline; may contain any bytes. returns: NULL, or what is wrong; static. */
const char *request_parse(struct request *out, const char *line, size_t len);

/* Does the command change anything? */
bool request_changes(enum request_command command);

#endif
