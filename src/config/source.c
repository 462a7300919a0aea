/* SPDX-License-Identifier: BSD-2-Clause */
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"
#include "textfile.h"

/* From line first_line of text on, lines are those of file, from file_line on. */
struct source_segment {
    unsigned first_line;
    const char *file;
    unsigned file_line;
};

struct source_place source_place(const struct source *source, unsigned line)
{
    const struct source_segment *segment;
    size_t i = source->n_segments;

    while (i > 1 && source->segments[i - 1].first_line > line)
        i--;
    if (i == 0)
        return (struct source_place){ .file = source->path, .line = line };
    segment = &source->segments[i - 1];
    return (struct source_place){ .file = segment->file,
                                  .line = segment->file_line + (line - segment->first_line) };
}

/* Two segments of one line: the later one counts, the earlier one is empty. */
static void begin_segment(struct scan *scan, const char *file, unsigned file_line)
{
    struct source *source = scan->source;
    struct source_segment *grown =
        reallocarray(source->segments, source->n_segments + 1, sizeof(*grown));

    if (grown == NULL) {
        SCAN_FAIL(scan, scan_line(scan), "out of memory");
        return;
    }
    source->segments = grown;
    grown[source->n_segments] = (struct source_segment){ .first_line = scan_line(scan),
                                                         .file = file,
                                                         .file_line = file_line };
    source->n_segments++;
}

/* line: of the @include; for the configuration file itself there is no line yet. */
static void scan_file(struct scan *scan, const char *path, unsigned line)
{
    struct textfile file;
    const char *reason = textfile_open(&file, path, SOURCE_MAX - scan->n_read);

    if (reason != NULL && scan->include_depth == 0)
        mistakes_add(scan->mistakes, true, 0, "%s: %s", path, reason);
    else if (reason != NULL)
        mistakes_error(scan->mistakes, line, "cannot read %s: %s", path, reason);
    if (reason != NULL) {
        scan->has_failed = true;
        return;
    }
    scan->n_read += file.len;
    begin_segment(scan, path, 1);
    scan_text(scan, file.text, file.text + file.len);
    textfile_close(&file);
}

/* The included text stands on lines of its own; what follows the @include goes on behind it. */
void source_include(struct scan *scan, const char *written)
{
    struct source *source = scan->source;
    unsigned line = scan_line(scan);
    struct source_place place = source_place(source, line);
    char **grown = reallocarray(source->included, source->n_included + 1, sizeof(*grown));

    if (grown == NULL) {
        SCAN_FAIL(scan, line, "out of memory");
        return;
    }
    source->included = grown;
    grown[source->n_included] = source_resolve(source->path, written);
    if (grown[source->n_included] == NULL) {
        SCAN_FAIL(scan, line, "out of memory");
        return;
    }
    source->n_included++;
    scan->n_newlines++;
    scan->include_depth++;
    scan_file(scan, grown[source->n_included - 1], line);
    scan->include_depth--;
    scan->n_newlines++;
    if (!scan->has_failed)
        begin_segment(scan, place.file, place.line);
    scan->is_at_line_start = false;
}

void source_open(struct source *source, const char *path, struct mistakes *mistakes)
{
    struct scan scan = { .source = source, .mistakes = mistakes };

    *source = (struct source){ .path = path, .line = 1 };
    scan_file(&scan, path, 0);
    scan_finish(&scan);
}

void source_close(struct source *source)
{
    for (size_t i = 0; i < source->n_included; i++)
        free(source->included[i]);
    free(source->included);
    free(source->segments);
    free(source->text);
    *source = (struct source){ .text = NULL };
}

char *source_resolve(const char *config_path, const char *path)
{
    const char *slash = strrchr(config_path, '/');
    char *resolved;

    if (path[0] == '/' || slash == NULL)
        return strdup(path);
    if (asprintf(&resolved, "%.*s%s", (int)(slash - config_path + 1), config_path, path) < 0)
        return NULL;
    return resolved;
}
