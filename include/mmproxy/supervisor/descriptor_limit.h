/* SPDX-License-Identifier: BSD-2-Clause */
/* descriptor_limit: may this process open as many sockets as a configuration listens on? */
#ifndef MMPROXY_SUPERVISOR_DESCRIPTOR_LIMIT_H
#define MMPROXY_SUPERVISOR_DESCRIPTOR_LIMIT_H

#include "mmproxy/config/config.h"

enum { DESCRIPTOR_LIMIT_LINE_MAX = 640 };

/* returns: false with one line, "FILE:LINE: ...", about the listener with the most ports. */
bool descriptor_limit_suffices(const struct config *config, char line[DESCRIPTOR_LIMIT_LINE_MAX]);

#endif
