/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics_json.h"

#include <inttypes.h>

#include "mmproxy/version.h"
#include "text.h"

enum part { PART_HEAD, PART_LISTENERS, PART_TAIL, PARTS };

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void add_head(struct text *text, const struct metrics_source *source)
{
    const struct board *board = source->board;

    text_add(text, "{\"version\":\"" MMPROXY_VERSION "\",\"now\":%" PRId64 ",\"started\":%" PRId64,
             source->now_s, atomic_load(&board->started_s));
    text_add(text, ",\"serving\":%s,\"generation\":%" PRIu32 ",\"draining\":%" PRIu32,
             boolean(board_is_serving(board)), atomic_load(&board->generation),
             atomic_load(&board->draining));
    text_add(text, ",\"workers\":%" PRIu32, atomic_load(&board->workers));
    text_add(text, ",\"reload\":{\"successful\":%s,\"at\":%" PRId64 "}",
             boolean(!atomic_load(&board->has_failed)), atomic_load(&board->loaded_s));
    text_add(text, ",\"descriptors\":{\"used\":%" PRIu32 ",\"limit\":%" PRIu64 "}",
             source->descriptors_used, atomic_load(&board->descriptors_limit));
    text_add(text, ",\"listeners\":[");
}

static void add_health(struct text *text, const char *key, const _Atomic uint8_t *health)
{
    static const char *const words[] = {
        [BOARD_UNKNOWN] = "null", [BOARD_DOWN] = "\"down\"", [BOARD_UP] = "\"up\""
    };

    text_add(text, ",\"%s\":{\"ipv4\":%s,\"ipv6\":%s}", key, words[atomic_load(&health[BOARD_V4])],
             words[atomic_load(&health[BOARD_V6])]);
}

static void add_refused(struct text *text, const struct counters_sums *sums)
{
    const char *comma = "";

    text_add(text, ",\"refused\":{");
    for (unsigned i = REASON_NONE + 1; i < REASONS; i++) {
        if (sums->counts[COUNT_REFUSED + i] == 0)
            continue;
        text_add(text, "%s\"%s\":%" PRIu64, comma, reason_word((enum reason)i),
                 sums->counts[COUNT_REFUSED + i]);
        comma = ",";
    }
    text_add(text, "}");
}

static void add_listener(struct text *text, const struct metrics_source *source, size_t i)
{
    const struct board_listener *listener = &source->board->listeners[i];
    struct counters_sums sums;

    source->sum(source->context, listener->number, &sums);
    text_add(text, "%s{\"name\":\"%s\",\"protocol\":\"%s\",\"state\":\"%s\",\"draining\":%s",
             i > 0 ? "," : "", listener->name, listener->protocol == PROTOCOL_UDP ? "udp" : "tcp",
             board_state_word((enum board_state)atomic_load(&listener->state)),
             boolean(i >= source->board->n_serving));
    text_add(text, ",\"sessions\":%" PRIu64 ",\"pending\":%" PRIu64, sums.sessions, sums.pending);
    text_add(text, ",\"connections\":%" PRIu64 ",\"served\":%" PRIu64 ",\"health_checks\":%" PRIu64,
             sums.counts[COUNT_ACCEPTED], sums.counts[COUNT_SERVED],
             sums.counts[COUNT_HEALTH_CHECKS]);
    text_add(text, ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64, sums.counts[COUNT_BYTES_IN],
             sums.counts[COUNT_BYTES_OUT]);
    add_refused(text, &sums);
    add_health(text, "targets", listener->target);
    add_health(text, "return_path", listener->return_path);
    text_add(text, "}");
}

static void add_tail(struct text *text, const struct history *history)
{
    uint32_t n = history_length(history);

    text_add(text, "],\"history\":[");
    for (uint32_t i = 0; i < n; i++) {
        const struct history_point *point = history_point(history, i);
        text_add(text,
                 "%s[%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]",
                 i > 0 ? "," : "", point->at_s, point->sessions, point->connections, point->refused,
                 point->bytes_in, point->bytes_out);
    }
    text_add(text, "]}\n");
}

size_t metrics_json_next(struct metrics_cursor *cursor, const struct metrics_source *source,
                         char *out)
{
    struct text text = { out, METRICS_PIECE_MAX, 0 };

    if (cursor->part == PART_LISTENERS && cursor->listener == source->board->n_listeners)
        cursor->part = PART_TAIL;
    switch (cursor->part) {
    case PART_HEAD:
        add_head(&text, source);
        cursor->part = PART_LISTENERS;
        break;
    case PART_LISTENERS:
        add_listener(&text, source, cursor->listener++);
        break;
    case PART_TAIL:
        add_tail(&text, source->history);
        cursor->part = PARTS;
        break;
    default:
        break;
    }
    return text.used;
}
