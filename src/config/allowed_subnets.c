/* SPDX-License-Identifier: BSD-2-Clause */
#include "allowed_subnets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "textfile.h"

enum {
    FILE_MAX = 64 * 1024 * 1024,
    ENTRY_MAX = 255, /* characters; no address is half as long */
    TOLD_MAX = 20,   /* of each kind of mistake in one file or array */
};

/* Mistakes of one kind: the first ones have a line each, the rest have one together. */
struct told {
    size_t n;
    unsigned rest_source_line; /* of the first that is not told */
    unsigned rest_line;
};

struct loader {
    const char *path;     /* NULL: an array */
    unsigned source_line; /* of the array's element, or of what names the file */
    unsigned line;        /* of the file */
    bool is_lenient;
    bool is_direct;
    struct mistakes *mistakes;
    struct subnets *set;
    struct subnets_entries *entries;
    struct told bad;
    struct told masked;
    bool has_failed;
};

static void put_off(const struct loader *loader, struct told *told)
{
    if (told->n != TOLD_MAX + 1)
        return;
    told->rest_source_line = loader->source_line;
    told->rest_line = loader->line;
}

static void report(struct loader *loader, bool is_error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* With the place that is read at the moment. */
static void report(struct loader *loader, bool is_error, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (loader->path)
        mistakes_add(loader->mistakes, is_error, loader->source_line, "%s:%u: %s", loader->path,
                     loader->line, text);
    else if (is_error)
        mistakes_error(loader->mistakes, loader->source_line, "%s", text);
    else
        mistakes_warn(loader->mistakes, loader->source_line, "%s", text);
}

static void report_bad(struct loader *loader, const char *entry, const char *reason)
{
    const char *skipped = loader->is_lenient ? " (line skipped)" : "";

    if (!loader->is_lenient)
        loader->has_failed = true;
    if (++loader->bad.n > TOLD_MAX)
        put_off(loader, &loader->bad);
    else
        report(loader, !loader->is_lenient, "\"%.60s\": %s%s", entry, reason, skipped);
}

static void report_masked(struct loader *loader, const char *entry, const struct prefix *prefix)
{
    char text[ADDR_STRLEN];

    if (++loader->masked.n > TOLD_MAX)
        put_off(loader, &loader->masked);
    else
        report(loader, false, "\"%s\" has host bits set: taken as %s/%u", entry,
               addr_format_host(&prefix->addr, text), prefix->len);
}

static bool keep_entry(struct loader *loader, const struct prefix *prefix)
{
    struct subnets_entries *entries = loader->entries;
    size_t room = entries->room == 0 ? 16 : entries->room * 2;

    if (entries->n == entries->room) {
        struct subnets_entry *grown = reallocarray(entries->items, room, sizeof *grown);
        if (!grown)
            return false;
        entries->items = grown;
        entries->room = room;
    }
    entries->items[entries->n++] = (struct subnets_entry){ .prefix = *prefix,
                                                           .source_line = loader->source_line,
                                                           .line = loader->line };
    return subnets_add(loader->set, prefix) == 0;
}

static void read_entry(struct loader *loader, const char *entry)
{
    struct prefix prefix;
    const char *reason;
    enum prefix_verdict verdict;

    if (strpbrk(entry, " \t")) {
        report_bad(loader, entry, "more than one ADDR or ADDR/LEN on the line");
        return;
    }
    verdict = prefix_parse(&prefix, entry, &reason);
    if (verdict == PREFIX_BAD) {
        report_bad(loader, entry, reason);
        return;
    }
    if (verdict == PREFIX_HOST_BITS)
        report_masked(loader, entry, &prefix);
    if (prefix.len == 0)
        report(loader, false, "\"%s\" lets every %s address connect %s", entry,
               addr_family(&prefix.addr) == AF_INET ? "IPv4" : "IPv6",
               loader->is_direct ? "without a header" : "and name any client");
    if (!keep_entry(loader, &prefix)) {
        report(loader, true, "out of memory");
        loader->has_failed = true;
    }
}

/* line is ended in place, at its comment or at the last blank before it. */
static void read_line(struct loader *loader, char *line, size_t len)
{
    line[len] = '\0';
    if (memchr(line, '\0', len)) {
        report_bad(loader, line, "there is a NUL byte in the line");
        return;
    }
    line += strspn(line, " \t\r");
    len = strcspn(line, "#;");
    while (len > 0 && strchr(" \t\r", line[len - 1]))
        len--;
    line[len] = '\0';
    if (len > ENTRY_MAX)
        report_bad(loader, line, "the entry is too long");
    else if (len > 0)
        read_entry(loader, line);
}

static void read_text(struct loader *loader, struct textfile *file)
{
    char *at = file->text;
    char *end = file->text + file->len;

    while (at < end && !(loader->has_failed && loader->bad.n == 0)) {
        char *newline = memchr(at, '\n', (size_t)(end - at));

        if (!newline)
            newline = end;
        loader->line++;
        read_line(loader, at, (size_t)(newline - at));
        at = newline + 1;
    }
}

static void report_told(struct loader *loader, const struct told *told, bool is_error,
                        const char *what)
{
    if (told->n <= TOLD_MAX)
        return;
    loader->source_line = told->rest_source_line;
    loader->line = told->rest_line;
    report(loader, is_error, "and %zu more %s from here on", told->n - TOLD_MAX, what);
}

/* returns: the sealed set; NULL after an error. */
static struct subnets *finish(struct loader *loader, unsigned source_line)
{
    report_told(loader, &loader->bad, !loader->is_lenient, "bad lines");
    report_told(loader, &loader->masked, false, "lines with host bits set");
    if (loader->has_failed) {
        subnets_free(loader->set);
        return NULL;
    }
    loader->source_line = source_line;
    loader->line = 1;
    if (loader->entries->n == 0 && !loader->is_direct)
        report(loader, false, "no subnet is in this %s, so no load balancer may connect",
               loader->path ? "file" : "array");
    subnets_seal(loader->set);
    return loader->set;
}

static bool begin_set(struct loader *loader)
{
    loader->set = subnets_new();
    if (!loader->set)
        mistakes_error(loader->mistakes, loader->source_line, "out of memory");
    return loader->set;
}

static struct loader open_loader(const char *path, const struct subnets_reading *reading,
                                 struct subnets_entries *entries)
{
    return (struct loader){
        .path = path,
        .source_line = reading->line,
        .is_lenient = reading->is_lenient,
        .is_direct = reading->is_direct,
        .mistakes = reading->mistakes,
        .entries = entries,
    };
}

struct subnets *allowed_subnets_of_file(const char *path, const struct subnets_reading *reading,
                                        struct subnets_entries *entries)
{
    struct loader loader = open_loader(path, reading, entries);
    struct textfile file;
    const char *reason = textfile_open(&file, path, FILE_MAX);

    if (reason) {
        mistakes_error(reading->mistakes, reading->line, "cannot read %s: %s", path, reason);
        return NULL;
    }
    entries->path = strdup(path);
    if (entries->path && begin_set(&loader))
        read_text(&loader, &file);
    else if (!entries->path)
        mistakes_error(reading->mistakes, reading->line, "out of memory");
    textfile_close(&file);
    return loader.set ? finish(&loader, reading->line) : NULL;
}

static void read_element(struct loader *loader, const config_setting_t *element)
{
    const char *entry = config_setting_get_string(element);

    loader->source_line = config_setting_source_line(element);
    if (config_setting_type(element) != CONFIG_TYPE_STRING) {
        value_report_type(element, "a subnet must be a string \"ADDR\" or \"ADDR/LEN\"",
                          loader->mistakes);
        loader->has_failed = true;
    } else {
        read_entry(loader, entry ? entry : "");
    }
}

struct subnets *allowed_subnets_of_array(const config_setting_t *array,
                                         const struct subnets_reading *reading,
                                         struct subnets_entries *entries)
{
    unsigned line = config_setting_source_line(array);
    struct loader loader = open_loader(NULL, reading, entries);
    unsigned n = (unsigned)config_setting_length(array);

    loader.source_line = line;
    if (!begin_set(&loader))
        return NULL;
    for (unsigned i = 0; i < n; i++)
        read_element(&loader, config_setting_get_elem(array, i));
    return finish(&loader, line);
}

void subnets_entries_close(struct subnets_entries *entries)
{
    free(entries->path);
    free(entries->items);
    *entries = (struct subnets_entries){ .n = 0 };
}

void subnets_entries_report(const struct subnets_entries *entries,
                            const struct subnets_entry *entry, struct mistakes *mistakes,
                            const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (entries->path)
        mistakes_add(mistakes, true, entry->source_line, "%s:%u: %s", entries->path, entry->line,
                     text);
    else
        mistakes_error(mistakes, entry->source_line, "%s", text);
}
