/* SPDX-License-Identifier: BSD-2-Clause */
#include "http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "mmproxy/base/clock.h"
#include "page.h"

enum {
    VISITS_MAX = 64,         /* connections at once */
    VISIT_MS = 10 * 1000,    /* for everything: request and response */
    IDLE_S = 5,              /* without a byte */
    REQUEST_MAX = 16 * 1024, /* bytes of its head, and of what is kept of its response */
};

/* One connection. */
struct visit {
    TAILQ_ENTRY(visit) link; /* the oldest is first */
    uint64_t since_ms;
    int fd;
    bool is_cut; /* it has been shut down, and its end is about to be heard of */
};

struct http {
    struct MHD_Daemon *daemon;
    const struct metrics_source *source;
    struct MHD_Response *page;
    struct MHD_Response *fine;
    struct MHD_Response *not_serving;
    struct MHD_Response *not_found;
    struct MHD_Response *not_allowed;
    TAILQ_HEAD(, visit) visits;
    unsigned n_uncut;
    int epoll_fd;
};

/* A text that is made while it is sent. */
struct answer {
    struct metrics_source source;
    struct metrics_cursor cursor;
    char piece[METRICS_PIECE_MAX];
    size_t len;
    size_t sent;
};

/* returns: false where there is nothing left. */
static bool has_piece(struct answer *answer)
{
    if (answer->sent < answer->len)
        return true;
    answer->len = metrics_next(&answer->cursor, &answer->source, answer->piece);
    answer->sent = 0;
    return answer->len > 0;
}

static ssize_t read_answer(void *context, uint64_t position, char *out, size_t max)
{
    struct answer *answer = context;
    size_t used = 0;

    (void)position;
    while (used < max && has_piece(answer)) {
        size_t n = answer->len - answer->sent;
        if (n > max - used)
            n = max - used;
        memcpy(out + used, answer->piece + answer->sent, n);
        answer->sent += n;
        used += n;
    }
    return used > 0 ? (ssize_t)used : MHD_CONTENT_READER_END_OF_STREAM;
}

/* Each connection is for one request: none is kept for the next one. */
static struct MHD_Response *with_headers(struct MHD_Response *response, const char *type)
{
    static const char *const headers[][2] = {
        { MHD_HTTP_HEADER_CONNECTION, "close" },
        { MHD_HTTP_HEADER_CACHE_CONTROL, "no-store" },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
    };
    bool is_whole = response && MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                                        type) == MHD_YES;

    for (size_t i = 0; is_whole && i < sizeof headers / sizeof *headers; i++)
        is_whole = MHD_add_response_header(response, headers[i][0], headers[i][1]) == MHD_YES;
    if (response && !is_whole) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static struct MHD_Response *fixed(const char *text, size_t len, const char *type)
{
    return with_headers(
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT),
        type);
}

static struct MHD_Response *plain(const char *text)
{
    return fixed(text, strlen(text), "text/plain; charset=utf-8");
}

static enum MHD_Result give_figures(const struct http *http, struct MHD_Connection *connection,
                                    enum metrics_format format)
{
    struct answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        return MHD_NO;

    answer->source = *http->source;
    answer->source.now_s = time(NULL);
    answer->cursor.format = format;
    struct MHD_Response *made = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, METRICS_PIECE_MAX, read_answer, answer, free);
    if (!made) {
        free(answer);
        return MHD_NO;
    }
    struct MHD_Response *response = with_headers(made, metrics_content_type(format));
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_path(const struct http *http, struct MHD_Connection *connection,
                                   const char *path)
{
    if (strcmp(path, "/metrics") == 0)
        return give_figures(http, connection,
                            metrics_accepted(MHD_lookup_connection_value(
                                connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT)));
    if (strcmp(path, "/status.json") == 0)
        return give_figures(http, connection, METRICS_JSON);
    if (strcmp(path, "/") == 0)
        return MHD_queue_response(connection, MHD_HTTP_OK, http->page);
    if (strcmp(path, "/healthz") != 0)
        return MHD_queue_response(connection, MHD_HTTP_NOT_FOUND, http->not_found);
    return board_is_serving(http->source->board)
               ? MHD_queue_response(connection, MHD_HTTP_OK, http->fine)
               : MHD_queue_response(connection, MHD_HTTP_SERVICE_UNAVAILABLE, http->not_serving);
}

/* At once, before a body: nothing here has a use for one. */
/* NOLINTNEXTLINE(readability-function-size): the library's parameters */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *body, size_t *body_len, void **request)
{
    const struct http *http = context;

    (void)version;
    (void)body;
    (void)body_len;
    (void)request;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return MHD_queue_response(connection, MHD_HTTP_METHOD_NOT_ALLOWED, http->not_allowed);
    return answer_path(http, connection, path);
}

/* The library hears of it as of a peer that leaves. */
static void cut(struct http *http, struct visit *visit)
{
    visit->is_cut = true;
    http->n_uncut--;
    (void)shutdown(visit->fd, SHUT_RDWR);
}

static void begin_visit(struct http *http, struct visit *visit, int fd)
{
    const struct linger none = { 0, 0 };
    struct visit *oldest;

    visit->fd = fd;
    visit->since_ms = clock_now_ms();
    TAILQ_INSERT_TAIL(&http->visits, visit, link);
    /* Listening sockets here are made for sessions, which reset: this one is to end regularly. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    if (++http->n_uncut <= VISITS_MAX)
        return;
    TAILQ_FOREACH (oldest, &http->visits, link) {
        if (!oldest->is_cut) {
            cut(http, oldest);
            return;
        }
    }
}

static void end_visit(struct http *http, struct visit *visit)
{
    if (!visit->is_cut)
        http->n_uncut--;
    TAILQ_REMOVE(&http->visits, visit, link);
    free(visit);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode code)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *own = info ? calloc(1, sizeof(struct visit)) : NULL;
        if (*own)
            begin_visit(context, *own, info->connect_fd);
        else if (info)
            (void)shutdown(info->connect_fd, SHUT_RDWR);
    } else if (*own) {
        end_visit(context, *own);
        *own = NULL;
    }
}

static bool make_responses(struct http *http)
{
    http->page = fixed(page_html, page_html_len, "text/html; charset=utf-8");
    http->fine = plain("ok\n");
    http->not_serving = plain("no generation serves\n");
    http->not_found = plain("not found: there are /, /metrics, /healthz and /status.json\n");
    http->not_allowed = plain("read only: GET and HEAD\n");
    return http->page && http->fine && http->not_serving && http->not_found && http->not_allowed &&
           MHD_add_response_header(http->page, "Content-Security-Policy", page_policy) == MHD_YES &&
           MHD_add_response_header(http->not_allowed, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") ==
               MHD_YES;
}

static bool start(struct http *http, int listen_fd)
{
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, 2U * VISITS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    if (!http->daemon)
        return false;

    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    http->epoll_fd = info ? info->epoll_fd : -1;
    return http->epoll_fd >= 0;
}

struct http *http_new(int listen_fd, const struct metrics_source *source)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return NULL;

    http->source = source;
    TAILQ_INIT(&http->visits);
    if (!make_responses(http) || !start(http, listen_fd)) {
        http_free(http);
        return NULL;
    }
    return http;
}

void http_leave(struct http *http)
{
    (void)MHD_quiesce_daemon(http->daemon);
}

static void forget(struct MHD_Response *response)
{
    if (response)
        MHD_destroy_response(response);
}

void http_free(struct http *http)
{
    if (!http)
        return;
    /* Without this the socket would be shut down, for all processes that have it. */
    if (http->daemon) {
        http_leave(http);
        MHD_stop_daemon(http->daemon);
    }
    forget(http->page);
    forget(http->fine);
    forget(http->not_serving);
    forget(http->not_found);
    forget(http->not_allowed);
    free(http);
}

int http_fd(const struct http *http)
{
    return http->epoll_fd;
}

int http_wait_ms(const struct http *http, int max_ms)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (MHD_get_timeout(http->daemon, &ms) == MHD_YES && ms < (unsigned)max_ms)
        return (int)ms;
    return max_ms;
}

void http_run(struct http *http)
{
    uint64_t now_ms = clock_now_ms();
    struct visit *visit;

    TAILQ_FOREACH (visit, &http->visits, link)
        if (!visit->is_cut && now_ms - visit->since_ms > VISIT_MS)
            cut(http, visit);
    (void)MHD_run(http->daemon);
}

bool http_is_idle(const struct http *http)
{
    return TAILQ_EMPTY(&http->visits);
}
