/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_client.h"

#include <stdlib.h>
#include <string.h>

enum {
    CLIENT_PATIENCE_S = 10, /* for a request, and for a client that reads nothing */
    /* For a worker, or the process before an upgrade; mmproxyctl waits for longer than both. */
    ANSWER_PATIENCE_S = 4,
    NEXT_PATIENCE_S = 1, /* when one has not answered */
};

static double patience_s(const struct control_client *client, bool has_more)
{
    if (has_more || !client->is_asked)
        return CLIENT_PATIENCE_S;
    return client->n_silent > 0 ? NEXT_PATIENCE_S : ANSWER_PATIENCE_S;
}

void control_client_watch(struct control_client *client)
{
    bool has_more = client->out_len > client->out_start;
    int events = !client->is_asked ? EV_READ : has_more || client->is_answered ? EV_WRITE : 0;

    ev_io_stop(client->supervisor->loop, &client->io);
    if (events) {
        ev_io_set(&client->io, client->fd, events);
        ev_io_start(client->supervisor->loop, &client->io);
    }
    /* A load or a check takes the time that it takes. */
    if (!client->is_asked || has_more || client->is_inspecting ||
        client->earlier.state == EARLIER_ASKED) {
        client->timeout.repeat = patience_s(client, has_more);
        ev_timer_again(client->supervisor->loop, &client->timeout);
    } else {
        ev_timer_stop(client->supervisor->loop, &client->timeout);
    }
}

bool control_client_is_behind(const struct control_client *client)
{
    return client->out_len - client->out_start > CLIENT_OUT_MUCH;
}

void control_client_add_text(struct control_client *client, const char *text, size_t len)
{
    size_t needed = client->out_len + len;

    if (needed > client->out_size) {
        size_t size = needed < 4096 ? 4096 : 2 * needed;
        char *out = needed > CLIENT_OUT_MAX ? NULL : realloc(client->out, size);
        if (!out) {
            client->is_answered = true; /* it notices: the last line does not come */
            control_client_watch(client);
            return;
        }
        client->out = out;
        client->out_size = size;
    }
    memcpy(client->out + client->out_len, text, len);
    client->out_len += len;
    control_client_watch(client);
}

struct json *control_line_begin(struct control_line *line, const char *type)
{
    json_begin(&line->json, line->text, sizeof line->text);
    json_text(&line->json, "type", type);
    return &line->json;
}

void control_client_add(struct control_client *client, struct json *json)
{
    size_t len = json_end(json);

    control_client_add_text(client, json->text, len);
}

void control_client_end(struct control_client *client, int code, const char *message)
{
    char line[CLIENT_LINE_MAX];
    struct json json;

    json_begin(&json, line, sizeof line);
    json_text(&json, "type", "end");
    json_number(&json, "code", (unsigned)code);
    if (message)
        json_text(&json, "message", message);
    client->is_answered = true;
    control_client_add(client, &json);
}
