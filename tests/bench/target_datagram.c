/* SPDX-License-Identifier: BSD-2-Clause */
#include "target_datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"
#include "pattern.h"
#include "wire.h"

enum { BATCH = 32, RECEIVE_BUFFER = 8 << 20 };

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_in from[BATCH];
    uint8_t bytes[BATCH][WIRE_DATAGRAM_MAX + 1];
};

static struct batch in;
static struct mmsghdr out[BATCH];
static uint64_t n_flooded;

int target_datagram_open(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int size = RECEIVE_BUFFER; /* what is lost is lost in the gateway */

    if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        net_fail("a UDP socket at %s: %s", net_text(address), strerror(errno));
    return fd;
}

static int receive(int fd)
{
    for (unsigned i = 0; i < BATCH; i++) {
        in.parts[i] = (struct iovec){ in.bytes[i], sizeof in.bytes[i] };
        in.messages[i].msg_hdr = (struct msghdr){ .msg_name = &in.from[i],
                                                  .msg_namelen = sizeof in.from[i],
                                                  .msg_iov = &in.parts[i],
                                                  .msg_iovlen = 1 };
    }
    return recvmmsg(fd, in.messages, BATCH, MSG_DONTWAIT, NULL);
}

static void check_sender(const struct wire_hello *hello, const struct sockaddr_in *from)
{
    if (hello->address != ntohl(from->sin_addr.s_addr) || hello->port != ntohs(from->sin_port))
        net_fail("a datagram of another client came from %s", net_text(from));
}

/* returns: whether an answer, in the place of the question, is to be sent. */
static bool answer(uint8_t *bytes, size_t len, const struct sockaddr_in *from)
{
    struct wire_hello hello;

    if (len < sizeof hello || len > WIRE_DATAGRAM_MAX)
        net_fail("a datagram of %zu bytes from %s", len, net_text(from));
    memcpy(&hello, bytes, sizeof hello);
    if (!wire_hello_is_right(&hello, false) ||
        !pattern_matches(hello.serial, bytes + sizeof hello, len - sizeof hello, false))
        net_fail("a datagram from %s is wrong", net_text(from));
    if (hello.work == WIRE_FLOOD) {
        check_sender(&hello, from);
        n_flooded++;
        return false;
    }
    wire_hello_fill(&hello, hello.work, hello.work == WIRE_COUNT ? n_flooded : hello.serial, from,
                    true);
    memcpy(bytes, &hello, sizeof hello);
    return true;
}

void target_datagram_run(int fd)
{
    unsigned n_out = 0;
    int n = receive(fd);

    for (int i = 0; i < n; i++) {
        in.parts[i].iov_len = in.messages[i].msg_len;
        if (answer(in.bytes[i], in.messages[i].msg_len, &in.from[i]))
            out[n_out++] = in.messages[i];
    }
    for (unsigned i = 0; i < n_out;) {
        int sent = sendmmsg(fd, out + i, n_out - i, MSG_DONTWAIT);
        i += sent > 0 ? (unsigned)sent : 1; /* one that can't be sent is lost */
    }
}
