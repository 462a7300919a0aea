/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/originals.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/routing/managed/runtime_dir.h"

#define PREFIX "sysctl."

enum { FILE_NAME_LEN = sizeof PREFIX + WANTED_SYSCTL_MAX, TEXT_LEN = 12 };

/* The name of an interface may have a dot, which sysctl(8) writes as '/', and no colon. */
static void format_file_name(const char *name, char out[FILE_NAME_LEN])
{
    snprintf(out, FILE_NAME_LEN, PREFIX "%s", name);
    for (char *at = out; (at = strchr(at, '/'));)
        *at = ':';
}

static bool parse_file_name(const char *file_name, char out[WANTED_SYSCTL_MAX])
{
    const char *name = file_name + sizeof PREFIX - 1;

    if (strncmp(file_name, PREFIX, sizeof PREFIX - 1) != 0 || strlen(name) >= WANTED_SYSCTL_MAX)
        return false;
    snprintf(out, WANTED_SYSCTL_MAX, "%s", name);
    for (char *at = out; (at = strchr(at, ':'));)
        *at = '/';
    return true;
}

static struct original *find(const struct originals *originals, const char *name)
{
    for (size_t i = 0; i < originals->n_items; i++) {
        if (strcmp(originals->items[i].name, name) == 0)
            return &originals->items[i];
    }
    return NULL;
}

static int add(struct originals *originals, const char *name, int value)
{
    if (find(originals, name))
        return 0;
    struct original *more =
        reallocarray(originals->items, originals->n_items + 1, sizeof *originals->items);
    if (!more)
        return -ENOMEM;
    originals->items = more;
    struct original *item = &more[originals->n_items++];
    snprintf(item->name, sizeof item->name, "%s", name);
    item->value = value;
    return 0;
}

static void take_out(struct originals *originals, const char *name)
{
    struct original *item = find(originals, name);

    if (item)
        *item = originals->items[--originals->n_items];
}

/* returns: is there a whole value? */
static bool read_value(int fd, int *value)
{
    char text[TEXT_LEN + 1] = { 0 };

    if (pread(fd, text, TEXT_LEN, 0) != TEXT_LEN || text[TEXT_LEN - 1] != '\n')
        return false;
    *value = (int)strtol(text, NULL, 10);
    return true;
}

/*
 * A file without a whole value is of an instance that had not changed the sysctl yet: that comes
 * after the writing. So the sysctl still has its earlier value when an instance finds such a file.
 * is_older: *value is from before what the file says.
 */
static int write_value(int folder, const char *name, int *value, bool is_older)
{
    char file_name[FILE_NAME_LEN];
    char text[TEXT_LEN + 1];
    int err = 0;

    format_file_name(name, file_name);
    int fd = openat(folder, file_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (is_older || !read_value(fd, value)) {
        snprintf(text, sizeof text, "%*d\n", TEXT_LEN - 1, *value);
        ssize_t n = pwrite(fd, text, TEXT_LEN, 0);
        if (n != TEXT_LEN)
            err = n < 0 ? -errno : -ENOSPC;
    }
    close(fd);
    return err;
}

static int save(const char *name, int *value, bool is_older)
{
    int folder = runtime_dir_open(true);

    if (folder < 0)
        return folder;
    int err = write_value(folder, name, value, is_older);
    close(folder);
    return err;
}

int originals_keep(struct originals *unsaved, const char *name, int *value)
{
    const struct original *known = find(unsaved, name);

    if (known)
        *value = known->value;
    int err = save(name, value, known);
    if (err == 0) {
        take_out(unsaved, name);
        return 0;
    }
    return add(unsaved, name, *value) < 0 ? -ENOMEM : err;
}

int originals_save(struct originals *unsaved)
{
    int first = 0;

    /* From the end, as the last item moves to the place of a removed one. */
    for (size_t i = unsaved->n_items; i-- > 0;) {
        struct original item = unsaved->items[i];

        int err = save(item.name, &item.value, true);
        if (err == 0)
            take_out(unsaved, item.name);
        else if (first == 0)
            first = err;
    }
    return first;
}

void originals_drop(struct originals *unsaved, const char *name)
{
    char file_name[FILE_NAME_LEN];
    int folder = runtime_dir_open(false);

    take_out(unsaved, name);
    if (folder < 0)
        return;
    format_file_name(name, file_name);
    (void)unlinkat(folder, file_name, 0);
    close(folder);
}

static int add_file(struct originals *out, int folder, const char *file_name)
{
    char name[WANTED_SYSCTL_MAX];
    int value;

    if (!parse_file_name(file_name, name))
        return 0;
    int fd = openat(folder, file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!read_value(fd, &value))
        value = 1; /* nothing was changed, and nothing is to be put back */
    close(fd);
    return add(out, name, value);
}

int originals_list(const struct originals *unsaved, struct originals *out)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < unsaved->n_items; i++)
        err = add(out, unsaved->items[i].name, unsaved->items[i].value);
    if (err < 0)
        return err;
    int folder = runtime_dir_open(false);
    if (folder < 0)
        return folder == -ENOENT ? 0 : folder;
    DIR *dir = fdopendir(folder);
    if (!dir) {
        err = -errno;
        close(folder);
        return err;
    }
    const struct dirent *entry;
    while (err == 0 && (entry = readdir(dir)))
        err = add_file(out, dirfd(dir), entry->d_name);
    closedir(dir);
    return err;
}

void originals_close(struct originals *originals)
{
    free(originals->items);
    *originals = (struct originals){ 0 };
}
