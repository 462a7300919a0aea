/* SPDX-License-Identifier: BSD-2-Clause */
/* Listeners that mmproxyctl drain has closed: names that outlive reloads. */
#include <errno.h>
#include <stdio.h>
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

int control_drained_names(const struct supervisor *supervisor, char **out)
{
    const struct drained *each;
    size_t size = 1;
    size_t len = 0;

    LIST_FOREACH (each, &supervisor->control.drained, link)
        size += strlen(each->name) + 1;
    *out = calloc(size, 1);
    if (!*out)
        return -ENOMEM;
    LIST_FOREACH (each, &supervisor->control.drained, link)
        len += (size_t)snprintf(*out + len, size - len, "%s%s", len > 0 ? " " : "", each->name);
    return 0;
}

void control_drain_names(struct supervisor *supervisor, const char *names)
{
    while (names && *names) {
        char name[LISTENER_NAME_MAX + 1];
        size_t len = strcspn(names, " ");
        (void)snprintf(name, sizeof name, "%.*s", (int)len, names);
        if (name[0])
            (void)control_mark_drained(supervisor, name, true);
        names += len + strspn(names + len, " ");
    }
}

void control_forget_drained(struct supervisor *supervisor)
{
    struct drained *first;

    while ((first = LIST_FIRST(&supervisor->control.drained))) {
        LIST_REMOVE(first, link);
        free(first);
    }
}
