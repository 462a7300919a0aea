/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/control/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME = 1 << 0,
    LISTENER = 1 << 1,
    CLIENT = 1 << 2,
    PEER = 1 << 3,
    ID = 1 << 4,
    ADDRESS = 1 << 5
};

static const struct {
    const char *word;
    unsigned takes;
    bool changes;
} commands[REQUEST_COMMANDS] = {
    [REQUEST_STATUS] = { "status", 0, false },
    [REQUEST_SESSIONS] = { "sessions", LISTENER | CLIENT | PEER, false },
    [REQUEST_CLOSE] = { "close", LISTENER | CLIENT | ID, true },
    [REQUEST_RELOAD] = { "reload", 0, true },
    [REQUEST_CHECK] = { "check", LISTENER, false },
    [REQUEST_DRAIN] = { "drain", NAME, true },
    [REQUEST_RESUME] = { "resume", NAME, true },
    [REQUEST_METRICS] = { "metrics", 0, false },
    [REQUEST_MAP] = { "map", ADDRESS, false },
};

bool request_changes(enum request_command command)
{
    return commands[command].changes;
}

static const char *take_name(struct request *out, const char *value)
{
    if (value[0] == '\0' || strlen(value) > LISTENER_NAME_MAX)
        return "a listener's name has 1 to 63 characters";
    if (out->listener[0])
        return "one listener is enough";
    memcpy(out->listener, value, strlen(value) + 1);
    return NULL;
}

static const char *take_prefix(struct prefix *out, const char *value)
{
    const char *reason = NULL;

    return prefix_parse(out, value, &reason) == PREFIX_BAD ? reason : NULL;
}

static const char *take_address(struct request *out, const char *value)
{
    if (addr_is_set(&out->client.addr))
        return "one address is enough";
    if (strchr(value, '/'))
        return "an address has no prefix length";
    return take_prefix(&out->client, value);
}

static bool take_number(const char **text, uint64_t max, uint64_t *out)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *out = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0 && *out > 0 && *out <= max;
}

static const char *take_id(struct request *out, const char *value)
{
    struct request_id *id = &out->ids[out->n_ids];
    uint64_t pid;

    if (out->n_ids == REQUEST_IDS_MAX)
        return "too many sessions at once";
    if (!take_number(&value, INT32_MAX, &pid) || *value++ != '-' ||
        !take_number(&value, UINT64_MAX, &id->number) || *value != '\0')
        return "a session's id looks like 4711-42";
    id->pid = (uint32_t)pid;
    out->n_ids++;
    return NULL;
}

static const char *after(const char *word, const char *key)
{
    size_t len = strlen(key);

    return strncmp(word, key, len) == 0 ? word + len : NULL;
}

static const char *take_word(struct request *out, const char *word)
{
    unsigned takes = commands[out->command].takes;
    const char *value;

    if ((takes & NAME) && !strchr(word, '='))
        return take_name(out, word);
    if ((takes & LISTENER) && (value = after(word, "listener=")))
        return take_name(out, value);
    if ((takes & CLIENT) && (value = after(word, "client=")))
        return take_prefix(&out->client, value);
    if ((takes & PEER) && (value = after(word, "peer=")))
        return take_prefix(&out->peer, value);
    if ((takes & ADDRESS) && !strchr(word, '='))
        return take_address(out, word);
    if ((takes & ID) && !strchr(word, '='))
        return take_id(out, word);
    return "the command takes no such argument";
}

static const char *take_command(struct request *out, const char *word)
{
    for (unsigned i = 0; i < REQUEST_COMMANDS; i++) {
        if (strcmp(word, commands[i].word) == 0) {
            out->command = (enum request_command)i;
            return NULL;
        }
    }
    return "unknown command";
}

/* Are the arguments together enough, and not too many? */
static const char *judge(const struct request *request)
{
    int kinds =
        (request->listener[0] != '\0') + addr_is_set(&request->client.addr) + (request->n_ids > 0);

    if ((commands[request->command].takes & ADDRESS) && !addr_is_set(&request->client.addr))
        return "the address is missing";
    if ((commands[request->command].takes & NAME) && !request->listener[0])
        return "the name of a listener is missing";
    if (request->command == REQUEST_CLOSE && kinds == 0)
        return "which sessions? Ids, a client or a listener";
    if (request->command == REQUEST_CLOSE && request->n_ids > 0 && kinds > 1)
        return "ids go with nothing else";
    return NULL;
}

const char *request_parse(struct request *out, const char *line, size_t len)
{
    char text[REQUEST_MAX];
    char *rest = text;
    char *word;

    *out = (struct request){ .n_ids = 0 };
    if (len >= sizeof text)
        return "the line is too long";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || (unsigned char)line[i] > '~')
            return "the line has a byte that is not printable";
    memcpy(text, line, len);
    text[len] = '\0';

    const char *wrong = take_command(out, strsep(&rest, " "));
    while (!wrong && (word = strsep(&rest, " ")))
        wrong = take_word(out, word);
    return wrong ? wrong : judge(out);
}
