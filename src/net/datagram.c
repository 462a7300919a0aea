/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/datagram.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { ROOM = 65536 }; /* of one message: more than any datagram has */

/* The options that come and go with a message; each is aligned as the kernel wants it. */
struct control {
    _Alignas(struct cmsghdr)
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

struct datagrams {
    unsigned n;
    struct datagram all[DATAGRAM_BATCH * DATAGRAM_SEGMENTS_MAX];
    struct mmsghdr in[DATAGRAM_BATCH];
    struct iovec in_parts[DATAGRAM_BATCH];
    struct addr in_peers[DATAGRAM_BATCH];
    struct control in_controls[DATAGRAM_BATCH];
    struct mmsghdr out[DATAGRAM_BATCH];
    struct iovec out_parts[DATAGRAM_BATCH][2];
    uint8_t rooms[DATAGRAM_BATCH][ROOM];
};

/* Zeroed, and taken from the system only as it is used. */
struct datagrams *datagrams_new(void)
{
    void *memory = mmap(NULL, sizeof(struct datagrams), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void datagrams_free(struct datagrams *datagrams)
{
    if (datagrams)
        (void)munmap(datagrams, sizeof *datagrams);
}

static void make_room(struct datagrams *datagrams)
{
    for (unsigned i = 0; i < DATAGRAM_BATCH; i++) {
        datagrams->in_parts[i] = (struct iovec){ datagrams->rooms[i], ROOM };
        datagrams->in[i].msg_hdr = (struct msghdr){
            .msg_name = &datagrams->in_peers[i],
            .msg_namelen = sizeof datagrams->in_peers[i],
            .msg_iov = &datagrams->in_parts[i],
            .msg_iovlen = 1,
            .msg_control = &datagrams->in_controls[i],
            .msg_controllen = sizeof datagrams->in_controls[i],
        };
    }
}

/* Of a link-local address the interface belongs to it. */
static void read_local_v6(const struct in6_pktinfo *info, struct addr *out)
{
    addr_from_bytes(out, AF_INET6, info->ipi6_addr.s6_addr, 0);
    if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
        out->in6.sin6_scope_id = info->ipi6_ifindex;
}

/* *segment: the size of each datagram in a message that has several; else it is left alone. */
static void read_control(struct msghdr *message, struct addr *local, size_t *segment)
{
    struct cmsghdr *each;

    for (each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
        union {
            struct in_pktinfo v4;
            struct in6_pktinfo v6;
            int size;
        } value = { .size = 0 };

        if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO) {
            memcpy(&value.v4, CMSG_DATA(each), sizeof value.v4);
            addr_from_bytes(local, AF_INET, (const uint8_t *)&value.v4.ipi_addr, 0);
        } else if (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO) {
            memcpy(&value.v6, CMSG_DATA(each), sizeof value.v6);
            read_local_v6(&value.v6, local);
        } else if (each->cmsg_level == SOL_UDP && each->cmsg_type == UDP_GRO) {
            memcpy(&value.size, CMSG_DATA(each), sizeof value.size);
            if (value.size > 0)
                *segment = (size_t)value.size;
        }
    }
}

/* An empty datagram is one too. */
static void add_message(struct datagrams *datagrams, unsigned i)
{
    struct datagram common = { .peer = datagrams->in_peers[i] };
    size_t len = datagrams->in[i].msg_len;
    size_t segment = ROOM;
    size_t at = 0;

    read_control(&datagrams->in[i].msg_hdr, &common.local, &segment);
    do {
        struct datagram *datagram = &datagrams->all[datagrams->n++];
        *datagram = common;
        datagram->bytes = datagrams->rooms[i] + at;
        datagram->len = len - at < segment ? len - at : segment;
        at += datagram->len;
    } while (at < len && datagrams->n < sizeof datagrams->all / sizeof *datagrams->all);
}

int datagrams_receive(struct datagrams *datagrams, int fd, bool *is_all)
{
    int n;

    datagrams->n = 0;
    make_room(datagrams);
    do
        n = recvmmsg(fd, datagrams->in, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    *is_all = n < DATAGRAM_BATCH;
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    for (int i = 0; i < n; i++)
        add_message(datagrams, (unsigned)i);
    return (int)datagrams->n;
}

struct datagram *datagrams_at(struct datagrams *datagrams, unsigned i)
{
    return &datagrams->all[i];
}

/* returns: bytes of the control message that names the source address. */
static size_t write_source(struct control *control, const struct addr *from)
{
    struct cmsghdr *header = (struct cmsghdr *)(void *)control->bytes;

    if (addr_family(from) == AF_INET) {
        struct in_pktinfo info = { .ipi_spec_dst = from->in.sin_addr };
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(header), &info, sizeof info);
        return CMSG_SPACE(sizeof info);
    }
    struct in6_pktinfo info = { .ipi6_addr = from->in6.sin6_addr,
                                .ipi6_ifindex = from->in6.sin6_scope_id };
    header->cmsg_level = IPPROTO_IPV6;
    header->cmsg_type = IPV6_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(header), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

/* Up to a batch of messages. */
static void prepare(struct datagrams *datagrams, unsigned first, unsigned n,
                    const struct datagram_way *way, const struct msghdr *common)
{
    for (unsigned i = 0; i < n; i++) {
        const struct datagram *datagram = &datagrams->all[first + i];
        struct iovec *parts = datagrams->out_parts[i];
        /* The kernel only reads what iovec has no const for. */
        parts[0] = (struct iovec){ (void *)(uintptr_t)way->prefix, way->prefix_len };
        parts[1] = (struct iovec){ datagram->bytes, datagram->len };
        datagrams->out[i].msg_hdr = *common;
        datagrams->out[i].msg_hdr.msg_iov = way->prefix_len > 0 ? parts : parts + 1;
        datagrams->out[i].msg_hdr.msg_iovlen = way->prefix_len > 0 ? 2 : 1;
    }
}

/* What a connected socket says of an earlier datagram, before it takes another. */
static bool is_of_earlier(int error)
{
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH;
}

static void send_batch(struct datagrams *datagrams, int fd, unsigned first, unsigned n,
                       struct datagram_sent *sent)
{
    bool may_repeat = true;

    for (unsigned i = 0; i < n;) {
        int taken = sendmmsg(fd, datagrams->out + i, n - i, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken > 0) {
            sent->n += (unsigned)taken;
            for (; taken > 0; taken--)
                sent->len += datagrams->all[first + i++].len;
            may_repeat = true;
            continue;
        }
        if (errno == EINTR)
            continue;
        sent->error = errno;
        if (!may_repeat || !is_of_earlier(errno))
            i++;
        may_repeat = false;
    }
}

struct datagram_sent datagrams_send(struct datagrams *datagrams, int fd, unsigned first, unsigned n,
                                    const struct datagram_way *way)
{
    struct control control = { .bytes = { 0 } };
    struct datagram_sent sent = { 0 };
    struct msghdr common = { .msg_name = NULL };

    if (way->to) {
        common.msg_name = (void *)(uintptr_t)&way->to->sa;
        common.msg_namelen = addr_len(way->to);
    }
    if (way->from) {
        common.msg_control = &control;
        common.msg_controllen = write_source(&control, way->from);
    }
    while (n > 0) {
        unsigned batch = n < DATAGRAM_BATCH ? n : DATAGRAM_BATCH;
        prepare(datagrams, first, batch, way, &common);
        send_batch(datagrams, fd, first, batch, &sent);
        first += batch;
        n -= batch;
    }
    return sent;
}
