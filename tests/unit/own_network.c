/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Part of every unit test's program: root's has a network of its own before main(), so that what
 * runs beside it can't take a port from it. Others stay where they are: in a user namespace, what
 * a test finds out about files and privileges would be different.
 */
#include "netns_support.h"

bool support_has_own_network;

static void __attribute__((constructor)) enter(void)
{
    if (geteuid() == 0) /* says why not; under fakeroot it can't be had */
        support_has_own_network = support_enter_netns(NULL) == 0;
}
