/* SPDX-License-Identifier: BSD-2-Clause */
#include "subnets_file.h"

#include <string.h>

#include "textfile.h"

enum {
    FILE_MAX = 64 * 1024 * 1024,
    ENTRY_MAX = 255, /* characters; no address is half as long */
    TOLD_MAX = 20,   /* of each kind of mistake in one file */
};

struct loader {
    const char *path;
    unsigned source_line;
    unsigned line;
    bool is_lenient;
    struct mistakes *mistakes;
    struct subnets *set;
    size_t n_entries;
    size_t n_bad;
    size_t n_masked;
    unsigned bad_line; /* of the first that is not told; masked_line alike */
    unsigned masked_line;
    bool has_failed;
};

static void report_bad(struct loader *loader, const char *entry, const char *reason)
{
    const char *skipped = loader->is_lenient ? " (line skipped)" : "";

    if (!loader->is_lenient)
        loader->has_failed = true;
    if (++loader->n_bad == TOLD_MAX + 1)
        loader->bad_line = loader->line;
    if (loader->n_bad <= TOLD_MAX)
        mistakes_add(loader->mistakes, !loader->is_lenient, loader->source_line,
                     "%s:%u: \"%.60s\": %s%s", loader->path, loader->line, entry, reason, skipped);
}

static void report_masked(struct loader *loader, const char *entry, const struct prefix *prefix)
{
    char text[ADDR_STRLEN];

    if (++loader->n_masked == TOLD_MAX + 1)
        loader->masked_line = loader->line;
    if (loader->n_masked <= TOLD_MAX)
        mistakes_add(loader->mistakes, false, loader->source_line,
                     "%s:%u: \"%s\" has host bits set: taken as %s/%u", loader->path, loader->line,
                     entry, addr_format_host(&prefix->addr, text), prefix->len);
}

static void read_entry(struct loader *loader, const char *entry)
{
    struct prefix prefix;
    const char *reason;
    enum prefix_verdict verdict;

    if (strpbrk(entry, " \t") != NULL) {
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
    if (subnets_add(loader->set, &prefix) != 0) {
        mistakes_add(loader->mistakes, true, loader->source_line, "%s:%u: out of memory",
                     loader->path, loader->line);
        loader->has_failed = true;
    }
    loader->n_entries++;
}

/* line is ended in place, at its comment or at the last blank before it. */
static void read_line(struct loader *loader, char *line, size_t len)
{
    line[len] = '\0';
    if (memchr(line, '\0', len) != NULL) {
        report_bad(loader, line, "there is a NUL byte in the line");
        return;
    }
    line += strspn(line, " \t\r");
    len = strcspn(line, "#;");
    while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL)
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

    while (at < end && !(loader->has_failed && loader->n_bad == 0)) {
        char *newline = memchr(at, '\n', (size_t)(end - at));

        if (newline == NULL)
            newline = end;
        loader->line++;
        read_line(loader, at, (size_t)(newline - at));
        at = newline + 1;
    }
}

static void report_rest(struct loader *loader)
{
    if (loader->n_bad > TOLD_MAX)
        mistakes_add(loader->mistakes, !loader->is_lenient, loader->source_line,
                     "%s:%u: and %zu more bad lines from here on", loader->path, loader->bad_line,
                     loader->n_bad - TOLD_MAX);
    if (loader->n_masked > TOLD_MAX)
        mistakes_add(loader->mistakes, false, loader->source_line,
                     "%s:%u: and %zu more lines with host bits set from here on", loader->path,
                     loader->masked_line, loader->n_masked - TOLD_MAX);
    if (loader->n_entries == 0 && !loader->has_failed)
        mistakes_add(loader->mistakes, false, loader->source_line,
                     "%s:1: no subnet is in this file, so nobody may connect", loader->path);
}

struct subnets *subnets_file_load(const char *path, bool is_lenient, unsigned line,
                                  struct mistakes *mistakes)
{
    struct loader loader = {
        .path = path, .source_line = line, .is_lenient = is_lenient, .mistakes = mistakes
    };
    struct textfile file;
    const char *reason = textfile_open(&file, path, FILE_MAX);

    if (reason != NULL) {
        mistakes_error(mistakes, line, "cannot read %s: %s", path, reason);
        return NULL;
    }
    loader.set = subnets_new();
    if (loader.set == NULL) {
        mistakes_error(mistakes, line, "out of memory");
        textfile_close(&file);
        return NULL;
    }
    read_text(&loader, &file);
    report_rest(&loader);
    textfile_close(&file);
    if (loader.has_failed) {
        subnets_free(loader.set);
        return NULL;
    }
    subnets_seal(loader.set);
    return loader.set;
}
