/* SPDX-License-Identifier: BSD-2-Clause */
/* namespaces: the network that targets are in, looked at when a configuration is loaded. */
#ifndef MMPROXY_SUPERVISOR_NAMESPACES_H
#define MMPROXY_SUPERVISOR_NAMESPACES_H

#include "mmproxy/config/config.h"

/* Finds what depends on the network's addresses: which return path auto is for each target. */
void namespaces_find(struct config *config);

#endif
