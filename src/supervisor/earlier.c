/* SPDX-License-Identifier: BSD-2-Clause */
#include "earlier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "commands.h"
#include "mmproxy/supervisor/takeover.h"

static void stop(struct control_client *client)
{
    struct earlier_question *earlier = &client->earlier;

    ev_io_stop(client->supervisor->loop, &earlier->io);
    close(earlier->fd);
    earlier->fd = -1;
    earlier->state = EARLIER_TOLD;
}

/* returns: behind the line's beginning, or NULL: it is of another type. */
static const char *is_of(const char *line, const char *type)
{
    char start[40];
    int n = snprintf(start, sizeof start, "{\"type\":\"%s\"", type);

    return strncmp(line, start, (size_t)n) == 0 ? line + n : NULL;
}

static void take_line(struct control_client *client, const char *line, size_t len)
{
    const char *wanted = client->request.command == REQUEST_STATUS ? "generation" : "session";
    const char *rest;

    if ((rest = is_of(line, "end"))) {
        client->earlier.is_partial = strstr(rest, "\"message\"") != NULL;
        stop(client);
    } else if ((rest = is_of(line, "closed"))) {
        rest += strcspn(rest, "0123456789");
        client->n_closed += strtoull(rest, NULL, 10);
    } else if (is_of(line, wanted)) {
        control_client_add_text(client, line, len);
    }
}

/* Takes the whole lines of what has come. */
static void take_lines(struct control_client *client)
{
    struct earlier_question *earlier = &client->earlier;
    char *end;

    while (earlier->fd >= 0 && (end = memchr(earlier->line, '\n', earlier->n))) {
        size_t len = (size_t)(end - earlier->line) + 1;
        char behind = end[1];
        end[1] = '\0';
        take_line(client, earlier->line, len);
        end[1] = behind;
        memmove(earlier->line, end + 1, earlier->n - len);
        earlier->n -= len;
    }
}

static void on_answer(struct ev_loop *loop, ev_io *io, int revents)
{
    struct control_client *client = io->data;
    struct earlier_question *earlier = &client->earlier;
    size_t room = CLIENT_LINE_MAX - earlier->n;
    ssize_t n = recv(earlier->fd, earlier->line + earlier->n, room, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(revents & EV_ERROR))
        return;
    if (n <= 0) { /* a process that has ended has no sessions left */
        earlier->is_partial = client->supervisor->takeover.sessions > 0;
        stop(client);
    } else {
        earlier->n += (size_t)n;
        take_lines(client);
        if (earlier->n == CLIENT_LINE_MAX && earlier->fd >= 0) {
            earlier->is_partial = true;
            stop(client);
        }
    }
    if (control_client_is_behind(client) && earlier->fd >= 0)
        ev_io_stop(loop, io);
    if (earlier->state == EARLIER_TOLD && !client->is_answered)
        command_run(client);
}

/* returns: 0 or -errno. */
static int ask(struct control_client *client)
{
    struct earlier_question *earlier = &client->earlier;
    const char *end = memchr(client->in, '\n', client->n_in);
    int ends[2];

    if (!end)
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    size_t len = (size_t)(end - client->in) + 1;
    int err = takeover_ask(client->supervisor, ends[1], client->may_change);
    if (err == 0 && send(ends[0], client->in, len, MSG_NOSIGNAL) != (ssize_t)len)
        err = -EIO;
    close(ends[1]);
    if (err < 0) {
        close(ends[0]);
        return err;
    }
    earlier->fd = ends[0];
    ev_io_init(&earlier->io, on_answer, ends[0], EV_READ);
    earlier->io.data = client;
    return 0;
}

bool earlier_has_told(struct control_client *client)
{
    struct earlier_question *earlier = &client->earlier;

    if (earlier->state == EARLIER_UNASKED) {
        bool is_asked = ask(client) == 0;
        earlier->state = is_asked ? EARLIER_ASKED : EARLIER_TOLD;
        earlier->is_partial = !is_asked && client->supervisor->takeover.sessions > 0;
    }
    if (earlier->state == EARLIER_ASKED) /* it waited while the client was behind in reading */
        ev_io_start(client->supervisor->loop, &earlier->io);
    return earlier->state == EARLIER_TOLD;
}

bool earlier_is_asked(const struct control_client *client)
{
    return client->earlier.state == EARLIER_ASKED;
}

void earlier_give_up(struct control_client *client)
{
    client->earlier.is_partial = true;
    stop(client);
    if (!client->is_answered)
        command_run(client);
}
