/* SPDX-License-Identifier: BSD-2-Clause */
/* The figures as text and JSON, from a board and sums that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/exporter/metrics.h"
#include "mmproxy/version.h"

static char text[1 << 20];

/* Listener N has N + 1 sessions, and so on. */
static void sum(const void *context, unsigned number, struct counters_sums *out)
{
    (void)context;
    *out = (struct counters_sums){ .sessions = number + 1, .pending = number };
    for (unsigned i = 0; i < COUNTS; i++)
        out->counts[i] = 100 * (number + 1) + i;
    out->counts[COUNT_CONNECT_US] = 2500001;
}

static struct board *a_board(size_t n)
{
    struct board *board = board_new(n);

    assert_non_null(board);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(board->listeners[i].name, sizeof board->listeners[i].name, "l%u", i);
        board->listeners[i].number = i;
    }
    board->n_serving = n;
    atomic_store(&board->generation, 7);
    atomic_store(&board->workers, 2);
    atomic_store(&board->started_s, 1000);
    atomic_store(&board->loaded_s, 2000);
    atomic_store(&board->descriptors_limit, 1024);
    return board;
}

static const char *render(const struct board *board, enum metrics_format format)
{
    static struct history history;
    const struct metrics_source source = {
        .board = board, .history = &history, .sum = sum, .now_s = 3000
    };
    struct metrics_cursor cursor = { .format = format };
    size_t used = 0;
    size_t n;

    history = (struct history){ .n = 0 };
    history_add(&history, &(struct history_point){ 2995, 1, 2, 3, 4, 5 });
    while ((n = metrics_next(&cursor, &source, text + used)) > 0) {
        assert_true(n < METRICS_PIECE_MAX);
        assert_int_equal(strlen(text + used), n);
        used += n;
        assert_true(used + METRICS_PIECE_MAX < sizeof text);
    }
    assert_int_equal(metrics_next(&cursor, &source, text + used), 0);
    text[used] = '\0';
    return text;
}

static void expect(const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("no \"%s\" in:\n%s", wanted, text);
}

static void expect_no(const char *unwanted)
{
    if (strstr(text, unwanted))
        fail_msg("\"%s\" in:\n%s", unwanted, text);
}

static unsigned count(const char *wanted)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, wanted)); at++)
        n++;
    return n;
}

static void each_listener_has_its_own_samples_under_one_heading(void **state)
{
    struct board *board = a_board(2);

    (void)state;
    render(board, METRICS_TEXT);
    expect("# TYPE mmproxy_sessions_active gauge\n"
           "mmproxy_sessions_active{listener=\"l0\"} 1\n"
           "mmproxy_sessions_active{listener=\"l1\"} 2\n# HELP");
    expect("# TYPE mmproxy_connections_total counter\n"
           "mmproxy_connections_total{listener=\"l0\"} 100\n"
           "mmproxy_connections_total{listener=\"l1\"} 200\n");
    expect("mmproxy_bytes_total{listener=\"l1\",direction=\"in\"} 203\n"
           "mmproxy_bytes_total{listener=\"l1\",direction=\"out\"} 204\n");
    expect("mmproxy_build_info{version=\"" MMPROXY_VERSION "\"} 1\n");
    expect("\nmmproxy_generation 7\n");
    expect("\nmmproxy_last_reload_successful 1\n");
    board_free(board);
}

static void every_reason_has_a_sample(void **state)
{
    struct board *board = a_board(1);
    char wanted[96];

    (void)state;
    render(board, METRICS_TEXT);
    for (unsigned i = REASON_NONE + 1; i < REASONS; i++) {
        (void)snprintf(wanted, sizeof wanted,
                       "mmproxy_refused_total{listener=\"l0\",reason=\"%s\"} %u\n",
                       reason_word((enum reason)i), 100 + COUNT_REFUSED + i);
        expect(wanted);
    }
    assert_int_equal(count("mmproxy_refused_total{"), REASONS - 1);
    board_free(board);
}

static void the_histogram_adds_up(void **state)
{
    struct board *board = a_board(1);
    unsigned sum_of_all = 0;
    char wanted[96];

    (void)state;
    render(board, METRICS_TEXT);
    for (unsigned i = 0; i < COUNTERS_BUCKETS; i++)
        sum_of_all += 100 + COUNT_CONNECTS + i;
    expect("_bucket{listener=\"l0\",le=\"0.0001\"} 106\n");
    expect("_bucket{listener=\"l0\",le=\"0.00025\"} 213\n");
    expect(",le=\"1.0\"} ");
    expect(",le=\"2.5\"} ");
    (void)snprintf(wanted, sizeof wanted, "_bucket{listener=\"l0\",le=\"+Inf\"} %u\n", sum_of_all);
    expect(wanted);
    (void)snprintf(wanted, sizeof wanted, "_seconds_count{listener=\"l0\"} %u\n", sum_of_all);
    expect(wanted);
    expect("_seconds_sum{listener=\"l0\"} 2.500001\n");
    board_free(board);
}

static void openmetrics_names_families_and_ends(void **state)
{
    struct board *board = a_board(1);

    (void)state;
    render(board, METRICS_OPENMETRICS);
    expect("# TYPE mmproxy_connections counter\nmmproxy_connections_total{");
    expect("# TYPE mmproxy_build info\nmmproxy_build_info{");
    assert_string_equal(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
    render(board, METRICS_TEXT);
    expect_no("EOF");
    expect("# TYPE mmproxy_build_info gauge\n");
    board_free(board);
}

static void what_is_not_known_of_a_target_has_no_sample(void **state)
{
    struct board *board = a_board(1);

    (void)state;
    atomic_store(&board->listeners[0].target[BOARD_V6], BOARD_DOWN);
    render(board, METRICS_TEXT);
    expect("mmproxy_target_up{listener=\"l0\",family=\"ipv6\"} 0\n");
    expect_no("family=\"ipv4\"");
    expect_no("mmproxy_return_path_up{");
    atomic_store(&board->listeners[0].target[BOARD_V4], BOARD_UP);
    atomic_store(&board->listeners[0].return_path[BOARD_V4], BOARD_DOWN);
    render(board, METRICS_TEXT);
    expect("mmproxy_target_up{listener=\"l0\",family=\"ipv4\"} 1\n");
    expect("mmproxy_return_path_up{listener=\"l0\",family=\"ipv4\"} 0\n");
    board_free(board);
}

static void without_listeners_there_is_a_text_all_the_same(void **state)
{
    struct board *board = a_board(0);

    (void)state;
    render(board, METRICS_OPENMETRICS);
    expect("# TYPE mmproxy_refused counter\n");
    expect("\nmmproxy_serving 1\n");
    render(board, METRICS_JSON);
    expect("\"listeners\":[],");
    board_free(board);
}

static void a_generation_serves_while_a_worker_does(void **state)
{
    struct board *board = a_board(1);

    (void)state;
    assert_true(board_is_serving(board));
    atomic_store(&board->workers, 0);
    assert_false(board_is_serving(board));
    board->n_serving = 0;
    assert_true(board_is_serving(board));
    atomic_store(&board->generation, 0);
    assert_false(board_is_serving(board));
    board_free(board);
}

static void the_document_has_it_all(void **state)
{
    struct board *board = a_board(2);

    (void)state;
    board->n_serving = 1;
    board->listeners[1].protocol = PROTOCOL_UDP;
    atomic_store(&board->has_failed, true);
    atomic_store(&board->listeners[0].target[BOARD_V4], BOARD_UP);
    render(board, METRICS_JSON);
    expect("{\"version\":\"" MMPROXY_VERSION "\",\"now\":3000,\"started\":1000,\"serving\":true,");
    expect("\"reload\":{\"successful\":false,\"at\":2000}");
    expect("{\"name\":\"l0\",\"protocol\":\"tcp\",\"state\":\"open\",\"draining\":false,"
           "\"sessions\":1,");
    expect(",{\"name\":\"l1\",\"protocol\":\"udp\",\"state\":\"open\",\"draining\":true,"
           "\"sessions\":2,");
    expect("\"targets\":{\"ipv4\":\"up\",\"ipv6\":null}");
    expect("\"history\":[[2995,1,2,3,4,5]]}\n");
    board_free(board);
}

static void the_longest_pieces_fit(void **state)
{
    struct board *board = a_board(1);
    struct history history = { .n = 0 };
    const struct history_point longest = { INT64_MIN,  UINT64_MAX, UINT64_MAX,
                                           UINT64_MAX, UINT64_MAX, UINT64_MAX };
    const struct metrics_source source = { .board = board, .history = &history, .sum = sum };
    struct metrics_cursor cursor = { .format = METRICS_JSON };
    size_t n;

    (void)state;
    memset(board->listeners[0].name, 'x', LISTENER_NAME_MAX);
    for (unsigned i = 0; i < 2 * HISTORY_MAX; i++)
        history_add(&history, &longest);
    while ((n = metrics_next(&cursor, &source, text)) > 0)
        assert_true(n < METRICS_PIECE_MAX - 1);
    render(board, METRICS_TEXT);
    board_free(board);
}

static void the_history_keeps_the_last_points(void **state)
{
    struct history history = { .n = 0 };

    (void)state;
    assert_int_equal(history_length(&history), 0);
    for (int64_t i = 0; i < HISTORY_MAX + 5; i++)
        history_add(&history, &(struct history_point){ .at_s = i });
    assert_int_equal(history_length(&history), HISTORY_MAX);
    assert_int_equal(history_point(&history, 0)->at_s, 5);
    assert_int_equal(history_point(&history, HISTORY_MAX - 1)->at_s, HISTORY_MAX + 4);
}

static void accept_chooses_the_format(void **state)
{
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
        { NULL, METRICS_TEXT },
        { "", METRICS_TEXT },
        { "*/*", METRICS_TEXT },
        { "text/html,application/xhtml+xml,*/*;q=0.8", METRICS_TEXT },
        { "application/openmetrics-text", METRICS_OPENMETRICS },
        { "application/openmetrics-text; version=1.0.0; charset=utf-8", METRICS_OPENMETRICS },
        { "Application/OpenMetrics-Text;Version=\"1.0.0\"", METRICS_OPENMETRICS },
        { "application/openmetrics-text;version=0.0.1", METRICS_TEXT },
        { "application/openmetrics-text;version=2.0.0,*/*;q=0.1", METRICS_TEXT },
        { "application/openmetrics-text;q=0", METRICS_TEXT },
        { "application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.75", METRICS_TEXT },
        { "application/openmetrics-text;q=0.75,text/plain;version=0.0.4;q=0.5",
          METRICS_OPENMETRICS },
        { "application/openmetrics-text;q=0.75 , */*", METRICS_TEXT },
        { ",,;;,q=1,application/openmetrics-text", METRICS_OPENMETRICS },
        /* What Prometheus 2.42 sends. */
        { "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
          "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
          METRICS_OPENMETRICS },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (metrics_accepted(cases[i].accept) != cases[i].format)
            fail_msg("%s", cases[i].accept ? cases[i].accept : "NULL");
}

/* The manual page of the metrics names each of them. */
static void every_metric_is_in_the_documents(void **state)
{
    static char document[64 * 1024];
    struct board *board = a_board(1);
    FILE *file = fopen("../../docs/metrics.md", "r");

    (void)state;
    assert_non_null(file);
    size_t n = fread(document, 1, sizeof document - 1, file);
    fclose(file);
    document[n] = '\0';
    render(board, METRICS_TEXT);
    for (const char *at = text; (at = strstr(at, "# TYPE ")); at++) {
        char wanted[128];
        int length = (int)strcspn(at + strlen("# TYPE "), " ");
        (void)snprintf(wanted, sizeof wanted, "| `%.*s` |", length, at + strlen("# TYPE "));
        if (!strstr(document, wanted))
            fail_msg("docs/metrics.md does not have %s", wanted);
    }
    board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_listener_has_its_own_samples_under_one_heading),
        cmocka_unit_test(every_reason_has_a_sample),
        cmocka_unit_test(the_histogram_adds_up),
        cmocka_unit_test(openmetrics_names_families_and_ends),
        cmocka_unit_test(what_is_not_known_of_a_target_has_no_sample),
        cmocka_unit_test(without_listeners_there_is_a_text_all_the_same),
        cmocka_unit_test(a_generation_serves_while_a_worker_does),
        cmocka_unit_test(the_document_has_it_all),
        cmocka_unit_test(the_longest_pieces_fit),
        cmocka_unit_test(the_history_keeps_the_last_points),
        cmocka_unit_test(accept_chooses_the_format),
        cmocka_unit_test(every_metric_is_in_the_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
