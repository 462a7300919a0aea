/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_target ADDRESS:PORT: the service behind the gateway. Says "ready" when it listens,
 * serves until it is killed, and ends with status 1 when bytes that it gets are wrong.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "pattern.h"
#include "stream.h"
#include "target_datagram.h"
#include "wire.h"

enum { EVENTS = 256, ACCEPTS = 64 };

struct connection {
    int fd;
    uint32_t events; /* 0: not in the epoll set */
    struct sockaddr_in client;
    struct wire_hello hello;
    size_t hello_have;
    bool is_stream;
    struct stream_in in;
    struct stream_out out;
};

static int epoll;

static void watch(struct connection *connection, uint32_t events)
{
    if (connection->events == events)
        return;
    net_watch(epoll, connection->fd, events, connection, connection->events == 0);
    connection->events = events;
}

static void on_start(void *owner, uint64_t asked)
{
    struct connection *connection = owner;

    stream_out_begin(&connection->out, asked, NULL);
}

static void on_finish(void *owner)
{
    struct connection *connection = owner;

    stream_out_finish(&connection->out);
    connection->in.every_byte = false; /* the phase that warms up is over */
}

static void begin_stream(struct connection *connection)
{
    connection->is_stream = true;
    connection->in = (struct stream_in){
        .every_byte = true, .on_start = on_start, .on_finish = on_finish, .owner = connection
    };
    connection->out = (struct stream_out){ 0 };
}

/* returns: 1 when the connection is over, else 0; -errno. */
static int answer(struct connection *connection)
{
    struct wire_hello reply;
    enum wire_work work = connection->hello.work;

    if (!wire_hello_is_right(&connection->hello, false))
        net_fail("a message from %s is wrong", net_text(&connection->client));
    wire_hello_fill(&reply, work, connection->hello.serial, &connection->client, true);
    connection->hello_have = 0;
    ssize_t n = send(connection->fd, &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    if (n != sizeof reply)
        return -ENOBUFS; /* the buffer is never that full with one message at a time */
    if (work == WIRE_STREAM)
        begin_stream(connection);
    return work == WIRE_ONCE;
}

static int run_hello(struct connection *connection)
{
    uint8_t *bytes = (uint8_t *)&connection->hello;

    ssize_t n = recv(connection->fd, bytes + connection->hello_have,
                     sizeof connection->hello - connection->hello_have, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (n == 0)
        return 1;
    connection->hello_have += (size_t)n;
    return connection->hello_have == sizeof connection->hello ? answer(connection) : 0;
}

static int run_stream(struct connection *connection, uint32_t ready)
{
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int end = stream_in_run(&connection->in, connection->fd);
        if (end != 0)
            return end;
    }
    int sent = stream_out_run(&connection->out, connection->fd);
    if (sent < 0)
        return sent;
    watch(connection, sent ? EPOLLIN : EPOLLIN | EPOLLOUT);
    return 0;
}

static void run(struct connection *connection, uint32_t ready)
{
    int end = connection->is_stream ? run_stream(connection, ready) : run_hello(connection);

    if (end != 0) {
        close(connection->fd);
        free(connection);
        return;
    }
    if (connection->events == 0)
        watch(connection, EPOLLIN);
}

static void accept_some(int listener)
{
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_in client;
        socklen_t len = sizeof client;
        int fd = accept4(listener, (struct sockaddr *)&client, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        struct connection *connection = fd < 0 ? NULL : malloc(sizeof *connection);
        if (!connection)
            net_fail("accept: %s", strerror(errno));
        *connection = (struct connection){ .fd = fd, .client = client };
        /* Its first bytes are mostly there already. */
        run(connection, EPOLLIN);
    }
}

int main(int argc, char *argv[])
{
    struct epoll_event ready[EVENTS];

    if (argc != 2)
        net_fail("usage: bench_target ADDRESS:PORT");
    struct sockaddr_in address = net_parse(argv[1]);
    int listener = net_listen(&address);
    int datagrams = target_datagram_open(&address);

    pattern_open();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    net_watch(epoll, listener, EPOLLIN, NULL, true);
    net_watch(epoll, datagrams, EPOLLIN, &datagrams, true);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, ready, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            net_fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == &datagrams)
                target_datagram_run(datagrams);
            else if (ready[i].data.ptr)
                run(ready[i].data.ptr, ready[i].events);
            else
                accept_some(listener);
        }
    }
}
