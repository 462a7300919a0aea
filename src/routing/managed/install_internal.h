/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by adding and removing; for the files of install alone. */
#ifndef MMPROXY_ROUTING_MANAGED_INSTALL_INTERNAL_H
#define MMPROXY_ROUTING_MANAGED_INSTALL_INTERNAL_H

#include "mmproxy/routing/managed/install.h"

#define INSTALL_REMOVED "[-] Return path:"

/* One line about what was done, or was not; the limit of lines and hush_failures hold. */
void install_tell(struct install *install, const char *what, const char *command);
void install_tell_failed(struct install *install, const char *command, int error);

bool install_keeps(const struct install_keep *keep, const struct wanted_item *item);

#endif
