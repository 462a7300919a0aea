/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source: a configuration file with its @include files in their places, and the files of
 * include_dir behind it, as one text for libconfig. libconfig's own @include calls exit() for
 * a directory and hangs on a fifo.
 */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <stddef.h>

#include "scan.h"

/* Bytes of a file, and of all of them together. */
enum { SOURCE_MAX = 16 * 1024 * 1024 };

/* The files of include_dir are groups in a list of this name, which no file can write. */
#define SOURCE_INCLUDED "*"

struct source {
    struct scan scan; /* its text is for libconfig, where no mistake was reported */
    struct places places;
    struct mistakes *mistakes;
    const char *path; /* as the user gave it */
    char **paths;     /* owned: of all other files */
    size_t n_paths;
    size_t n_includes; /* @include lines */
    unsigned include_depth;
    size_t n_read; /* bytes of all files */
};

/*
 * Reads path, which must outlive the source. Mistakes in reading and the first one in syntax
 * are reported.
 */
void source_open(struct source *source, const char *path, struct mistakes *mistakes);
void source_close(struct source *source);

/* Hands the paths over, for places that outlive the source. */
void source_take_paths(struct source *source, char ***paths, size_t *n_paths);

/*
 * Adds the files NAME.conf of the folder, in the order of their names. written: the folder as
 * the configuration file names it, in that line. Mistakes are reported as by source_open.
 */
void source_add_folder(struct source *source, const char *written, unsigned line);

/*
 * A path written in the configuration: relative to the configuration file's folder.
 * returns: to be freed; NULL when memory is short.
 */
char *source_resolve(const char *config_path, const char *path);

#endif
