/* SPDX-License-Identifier: BSD-2-Clause */
#include "grammar.h"

#include <string.h>

/* Longer words are cut. */
#define WORD           "\"%.*s\""
#define WORD_OF(token) word_len(token), grammar->text + (token)->at

static int word_len(const struct token *token)
{
    return (int)(token->len < 60 ? token->len : 60);
}

#define FAIL(line, ...) (mistakes_error(grammar->mistakes, (line), __VA_ARGS__), false)

static struct grammar_level *level_of(struct grammar *grammar)
{
    return &grammar->levels[grammar->depth];
}

bool grammar_is_in_group(const struct grammar *grammar)
{
    char opener = grammar->levels[grammar->depth].opener;

    return opener == '\0' || opener == '{';
}

static char first_of(const struct grammar *grammar, const struct token *token)
{
    return grammar->text[token->at];
}

void grammar_start(struct grammar *grammar)
{
    grammar->state = GRAMMAR_BEFORE_KEY;
    grammar->depth = 0;
    grammar->levels[0].opener = '\0';
    grammar->levels[0].n_keys = 0;
}

static char closer_of(char opener)
{
    return opener == '(' ? ')' : opener == '[' ? ']' : '}';
}

/* ---- brackets ------------------------------------------------------------------------- */

static bool open_bracket(struct grammar *grammar, const struct token *token)
{
    const struct grammar_level *outer = level_of(grammar);
    struct grammar_level *level;
    char opener = first_of(grammar, token);

    if (grammar->depth == GRAMMAR_NESTING_MAX)
        return FAIL(token->line, "brackets are nested more than %d deep", GRAMMAR_NESTING_MAX);
    if (outer->opener == '[')
        return FAIL(token->line, "\"%c\" can't stand in an array [ ]: only a list ( ) may hold it",
                    opener);
    level = &grammar->levels[++grammar->depth];
    level->opener = opener;
    level->line = token->line;
    level->n_keys = 0;
    level->key = grammar_is_in_group(grammar) && outer->opener == '(' ? outer->key
                 : outer->n_keys > 0 ? outer->keys[outer->n_keys - 1]
                                     : outer->key;
    grammar->state = opener == '{' ? GRAMMAR_BEFORE_KEY : GRAMMAR_BEFORE_VALUE;
    return true;
}

static bool close_bracket(struct grammar *grammar, const struct token *token)
{
    const struct grammar_level *level = level_of(grammar);
    char closer = first_of(grammar, token);
    char wanted = closer_of(level->opener);
    struct place place;

    if (grammar->depth == 0)
        return FAIL(token->line, "\"%c\" closes nothing", closer);
    if (closer != wanted) {
        place = places_find(grammar->mistakes->places, level->line);
        return FAIL(token->line,
                    "\"%c\" is missing before this \"%c\": the \"%c\" of %s:%u is open", wanted,
                    closer, level->opener, place.file, place.line);
    }
    grammar->depth--;
    grammar->state = GRAMMAR_AFTER_VALUE;
    return true;
}

/* ---- groups --------------------------------------------------------------------------- */

static bool accept_key(struct grammar *grammar, const struct token *token)
{
    struct grammar_level *level = level_of(grammar);
    struct place place;

    for (size_t i = 0; i < level->n_keys; i++) {
        const struct token *key = &level->keys[i];

        if (key->len != token->len ||
            memcmp(grammar->text + key->at, grammar->text + token->at, key->len) != 0)
            continue;
        place = places_find(grammar->mistakes->places, key->line);
        return FAIL(token->line, WORD " is there twice (%s:%u)", WORD_OF(token), place.file,
                    place.line);
    }
    if (level->n_keys == GRAMMAR_KEYS_MAX)
        return FAIL(token->line, "more than %d keys in one group", GRAMMAR_KEYS_MAX);
    level->keys[level->n_keys++] = *token;
    grammar->state = GRAMMAR_BEFORE_EQUALS;
    return true;
}

/* Something that is no key where a key should be. */
static bool lack_key(struct grammar *grammar, const struct token *token)
{
    switch (token->kind) {
    case TOKEN_STRING:
        return FAIL(token->line, "a string can't stand here: a key is missing in front of it, or "
                                 "the key is in quotes");
    case TOKEN_OPEN:
        if (first_of(grammar, token) == '{' && grammar->depth > 0)
            return FAIL(grammar->last.line, "\"}\" is missing in front of the next \"{\"");
        return FAIL(token->line, "a key is missing in front of this \"%c\"",
                    first_of(grammar, token));
    case TOKEN_SCALAR:
        return FAIL(token->line, "a key is missing in front of " WORD, WORD_OF(token));
    case TOKEN_COMMA:
        if (grammar->depth > 0 && grammar->last.kind == TOKEN_SEMICOLON)
            return FAIL(grammar->last.line, "\"}\" is missing in front of the next \",\"");
        return FAIL(token->line, "unexpected \",\"");
    default:
        return FAIL(token->line, "unexpected " WORD, WORD_OF(token));
    }
}

static bool accept_before_key(struct grammar *grammar, const struct token *token)
{
    if (token->kind == TOKEN_NAME)
        return accept_key(grammar, token);
    if (token->kind == TOKEN_CLOSE)
        return close_bracket(grammar, token);
    return lack_key(grammar, token);
}

static bool lack_equals(struct grammar *grammar)
{
    return FAIL(grammar->last.line, "\"=\" is missing behind " WORD, WORD_OF(&grammar->last));
}

static bool accept_before_equals(struct grammar *grammar, const struct token *token)
{
    if (token->kind != TOKEN_EQUALS)
        return lack_equals(grammar);
    grammar->state = GRAMMAR_BEFORE_VALUE;
    return true;
}

static bool lack_value(struct grammar *grammar)
{
    const struct grammar_level *level = level_of(grammar);
    const struct token *key = &level->keys[level->n_keys - 1];

    return FAIL(grammar->last.line, "the value of " WORD " is missing", WORD_OF(key));
}

static bool lack_quotes(struct grammar *grammar, const struct token *token)
{
    return FAIL(token->line, WORD " needs quotes: without them a value is a number, true or false",
                WORD_OF(token));
}

static bool accept_setting_value(struct grammar *grammar, const struct token *token)
{
    switch (token->kind) {
    case TOKEN_SCALAR:
    case TOKEN_STRING:
        grammar->state = GRAMMAR_AFTER_VALUE;
        return true;
    case TOKEN_OPEN:
        return open_bracket(grammar, token);
    case TOKEN_NAME:
        if (token->line == grammar->last.line)
            return lack_quotes(grammar, token);
        return lack_value(grammar);
    default:
        return lack_value(grammar);
    }
}

static bool accept_behind_setting(struct grammar *grammar, const struct token *token)
{
    if (token->kind == TOKEN_COMMA || token->kind == TOKEN_SEMICOLON) {
        grammar->state = GRAMMAR_BEFORE_KEY;
        return true;
    }
    /* Strings side by side are one. */
    if (token->kind == TOKEN_STRING && grammar->last.kind == TOKEN_STRING)
        return true;
    return accept_before_key(grammar, token);
}

/* ---- lists and arrays ----------------------------------------------------------------- */

static bool is_in_listeners(struct grammar *grammar)
{
    const struct grammar_level *level = level_of(grammar);

    return grammar->depth == 1 && level->key.len == strlen("listeners") &&
           memcmp(grammar->text + level->key.at, "listeners", level->key.len) == 0;
}

static bool lack_comma(struct grammar *grammar)
{
    if (is_in_listeners(grammar))
        return FAIL(grammar->last.line, "a comma is missing between two listeners");
    return FAIL(grammar->last.line, "a comma is missing between two elements of " WORD,
                WORD_OF(&level_of(grammar)->key));
}

static bool accept_element(struct grammar *grammar, const struct token *token)
{
    switch (token->kind) {
    case TOKEN_SCALAR:
    case TOKEN_STRING:
        grammar->state = GRAMMAR_AFTER_VALUE;
        return true;
    case TOKEN_OPEN:
        return open_bracket(grammar, token);
    case TOKEN_CLOSE:
        if (grammar->last.kind == TOKEN_COMMA)
            return FAIL(grammar->last.line, "no comma may stand behind the last element");
        return close_bracket(grammar, token);
    case TOKEN_NAME:
        grammar->state = GRAMMAR_AFTER_NAME;
        grammar->lacks_comma = false;
        return true;
    case TOKEN_EQUALS:
        return FAIL(token->line, "unexpected " WORD ": an address stands in quotes",
                    WORD_OF(token));
    default:
        return FAIL(token->line, "an element is missing in front of this " WORD, WORD_OF(token));
    }
}

static bool accept_behind_element(struct grammar *grammar, const struct token *token)
{
    switch (token->kind) {
    case TOKEN_COMMA:
        grammar->state = GRAMMAR_BEFORE_VALUE;
        return true;
    case TOKEN_CLOSE:
        return close_bracket(grammar, token);
    case TOKEN_NAME:
        grammar->state = GRAMMAR_AFTER_NAME;
        grammar->lacks_comma = true;
        return true;
    case TOKEN_SEMICOLON:
        return FAIL(token->line,
                    "\";\" can't stand in \"%c\": a comma stands between elements, and \"%c\" "
                    "behind the last one",
                    level_of(grammar)->opener, closer_of(level_of(grammar)->opener));
    case TOKEN_EQUALS:
        return FAIL(token->line, "unexpected " WORD, WORD_OF(token));
    default:
        return lack_comma(grammar);
    }
}

/* The token behind a name shows its purpose; NULL: the file ends there. */
static bool accept_behind_name(struct grammar *grammar, const struct token *token)
{
    const struct grammar_level *level = level_of(grammar);
    const struct token *name = &grammar->last;
    bool is_key = token && token->kind == TOKEN_EQUALS;

    if (is_key && level->opener == '(' && !grammar->lacks_comma)
        return FAIL(name->line, "\"{\" is missing in front of " WORD, WORD_OF(name));
    if (is_key) /* at the line in front of the name */
        return FAIL(grammar->before_last.line, "\"%c\" is missing in front of " WORD,
                    closer_of(level->opener), WORD_OF(name));
    return lack_quotes(grammar, name);
}

/* ---- all of it ------------------------------------------------------------------------ */

static bool accept_token(struct grammar *grammar, const struct token *token)
{
    switch (grammar->state) {
    case GRAMMAR_BEFORE_KEY:
        return accept_before_key(grammar, token);
    case GRAMMAR_BEFORE_EQUALS:
        return accept_before_equals(grammar, token);
    case GRAMMAR_BEFORE_VALUE:
        return grammar_is_in_group(grammar) ? accept_setting_value(grammar, token)
                                            : accept_element(grammar, token);
    case GRAMMAR_AFTER_NAME:
        return accept_behind_name(grammar, token);
    case GRAMMAR_AFTER_VALUE:
        break;
    }
    return grammar_is_in_group(grammar) ? accept_behind_setting(grammar, token)
                                        : accept_behind_element(grammar, token);
}

bool grammar_accept(struct grammar *grammar, const struct token *token)
{
    bool is_good = accept_token(grammar, token);

    grammar->before_last = grammar->last;
    grammar->last = *token;
    return is_good;
}

bool grammar_finish(struct grammar *grammar)
{
    const struct grammar_level *level = level_of(grammar);

    if (grammar->state == GRAMMAR_BEFORE_EQUALS)
        return lack_equals(grammar);
    if (grammar->state == GRAMMAR_BEFORE_VALUE && grammar_is_in_group(grammar))
        return lack_value(grammar);
    if (grammar->state == GRAMMAR_AFTER_NAME)
        return accept_behind_name(grammar, NULL);
    if (grammar->depth > 0)
        return FAIL(level->line, "this \"%c\" is never closed", level->opener);
    return true;
}
