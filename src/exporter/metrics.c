/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/exporter/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "metrics_json.h"
#include "mmproxy/version.h"
#include "text.h"

enum { US_PER_S = 1000000 };

/* The content of one piece. */
struct piece {
    struct text text;
    const struct family *family;
    const struct board *board;
    const struct board_listener *listener; /* NULL: the family has none */
    struct counters_sums sums;             /* of the listener */
    uint32_t descriptors_used;
    bool is_openmetrics;
};

enum family_type { GAUGE, COUNTER, HISTOGRAM, INFO };

struct family {
    const char *name; /* as OpenMetrics has it: a counter's without _total */
    enum family_type type;
    void (*add)(struct piece *piece);
    const char *help;
    bool is_of_listeners;
};

static const char *const family_words[BOARD_FAMILIES] = { "ipv4", "ipv6" };

/* A name with its suffix, and the label that every sample of a listener has. */
static void add_name(struct piece *piece, const char *suffix, const char *labels)
{
    const char *type_suffix = piece->family->type == COUNTER ? "_total"
                              : piece->family->type == INFO  ? "_info"
                                                             : "";

    text_add(&piece->text, "mmproxy_%s%s%s", piece->family->name, type_suffix, suffix);
    if (piece->listener)
        text_add(&piece->text, "{listener=\"%s\"%s%s}", piece->listener->name, labels[0] ? "," : "",
                 labels);
    else if (labels[0])
        text_add(&piece->text, "{%s}", labels);
}

static void add_sample(struct piece *piece, const char *labels, uint64_t value)
{
    add_name(piece, "", labels);
    text_add(&piece->text, " %" PRIu64 "\n", value);
}

/* labels: NAME="WORD" */
static void add_labelled(struct piece *piece, const char *label, const char *word, uint64_t value)
{
    char labels[64];
    struct text text = { labels, sizeof labels, 0 };

    text_add(&text, "%s=\"%s\"", label, word);
    add_sample(piece, labels, value);
}

/* ---- of the process ------------------------------------------------------------------- */

static void add_build(struct piece *piece)
{
    add_labelled(piece, "version", MMPROXY_VERSION, 1);
}

static void add_start_time(struct piece *piece)
{
    add_sample(piece, "", (uint64_t)atomic_load(&piece->board->started_s));
}

static void add_serving(struct piece *piece)
{
    add_sample(piece, "", board_is_serving(piece->board));
}

static void add_generation(struct piece *piece)
{
    add_sample(piece, "", atomic_load(&piece->board->generation));
}

static void add_draining(struct piece *piece)
{
    add_sample(piece, "", atomic_load(&piece->board->draining));
}

static void add_workers(struct piece *piece)
{
    add_sample(piece, "", atomic_load(&piece->board->workers));
}

static void add_reload_success(struct piece *piece)
{
    add_sample(piece, "", !atomic_load(&piece->board->has_failed));
}

static void add_reload_time(struct piece *piece)
{
    add_sample(piece, "", (uint64_t)atomic_load(&piece->board->loaded_s));
}

static void add_descriptors(struct piece *piece)
{
    add_sample(piece, "", piece->descriptors_used);
}

static void add_descriptors_limit(struct piece *piece)
{
    add_sample(piece, "", atomic_load(&piece->board->descriptors_limit));
}

/* ---- of a listener -------------------------------------------------------------------- */

static void add_listener(struct piece *piece)
{
    add_labelled(piece, "protocol", piece->listener->protocol == PROTOCOL_UDP ? "udp" : "tcp", 1);
}

static void add_state(struct piece *piece)
{
    for (unsigned i = 0; i < BOARD_STATES; i++)
        add_labelled(piece, "state", board_state_word((enum board_state)i),
                     atomic_load(&piece->listener->state) == i);
}

static void add_sessions(struct piece *piece)
{
    add_sample(piece, "", piece->sums.sessions);
}

static void add_pending(struct piece *piece)
{
    add_sample(piece, "", piece->sums.pending);
}

static void add_accepted(struct piece *piece)
{
    add_sample(piece, "", piece->sums.counts[COUNT_ACCEPTED]);
}

static void add_served(struct piece *piece)
{
    add_sample(piece, "", piece->sums.counts[COUNT_SERVED]);
}

static void add_health_checks(struct piece *piece)
{
    add_sample(piece, "", piece->sums.counts[COUNT_HEALTH_CHECKS]);
}

static void add_refused(struct piece *piece)
{
    for (unsigned i = REASON_NONE + 1; i < REASONS; i++)
        add_labelled(piece, "reason", reason_word((enum reason)i),
                     piece->sums.counts[COUNT_REFUSED + i]);
}

static void add_bytes(struct piece *piece)
{
    add_labelled(piece, "direction", "in", piece->sums.counts[COUNT_BYTES_IN]);
    add_labelled(piece, "direction", "out", piece->sums.counts[COUNT_BYTES_OUT]);
}

/* Microseconds as seconds, the way OpenMetrics wants a bound written: 0.0001, 2.5, 1.0. */
static void add_seconds(struct text *text, uint64_t us)
{
    char digits[8];
    struct text fraction = { digits, sizeof digits, 0 };

    text_add(&fraction, "%06" PRIu64, us % US_PER_S);
    while (fraction.used > 1 && digits[fraction.used - 1] == '0')
        digits[--fraction.used] = '\0';
    text_add(text, "%" PRIu64 ".%s", us / US_PER_S, digits);
}

static void add_connect_times(struct piece *piece)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++) {
        char label[32];
        struct text text = { label, sizeof label, 0 };
        text_add(&text, "le=\"");
        if (counters_bucket_us(i) == UINT64_MAX)
            text_add(&text, "+Inf");
        else
            add_seconds(&text, counters_bucket_us(i));
        text_add(&text, "\"");
        sum += piece->sums.counts[COUNT_CONNECTS + i];
        add_name(piece, "_bucket", label);
        text_add(&piece->text, " %" PRIu64 "\n", sum);
    }
    add_name(piece, "_sum", "");
    text_add(&piece->text, " ");
    add_seconds(&piece->text, piece->sums.counts[COUNT_CONNECT_US]);
    text_add(&piece->text, "\n");
    add_name(piece, "_count", "");
    text_add(&piece->text, " %" PRIu64 "\n", sum);
}

static void add_health(struct piece *piece, const _Atomic uint8_t *health)
{
    for (unsigned i = 0; i < BOARD_FAMILIES; i++)
        if (atomic_load(&health[i]) != BOARD_UNKNOWN)
            add_labelled(piece, "family", family_words[i], atomic_load(&health[i]) == BOARD_UP);
}

static void add_target(struct piece *piece)
{
    add_health(piece, piece->listener->target);
}

static void add_return_path(struct piece *piece)
{
    add_health(piece, piece->listener->return_path);
}

/* ---- all of them ---------------------------------------------------------------------- */

static const struct family families[] = {
    { "build", INFO, add_build, "The version of mmproxy that runs.", false },
    { "start_time_seconds", GAUGE, add_start_time, "When this process started, in Unix time.",
      false },
    { "serving", GAUGE, add_serving, "Whether a generation accepts connections (1) or not (0).",
      false },
    { "generation", GAUGE, add_generation,
      "The number of the generation that serves; each reload that changes something adds one.",
      false },
    { "generations_draining", GAUGE, add_draining,
      "Generations of before a reload that still have sessions.", false },
    { "workers", GAUGE, add_workers, "Worker processes that accept connections.", false },
    { "last_reload_successful", GAUGE, add_reload_success,
      "Whether the last start or reload took effect (1) or the configuration had mistakes (0).",
      false },
    { "last_reload_timestamp_seconds", GAUGE, add_reload_time,
      "When the last start or reload ended, in Unix time.", false },
    { "descriptors_used", GAUGE, add_descriptors,
      "File descriptors in use in the worker that has most, as of its latest connection.", false },
    { "descriptors_limit", GAUGE, add_descriptors_limit,
      "File descriptors that each worker may have.", false },
    { "listener", INFO, add_listener, "The protocol of each listener.", true },
    { "listener_state", GAUGE, add_state,
      "Whether the listener's ports are open, or why not: 1 for the state that holds, else 0.",
      true },
    { "sessions_active", GAUGE, add_sessions, "Sessions at the moment.", true },
    { "sessions_pending", GAUGE, add_pending,
      "Those of the sessions whose PROXY header is not complete yet.", true },
    { "connections", COUNTER, add_accepted,
      "Connections accepted; over UDP, sessions that were asked for.", true },
    { "sessions", COUNTER, add_served, "Sessions that reached their target.", true },
    { "health_checks", COUNTER, add_health_checks,
      "Connections of a load balancer's health checks.", true },
    { "refused", COUNTER, add_refused,
      "Connections and datagrams that were not served, each under one reason.", true },
    { "bytes", COUNTER, add_bytes, "Bytes relayed to the targets (in) and from them (out).", true },
    { "connect_duration_seconds", HISTOGRAM, add_connect_times,
      "Time that connecting to the target took, of sessions that reached it.", true },
    { "target_up", GAUGE, add_target, "Whether the target answered the last check (1) or not (0).",
      true },
    { "return_path_up", GAUGE, add_return_path,
      "Whether the replies of a target that is up came back here in the last check (1) or not (0).",
      true },
};

enum { FAMILIES = sizeof families / sizeof *families };

static void add_head(struct piece *piece)
{
    static const char *const types[][2] = {
        [GAUGE] = { "gauge", "gauge" },
        [COUNTER] = { "counter", "counter" },
        [HISTOGRAM] = { "histogram", "histogram" },
        [INFO] = { "gauge", "info" },
    };
    const struct family *family = piece->family;
    const char *suffix = "";

    /* Prometheus' own text names what the samples are called, OpenMetrics what they belong to. */
    if (!piece->is_openmetrics && family->type == COUNTER)
        suffix = "_total";
    else if (!piece->is_openmetrics && family->type == INFO)
        suffix = "_info";
    text_add(&piece->text, "# HELP mmproxy_%s%s %s\n# TYPE mmproxy_%s%s %s\n", family->name, suffix,
             family->help, family->name, suffix, types[family->type][piece->is_openmetrics]);
}

/* To the next sample's place. returns: false behind the last one. */
static bool advance(struct metrics_cursor *cursor, size_t n_listeners)
{
    const struct family *family = &families[cursor->part];

    if (!cursor->is_under_way) {
        cursor->is_under_way = true;
        cursor->listener = 0;
    } else {
        cursor->listener++;
    }
    if (cursor->listener < (family->is_of_listeners ? n_listeners : 1))
        return true;
    cursor->part++;
    cursor->is_under_way = false;
    return false;
}

static size_t next_piece(struct metrics_cursor *cursor, const struct metrics_source *source,
                         char *out)
{
    struct piece piece = { .text = { out, METRICS_PIECE_MAX, 0 },
                           .family = &families[cursor->part],
                           .board = source->board,
                           .descriptors_used = source->descriptors_used,
                           .is_openmetrics = cursor->format == METRICS_OPENMETRICS };

    if (!cursor->is_under_way)
        add_head(&piece);
    if (!advance(cursor, source->board->n_listeners))
        return piece.text.used;
    if (piece.family->is_of_listeners) {
        piece.listener = &source->board->listeners[cursor->listener];
        source->sum(source->context, piece.listener->number, &piece.sums);
    }
    piece.family->add(&piece);
    return piece.text.used;
}

static size_t add_end(struct metrics_cursor *cursor, char *out)
{
    struct text text = { out, METRICS_PIECE_MAX, 0 };

    if (cursor->part++ == FAMILIES && cursor->format == METRICS_OPENMETRICS)
        text_add(&text, "# EOF\n");
    return text.used;
}

size_t metrics_next(struct metrics_cursor *cursor, const struct metrics_source *source,
                    char out[METRICS_PIECE_MAX])
{
    size_t n = 0;

    if (cursor->format == METRICS_JSON)
        return metrics_json_next(cursor, source, out);
    while (n == 0 && cursor->part < FAMILIES)
        n = next_piece(cursor, source, out);
    if (n == 0 && cursor->part >= FAMILIES)
        n = add_end(cursor, out);
    assert(n < METRICS_PIECE_MAX - 1);
    return n;
}

const char *metrics_content_type(enum metrics_format format)
{
    static const char *const types[] = {
        [METRICS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
        [METRICS_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
        [METRICS_JSON] = "application/json",
    };

    return types[format];
}
