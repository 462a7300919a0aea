/* SPDX-License-Identifier: BSD-2-Clause */
/* descriptors: may this process open as many sockets as a configuration listens on? */
#ifndef MMPROXY_SUPERVISOR_DESCRIPTORS_H
#define MMPROXY_SUPERVISOR_DESCRIPTORS_H

#include "mmproxy/config/config.h"

enum { DESCRIPTORS_LINE_MAX = 640 };

/* returns: false with one line, "FILE:LINE: ...", about the listener with the most ports. */
bool descriptors_suffice(const struct config *config, char line[DESCRIPTORS_LINE_MAX]);

#endif
