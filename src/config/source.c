/* SPDX-License-Identifier: BSD-2-Clause */
#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "textfile.h"

enum { INCLUDE_NESTING_MAX = 10, INCLUDES_MAX = 256, FOLDER_FILES_MAX = 10000 };

/* Takes the path over. returns: it, or NULL after a mistake was reported. */
static const char *keep_path(struct source *source, char *path)
{
    char **grown = path ? reallocarray(source->paths, source->n_paths + 1, sizeof *grown) : NULL;

    if (!grown) {
        free(path);
        scan_fail(&source->scan, "out of memory");
        return NULL;
    }
    source->paths = grown;
    grown[source->n_paths++] = path;
    return path;
}

static void begin_segment(struct source *source, const char *file, unsigned line)
{
    if (places_add(&source->places, scan_line(&source->scan), file, line) != 0)
        scan_fail(&source->scan, "out of memory");
}

static void scan_file(struct source *source, const char *path, unsigned line);

/* The included text has lines of its own. The text after the @include continues behind it. */
static void include_file(struct source *source, const char *written)
{
    struct scan *scan = &source->scan;
    struct place place = places_find(&source->places, scan_line(scan));
    const char *path;

    if (source->include_depth == INCLUDE_NESTING_MAX || source->n_includes == INCLUDES_MAX) {
        scan_fail(scan, "too many @include files, or files that include themselves");
        return;
    }
    path = keep_path(source, source_resolve(source->path, written));
    if (!path)
        return;
    source->n_includes++;
    source->include_depth++;
    scan_file(source, path, scan_line(scan));
    source->include_depth--;
    scan->n_newlines++;
    if (!scan->has_failed)
        begin_segment(source, place.file, place.line);
    scan->is_at_line_start = false;
}

static void scan_text(struct source *source, const char *at, const char *end)
{
    source->scan.is_at_line_start = true;
    while (at < end && !source->scan.has_failed) {
        char *include;

        at = scan_next(&source->scan, at, end, &include);
        if (include)
            include_file(source, include);
        free(include);
    }
}

/* line: of the text; a file that can't be read is a mistake there. */
static void scan_file(struct source *source, const char *path, unsigned line)
{
    struct scan *scan = &source->scan;
    struct textfile file;
    const char *reason = textfile_open(&file, path, SOURCE_MAX - source->n_read);

    if (reason) {
        mistakes_error(source->mistakes, line, "cannot read %s: %s", path, reason);
        scan->has_failed = true;
        return;
    }
    source->n_read += file.len;
    scan->n_newlines++;
    begin_segment(source, path, 1);
    scan_text(source, file.text, file.text + file.len);
    textfile_close(&file);
}

void source_open(struct source *source, const char *path, struct mistakes *mistakes)
{
    struct textfile file;
    const char *reason = textfile_open(&file, path, SOURCE_MAX);

    *source = (struct source){ .path = path, .places.path = path, .mistakes = mistakes };
    mistakes->places = &source->places;
    scan_open(&source->scan, mistakes);
    if (reason) {
        mistakes_add(mistakes, true, 0, "%s: %s", path, reason);
        return;
    }
    source->n_read = file.len;
    begin_segment(source, path, 1);
    scan_begin_file(&source->scan);
    scan_text(source, file.text, file.text + file.len);
    scan_end_file(&source->scan);
    textfile_close(&file);
}

void source_close(struct source *source)
{
    for (size_t i = 0; i < source->n_paths; i++)
        free(source->paths[i]);
    free(source->paths);
    places_close(&source->places);
    scan_close(&source->scan);
}

void source_take_paths(struct source *source, char ***paths, size_t *n_paths)
{
    *paths = source->paths;
    *n_paths = source->n_paths;
    source->paths = NULL;
    source->n_paths = 0;
}

char *source_resolve(const char *config_path, const char *path)
{
    const char *slash = strrchr(config_path, '/');
    char *resolved;

    if (path[0] == '/' || !slash)
        return strdup(path);
    if (asprintf(&resolved, "%.*s%s", (int)(slash - config_path + 1), config_path, path) < 0)
        return NULL;
    return resolved;
}

/* ---- include_dir ---------------------------------------------------------------------- */

/* As a shell's *.conf: no hidden file. */
static int is_configuration(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > strlen(".conf") &&
           strcmp(entry->d_name + len - strlen(".conf"), ".conf") == 0;
}

/* By their bytes, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_file(struct source *source, const char *folder, const char *name, unsigned line,
                     bool is_first)
{
    struct scan *scan = &source->scan;
    const char *path;
    char *joined;

    if (asprintf(&joined, "%s/%s", folder, name) < 0)
        joined = NULL;
    path = keep_path(source, joined);
    if (!path)
        return;
    scan_write(scan, is_first ? "{" : ",{");
    scan_begin_file(scan);
    scan_file(source, path, line);
    scan_end_file(scan);
    scan_write(scan, "}");
}

static void add_files(struct source *source, const char *folder, struct dirent **entries, int n,
                      unsigned line)
{
    scan_write(&source->scan, SOURCE_INCLUDED " = (");
    for (int i = 0; i < n && !source->scan.has_failed; i++)
        add_file(source, folder, entries[i]->d_name, line, i == 0);
    scan_write(&source->scan, ");");
}

void source_add_folder(struct source *source, const char *written, unsigned line)
{
    char *folder = source_resolve(source->path, written);
    struct dirent **entries;
    int n;

    if (!folder) {
        mistakes_error(source->mistakes, line, "out of memory");
        return;
    }
    n = scandir(folder, &entries, is_configuration, by_name);
    if (n > FOLDER_FILES_MAX)
        mistakes_error(source->mistakes, line, "%s has more than %d files *.conf", folder,
                       FOLDER_FILES_MAX);
    else if (n >= 0)
        add_files(source, folder, entries, n, line);
    else if (errno == ENOENT)
        mistakes_warn(source->mistakes, line, "there is no %s: nothing is included", folder);
    else
        mistakes_error(source->mistakes, line, "cannot read %s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++)
        free(entries[i]);
    if (n >= 0)
        free(entries);
    free(folder);
}
