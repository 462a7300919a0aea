/* SPDX-License-Identifier: BSD-2-Clause */
/* pump_support: a pump between two TCP connections, whose outer ends a test holds. */
#ifndef PUMP_SUPPORT_H
#define PUMP_SUPPORT_H

#include "net_support.h"

#include <linux/tcp.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/pump.h"

enum {
    /* What the pump may hold of a direction whose receiver does not read: a pipe's capacity. */
    PUMP_HOLDS_AT_MOST = 256 * 1024,
    /* A read of that much is one that a bulky stream makes. */
    BULKY_PIECE = 32 * 1024,
};

/* sender → from, pumped to, to → receiver. */
struct rig {
    int sender;
    int from;
    int to;
    int receiver;
    struct pump pump;
    struct pump_pool *pool;
    size_t sent;     /* by the sender */
    size_t received; /* by the receiver, each byte checked */
};

/* The byte at an offset of the stream: a lost or doubled one shifts all that follow. */
static inline uint8_t rig_byte(size_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

static inline void rig_open(struct rig *rig, struct pump_pool *pool, int buffer)
{
    int in[2];
    int out[2];

    support_tcp_pair(in, buffer);
    support_tcp_pair(out, buffer);
    *rig = (struct rig){
        .sender = in[0], .from = in[1], .to = out[0], .receiver = out[1], .pool = pool
    };
    support_set_option(rig->from, SOL_SOCKET, SO_OOBINLINE, 1);
    pump_open(&rig->pump, rig->from, rig->to);
}

/* Ends that a test has closed are -1. */
static inline void rig_close(struct rig *rig)
{
    const int ends[] = { rig->sender, rig->from, rig->to, rig->receiver };

    pump_close(&rig->pump, rig->pool);
    for (size_t i = 0; i < COUNT(ends); i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

/* Sends up to len bytes of the stream. returns: how many were taken. */
static inline size_t rig_send(struct rig *rig, size_t len, int flags)
{
    static uint8_t bytes[64 * 1024];
    size_t n = len < sizeof bytes ? len : sizeof bytes;

    for (size_t i = 0; i < n; i++)
        bytes[i] = rig_byte(rig->sent + i);
    ssize_t taken = send(rig->sender, bytes, n, MSG_NOSIGNAL | flags);
    if (taken < 0)
        assert_int_equal(errno, EAGAIN);
    else
        rig->sent += (size_t)taken;
    return taken < 0 ? 0 : (size_t)taken;
}

/* Receives and checks up to len bytes. returns: how many; SIZE_MAX is the end of file. */
static inline size_t rig_receive(struct rig *rig, size_t len)
{
    static uint8_t bytes[64 * 1024];
    ssize_t n = recv(rig->receiver, bytes, len < sizeof bytes ? len : sizeof bytes, 0);

    if (n < 0)
        assert_int_equal(errno, EAGAIN);
    if (n <= 0)
        return n == 0 ? SIZE_MAX : 0;
    for (size_t i = 0; i < (size_t)n; i++)
        if (bytes[i] != rig_byte(rig->received + i))
            fail_msg("byte %zu is not the one that was sent", rig->received + i);
    rig->received += (size_t)n;
    return (size_t)n;
}

static inline enum pump_wait rig_run(struct rig *rig)
{
    return pump_run(&rig->pump, rig->pool);
}

/* Runs the pump whenever what it waits for is there, until it waits for nothing. */
static inline enum pump_wait rig_run_to_the_end(struct rig *rig)
{
    for (;;) {
        enum pump_wait wait = rig_run(rig);
        if (wait == PUMP_READ)
            support_wait(rig->from, POLLIN);
        else if (wait == PUMP_WRITE)
            support_wait(rig->to, POLLOUT);
        else
            return wait;
    }
}

/* Sends, pumps and receives until total bytes have come out. */
static inline void rig_move(struct rig *rig, size_t total, size_t send_size, size_t receive_size)
{
    while (rig->received < total) {
        size_t left = total - rig->sent;
        if (left > 0)
            (void)rig_send(rig, left < send_size ? left : send_size, 0);
        enum pump_wait wait = rig_run(rig);
        assert_true(wait == PUMP_READ || wait == PUMP_WRITE);
        if (rig_receive(rig, receive_size) == 0 && rig->sent == total)
            support_wait(wait == PUMP_READ && rig->pump.bytes < total ? rig->from : rig->receiver,
                         POLLIN);
    }
}

static inline struct tcp_info support_tcp_info(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;

    assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
    return info;
}

static inline size_t support_unread(int fd)
{
    int unread = 0;

    assert_return_code(ioctl(fd, FIONREAD, &unread), errno);
    return (size_t)unread;
}

/*
 * Sends and pumps, without receiving, until the receiver's window is closed and the sender's and
 * the pump's sockets are full. returns: what is waited for.
 */
static inline enum pump_wait rig_fill(struct rig *rig)
{
    for (int ms = 0; ms < SUPPORT_DEADLINE_MS; ms++) {
        size_t before = rig->sent + rig->pump.bytes;
        while (rig_send(rig, 64 * 1024, 0) > 0)
            ;
        enum pump_wait wait = rig_run(rig);
        if (rig->sent + rig->pump.bytes > before)
            continue;
        if (wait != PUMP_READ && support_tcp_info(rig->to).tcpi_snd_wnd == 0)
            return wait;
        /* Bytes are on their way, and acknowledgements: not before a timer, with some kernels. */
        poll(NULL, 0, 1);
    }
    fail_msg("the receiver's window stays open");
    return PUMP_READ;
}

/*
 * As rig_move, in pieces that prove that the stream is bulky: the kernel delivers what is sent in
 * pieces of its own choice, so each is waited for before the pump runs.
 */
static inline void rig_move_in_bulk(struct rig *rig, size_t pieces)
{
    for (size_t i = 0; i < pieces; i++) {
        size_t sent = 0;
        while (sent < BULKY_PIECE)
            sent += rig_send(rig, BULKY_PIECE - sent, 0);
        for (int ms = 0; support_unread(rig->from) < BULKY_PIECE; ms++) {
            assert_true(ms < SUPPORT_DEADLINE_MS);
            poll(NULL, 0, 1);
        }
        rig_move(rig, rig->sent, 1, 64 * 1024);
    }
}

/* Bytes that the pump has read and not delivered. */
static inline size_t rig_held(const struct rig *rig)
{
    size_t unread;
    size_t arrived;

    do { /* until nothing has arrived between the two questions */
        unread = support_unread(rig->from);
        arrived = support_tcp_info(rig->from).tcpi_bytes_received;
    } while (support_unread(rig->from) != unread);
    return arrived - unread - rig->pump.bytes;
}

#endif
