/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * grammar: may this token stand here? libconfig says "syntax error" of all that may not; this
 * says what is missing, and at the line where it is missing.
 */
#ifndef CONFIG_GRAMMAR_H
#define CONFIG_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

#include "mistakes.h"

enum {
    GRAMMAR_NESTING_MAX = 32,
    GRAMMAR_KEYS_MAX = 64, /* in one group; the longest that means anything has half of it */
};

enum token_kind {
    TOKEN_NAME,
    TOKEN_EQUALS, /* = or : */
    TOKEN_SCALAR, /* a number or a boolean */
    TOKEN_STRING,
    TOKEN_OPEN,  /* { [ ( */
    TOKEN_CLOSE, /* } ] ) */
    TOKEN_COMMA,
    TOKEN_SEMICOLON,
};

/* A piece of the text. */
struct token {
    enum token_kind kind;
    unsigned line;
    size_t at; /* offset in the text */
    size_t len;
};

struct grammar_level {
    char opener; /* 0: a file, which is a group without brackets */
    unsigned line;
    struct token key; /* whose value this level is; of a list's element, the list's own key */
    struct token keys[GRAMMAR_KEYS_MAX];
    size_t n_keys;
};

struct grammar {
    struct mistakes *mistakes;
    const char *text; /* of the tokens; may move from call to call */
    enum {
        GRAMMAR_BEFORE_KEY,
        GRAMMAR_BEFORE_EQUALS,
        GRAMMAR_BEFORE_VALUE,
        GRAMMAR_AFTER_VALUE,
        GRAMMAR_AFTER_NAME, /* a name where an element of a list should be */
    } state;
    bool lacks_comma; /* in front of that name */
    unsigned depth;
    struct token last; /* the one before */
    struct token before_last;
    struct grammar_level levels[GRAMMAR_NESTING_MAX + 1];
};

/* To be called in front of a file's first token. */
void grammar_start(struct grammar *grammar);

/* returns: false after a mistake was reported; nothing is to be read behind it. */
bool grammar_accept(struct grammar *grammar, const struct token *token);

/* To be called behind a file's last token. returns: as grammar_accept. */
bool grammar_finish(struct grammar *grammar);

/* Does the next token stand in a group or a file, and not in a list or an array? */
bool grammar_is_in_group(const struct grammar *grammar);

#endif
