/* SPDX-License-Identifier: BSD-2-Clause */
/* ctl: mmproxyctl's parts. It trusts what the socket says as little as any other input. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One line of an answer: an object of JSON, read in place. */
struct object {
    const char *text; /* begins with '{' */
};

/* returns: the value's first character, or NULL: there is no such key, or the text is not JSON. */
const char *object_find(const struct object *object, const char *key);
uint64_t object_number(const struct object *object, const char *key);
bool object_is_true(const struct object *object, const char *key);

/* Copies a string, shortened where it does not fit. Control characters become '?'. returns: out. */
char *object_text(const struct object *object, const char *key, char *out, size_t size);

/*
 * The elements of an object or array: *next is its first character at first. returns: false behind
 * the last one; key (which may be NULL) is "" in an array.
 */
bool object_next(const char **next, char *key, size_t key_size, const char **value);

/* A connection to the socket, with the request sent. */
struct answer {
    int fd;
    int patience_s;
    bool waits_on; /* says that it waits, again and again, where it would give up otherwise */
    int error;     /* errno that ended it early; 0 = none */
    char *bytes;   /* what has come; owned */
    size_t size;
    size_t used;
    size_t start; /* of what is behind the latest line */
};

/* Waits for so many seconds at a time. returns: 0 or -errno. */
int answer_open(struct answer *answer, const char *path, const char *request, int patience_s);

/* Says on stderr why it could not be opened, and what to do. returns: an exit status. */
int answer_complain(const char *path, int err);

/* The next line. returns: false: there is none. It is valid until the next call. */
bool answer_next(struct answer *answer, struct object *out);
void answer_close(struct answer *answer);

/* Text for people; out: the lines of one answer, one call each, in order. */
struct view {
    FILE *out;
    bool has_listeners; /* the heading has been written */
    bool has_sessions;
    uint64_t now;
    uint64_t pid;
};

void show_status(struct view *view, const struct object *line);
void show_session(struct view *view, const struct object *line);
void show_map(struct view *view, const struct object *line);
void show_report(struct view *view, const struct object *line);
void show_mistake(struct view *view, const struct object *line);

/* "1.2 MiB" and "3d 4h", each at most 9 characters. */
char *show_bytes(uint64_t bytes, char out[16]);
char *show_time(uint64_t seconds, char out[16]);

/* What a command is for. command: NULL: of all. returns: false: there is no such command. */
bool help_show(const char *command);

/* Refreshes until q. returns: an exit status. */
int top_run(const char *socket);

#endif
