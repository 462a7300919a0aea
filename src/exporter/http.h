/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http: the exporter's HTTP server, on libmicrohttpd, in one thread. Strangers may read slowly,
 * send nonsense or come in hundreds: every request has a deadline, a size and little memory, and
 * where there are too many the oldest goes.
 */
#ifndef EXPORTER_HTTP_H
#define EXPORTER_HTTP_H

#include <stdbool.h>

#include "mmproxy/exporter/metrics.h"

struct http;

/*
 * listen_fd stays the caller's. source must live as long; now_s is set at each request.
 * returns: for http_free, or NULL: no memory or no descriptors.
 */
struct http *http_new(int listen_fd, const struct metrics_source *source);

/* Takes no more connections; those that are there have until http_free. */
void http_leave(struct http *http);

/* Ends all connections; the socket still listens. Takes NULL. */
void http_free(struct http *http);

/* Readable: http_run has something to do. */
int http_fd(const struct http *http);

/* For how long to wait for it: at most max_ms, and not at all while a response is being sent. */
int http_wait_ms(const struct http *http, int max_ms);

/* Never waits. Also to be called once a second: deadlines. */
void http_run(struct http *http);

bool http_is_idle(const struct http *http);

#endif
