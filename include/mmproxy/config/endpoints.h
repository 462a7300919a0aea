/* SPDX-License-Identifier: BSD-2-Clause */
/* endpoints: the ids of the AWS VPC endpoints that may use a listener. */
#ifndef MMPROXY_CONFIG_ENDPOINTS_H
#define MMPROXY_CONFIG_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

/* Immutable. NULL is no list at all: then no endpoint is asked for. */
struct endpoints;

/* Is that id, of len bytes and any of them, in the list? An empty one never is. */
bool endpoints_contain(const struct endpoints *endpoints, const void *id, size_t len);

#endif
