/* SPDX-License-Identifier: BSD-2-Clause */
/* The answer to the command metrics of the control socket. */
#include <string.h>
#include <sysexits.h>

#include "commands.h"
#include "mmproxy/supervisor/exports.h"

static void sum(const void *context, unsigned number, struct counters_sums *out)
{
    counters_sum(context, number, out);
}

/* A line of the text is a line of the answer. */
static void add_piece(struct control_client *client, char *piece)
{
    char *text;

    while ((text = strsep(&piece, "\n"))) {
        struct control_line line;
        struct json *json;
        if (text[0] == '\0')
            continue;
        json = control_line_begin(&line, "metric");
        json_text(json, "text", text);
        control_client_add(client, json);
    }
}

void command_metrics(struct control_client *client)
{
    static const struct history none;
    const struct supervisor *supervisor = client->supervisor;
    char piece[METRICS_PIECE_MAX + 1];
    size_t len;

    if (!client->board)
        client->board = exports_board(client->supervisor);
    if (!client->board) {
        control_client_end(client, EX_OSERR, "out of memory");
        return;
    }
    const struct metrics_source source = { .board = client->board,
                                           .history = &none,
                                           .sum = sum,
                                           .context = supervisor->counters,
                                           .descriptors_used =
                                               counters_descriptors(supervisor->counters) };
    while ((len = metrics_next(&client->cursor, &source, piece)) > 0) {
        piece[len] = '\0';
        add_piece(client, piece);
        if (control_client_is_behind(client))
            return;
    }
    control_client_end(client, EX_OK, NULL);
}
