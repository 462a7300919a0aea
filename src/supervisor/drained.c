/* SPDX-License-Identifier: BSD-2-Clause */
/* Listeners that mmproxyctl drain has closed: names that outlive reloads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/supervisor/control.h"

static struct drained *find(const struct supervisor *supervisor, const char *name)
{
    struct drained *each;

    LIST_FOREACH (each, &supervisor->control.drained, link)
        if (strcmp(each->name, name) == 0)
            return each;
    return NULL;
}

bool control_is_drained(const struct supervisor *supervisor, const char *listener)
{
    return find(supervisor, listener);
}

int control_mark_drained(struct supervisor *supervisor, const char *listener, bool is_drained)
{
    struct drained *found = find(supervisor, listener);

    if (found && !is_drained) {
        LIST_REMOVE(found, link);
        free(found);
    }
    if (found || !is_drained)
        return 0;
    found = calloc(1, sizeof *found);
    if (!found)
        return -ENOMEM;
    strncpy(found->name, listener, sizeof found->name - 1);
    LIST_INSERT_HEAD(&supervisor->control.drained, found, link);
    return 0;
}

/* A listener without addresses has no sockets; everything else of it stays. */
void control_apply_drained(const struct supervisor *supervisor, struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (control_is_drained(supervisor, config->listeners[i].name))
            config->listeners[i].n_listen = 0;
}
