/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/namespaces.h"

#include "mmproxy/net/locals.h"
#include "mmproxy/routing/wanted/auto_path.h"

void namespaces_find(struct config *config)
{
    struct locals *locals = NULL;

    (void)locals_new(&locals);
    for (size_t i = 0; i < config->n_listeners; i++)
        auto_path_find(&config->listeners[i], locals);
    locals_free(locals);
}
