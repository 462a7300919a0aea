/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/remembered.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SYSCTLS "sysctls"
#define ASIDE   "sysctls.new"

static bool has(const struct remembered *remembered, const char *name)
{
    for (size_t i = 0; i < remembered->n; i++) {
        if (strcmp(remembered->items[i].name, name) == 0)
            return true;
    }
    return false;
}

/* What is in memory alone was there before whatever the file says by now. */
void remembered_read(struct remembered *remembered, int folder)
{
    int fd = folder < 0 ? -1 : openat(folder, SYSCTLS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    struct runtime_sysctl item;

    remembered->n = remembered->n_unsaved;
    while (file && remembered->n < REMEMBERED_MAX &&
           fscanf(file, "%63s %d", item.name, &item.value) == 2) {
        if (!has(remembered, item.name))
            remembered->items[remembered->n++] = item;
    }
    if (file)
        fclose(file);
    else if (fd >= 0)
        close(fd);
}

/* Written aside and renamed: after a crash there is the old file or the new one. */
static int write_all(const struct remembered *remembered, int folder)
{
    int fd = openat(folder, ASIDE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = file != NULL;
    int r = 0;

    for (size_t i = 0; ok && i < remembered->n; i++)
        ok = fprintf(file, "%s %d\n", remembered->items[i].name, remembered->items[i].value) > 0;
    if (file)
        ok = fclose(file) == 0 && ok;
    else if (fd >= 0)
        close(fd);
    if (!ok || renameat(folder, ASIDE, folder, SYSCTLS) < 0) {
        r = errno > 0 ? -errno : -EIO;
        unlinkat(folder, ASIDE, 0);
    }
    return r;
}

static int save(struct remembered *remembered, struct remembered_place place)
{
    int r;

    if (place.folder < 0)
        return 0;
    if (!place.is_locked)
        return -EBUSY;
    r = write_all(remembered, place.folder);
    if (r == 0)
        remembered->n_unsaved = 0;
    return r;
}

int remembered_add(struct remembered *remembered, struct remembered_place place, const char *name,
                   int value)
{
    struct runtime_sysctl *item;

    remembered_read(remembered, place.folder);
    if (has(remembered, name))
        return 0;
    if (remembered->n == REMEMBERED_MAX)
        return -ENOBUFS;
    item = &remembered->items[remembered->n_unsaved];
    remembered->items[remembered->n++] = *item;
    remembered->n_unsaved++;
    snprintf(item->name, sizeof(item->name), "%s", name);
    item->value = value;
    return save(remembered, place);
}

int remembered_drop(struct remembered *remembered, struct remembered_place place, const char *name)
{
    size_t kept = 0;
    size_t kept_unsaved = 0;

    remembered_read(remembered, place.folder);
    for (size_t i = 0; i < remembered->n; i++) {
        if (strcmp(remembered->items[i].name, name) == 0)
            continue;
        remembered->items[kept++] = remembered->items[i];
        kept_unsaved += i < remembered->n_unsaved;
    }
    remembered->n = kept;
    remembered->n_unsaved = kept_unsaved;
    return save(remembered, place);
}

int remembered_save(struct remembered *remembered, struct remembered_place place)
{
    if (remembered->n_unsaved == 0)
        return 0;
    remembered_read(remembered, place.folder);
    return save(remembered, place);
}

void remembered_unlink(int folder)
{
    unlinkat(folder, SYSCTLS, 0);
}
