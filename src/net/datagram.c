/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/datagram.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    ROOM = 65536,          /* of one message: more than any datagram has */
    SEGMENTED_MAX = 65000, /* bytes of a message that the kernel cuts into datagrams */
    SEGMENTS_OUT_MAX = 64, /* datagrams in it: older kernels cut no more */
    PARTS = DATAGRAM_BATCH * 4,
};

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
    struct iovec out_parts[PARTS];
    struct control out_controls[DATAGRAM_BATCH];
    unsigned out_counts[DATAGRAM_BATCH]; /* datagrams of each message */
    size_t segment_max;                  /* on this way the kernel cuts into no larger ones */
    uint8_t rooms[DATAGRAM_BATCH][ROOM];
};

/* The fields that the kernel changed for the message before. */
static void make_room(struct datagrams *datagrams, unsigned i)
{
    datagrams->in[i].msg_hdr.msg_namelen = sizeof datagrams->in_peers[i];
    datagrams->in[i].msg_hdr.msg_controllen = sizeof datagrams->in_controls[i];
}

/* Zeroed, and taken from the system only as it is used. */
struct datagrams *datagrams_new(void)
{
    void *memory = mmap(NULL, sizeof(struct datagrams), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;

    struct datagrams *datagrams = memory;
    for (unsigned i = 0; i < DATAGRAM_BATCH; i++) {
        datagrams->in_parts[i] = (struct iovec){ datagrams->rooms[i], ROOM };
        datagrams->in[i].msg_hdr = (struct msghdr){
            .msg_name = &datagrams->in_peers[i],
            .msg_iov = &datagrams->in_parts[i],
            .msg_iovlen = 1,
            .msg_control = &datagrams->in_controls[i],
        };
        make_room(datagrams, i);
    }
    return datagrams;
}

void datagrams_free(struct datagrams *datagrams)
{
    if (datagrams)
        (void)munmap(datagrams, sizeof *datagrams);
}

/* An answer can't leave from a broadcast address: ipi_spec_dst is one of this host instead. */
static void read_local_v4(const struct in_pktinfo *info, struct datagram *out)
{
    struct in_addr local = info->ipi_spec_dst.s_addr != 0 ? info->ipi_spec_dst : info->ipi_addr;

    addr_from_bytes(&out->local, AF_INET, (const uint8_t *)&local, 0);
    out->is_to_many = local.s_addr != info->ipi_addr.s_addr;
}

/* Of a link-local address the interface belongs to it. */
static void read_local_v6(const struct in6_pktinfo *info, struct datagram *out)
{
    out->is_to_many = IN6_IS_ADDR_MULTICAST(&info->ipi6_addr);
    if (out->is_to_many)
        return;
    addr_from_bytes(&out->local, AF_INET6, info->ipi6_addr.s6_addr, 0);
    if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
        out->local.in6.sin6_scope_id = info->ipi6_ifindex;
}

/* *segment: the size of each datagram in a message that has several; else it is left alone. */
static void read_control(struct msghdr *message, struct datagram *out, size_t *segment)
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
            read_local_v4(&value.v4, out);
        } else if (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO) {
            memcpy(&value.v6, CMSG_DATA(each), sizeof value.v6);
            read_local_v6(&value.v6, out);
        } else if (each->cmsg_level == SOL_UDP && each->cmsg_type == UDP_GRO) {
            memcpy(&value.size, CMSG_DATA(each), sizeof value.size);
            if (value.size > 0)
                *segment = (size_t)value.size;
        }
    }
}

/*
 * An empty datagram is one too. No message may have more datagrams than there is room for: a
 * virtual machine makes messages itself.
 */
static void add_message(struct datagrams *datagrams, unsigned i)
{
    struct datagram common = { .peer = datagrams->in_peers[i] };
    size_t len = datagrams->in[i].msg_len;
    unsigned end = datagrams->n + DATAGRAM_SEGMENTS_MAX;
    size_t segment = ROOM;
    size_t at = 0;

    read_control(&datagrams->in[i].msg_hdr, &common, &segment);
    do {
        struct datagram *datagram = &datagrams->all[datagrams->n++];
        *datagram = common;
        datagram->bytes = datagrams->rooms[i] + at;
        datagram->len = len - at < segment ? len - at : segment;
        at += datagram->len;
    } while (at < len && datagrams->n < end);
}

int datagrams_receive(struct datagrams *datagrams, int fd, bool *is_all)
{
    int n;

    datagrams->n = 0;
    do
        n = recvmmsg(fd, datagrams->in, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    *is_all = n < DATAGRAM_BATCH;
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        add_message(datagrams, (unsigned)i);
        make_room(datagrams, (unsigned)i);
    }
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

/* How a message is cut, behind what its control has already. returns: all its bytes. */
static size_t write_segment(struct control *control, size_t used, size_t segment)
{
    struct cmsghdr *header = (struct cmsghdr *)(void *)(control->bytes + used);
    uint16_t size = (uint16_t)segment;

    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(header), &size, sizeof size);
    return used + CMSG_SPACE(sizeof size);
}

/*
 * The kernel passes many datagrams of one size on as one message, the last of which may be
 * shorter, and cuts it where they leave the host or reach their socket. returns: how many of these.
 */
static unsigned fit_together(const struct datagrams *datagrams, unsigned first, unsigned n,
                             size_t prefix)
{
    const struct datagram *all = &datagrams->all[first];
    size_t size = prefix + all[0].len;
    size_t sum = size;
    unsigned count = 1;

    if (size == 0 || size > datagrams->segment_max)
        return 1;
    while (count < n && count < SEGMENTS_OUT_MAX && prefix + all[count - 1].len == size) {
        size_t next = prefix + all[count].len;
        if (next == 0 || next > size || sum + next > SEGMENTED_MAX)
            break;
        sum += next;
        count++;
    }
    return count;
}

static void write_parts(const struct datagrams *datagrams, unsigned first, unsigned count,
                        const struct datagram_way *way, struct msghdr *message)
{
    struct iovec *part = message->msg_iov;

    for (unsigned i = first; i < first + count; i++) {
        /* The kernel only reads what iovec has no const for. */
        if (way->prefix_len > 0)
            *part++ = (struct iovec){ (void *)(uintptr_t)way->prefix, way->prefix_len };
        *part++ = (struct iovec){ datagrams->all[i].bytes, datagrams->all[i].len };
    }
    message->msg_iovlen = (size_t)(part - message->msg_iov);
}

/* As many as there is room for. returns: so many messages. */
static unsigned prepare(struct datagrams *datagrams, unsigned first, unsigned n,
                        const struct datagram_way *way, const struct msghdr *common)
{
    unsigned each = way->prefix_len > 0 ? 2 : 1;
    unsigned room = PARTS / each;
    unsigned i;

    for (i = 0; i < DATAGRAM_BATCH && n > 0 && room > 0; i++) {
        struct msghdr *message = &datagrams->out[i].msg_hdr;
        unsigned count = fit_together(datagrams, first, n < room ? n : room, way->prefix_len);

        *message = *common;
        message->msg_iov = &datagrams->out_parts[PARTS - room * each];
        write_parts(datagrams, first, count, way, message);
        if (count > 1) {
            struct control *control = &datagrams->out_controls[i];
            memcpy(control, common->msg_control, sizeof *control);
            message->msg_control = control;
            message->msg_controllen = write_segment(control, common->msg_controllen,
                                                    way->prefix_len + datagrams->all[first].len);
        }
        datagrams->out_counts[i] = count;
        first += count;
        n -= count;
        room -= count;
    }
    return i;
}

/* A connected socket's error about an earlier datagram, before it takes another. */
static bool is_of_earlier(int error)
{
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH;
}

/* Where the way has no room for segments of that size, or can't be sent to in segments at all. */
static bool is_not_cut(int error)
{
    return error == EINVAL || error == EMSGSIZE || error == EIO;
}

static size_t segment_of(const struct msghdr *message, unsigned count)
{
    size_t size = 0;

    for (size_t i = 0; i < message->msg_iovlen / count; i++)
        size += message->msg_iov[i].iov_len;
    return size;
}

/* So many datagrams of a message were sent. */
static void note_sent(const struct datagrams *datagrams, unsigned first, unsigned count,
                      struct datagram_sent *sent)
{
    sent->n += count;
    for (unsigned i = first; i < first + count; i++)
        sent->len += datagrams->all[i].len;
}

/* returns: how many datagrams are done with: sent, or left out. */
static unsigned send_batch(struct datagrams *datagrams, int fd, unsigned first, unsigned n,
                           struct datagram_sent *sent)
{
    const unsigned *counts = datagrams->out_counts;
    bool may_repeat = true;
    unsigned done = 0;

    for (unsigned i = 0; i < n;) {
        int taken = sendmmsg(fd, datagrams->out + i, n - i, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken > 0) {
            for (; taken > 0; taken--, done += counts[i++])
                note_sent(datagrams, first + done, counts[i], sent);
            may_repeat = true;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (counts[i] > 1 && is_not_cut(errno)) {
            datagrams->segment_max = segment_of(&datagrams->out[i].msg_hdr, counts[i]) - 1;
            break; /* one by one, then */
        }
        sent->error = errno;
        if (!may_repeat || !is_of_earlier(errno))
            done += counts[i++];
        may_repeat = false;
    }
    return done;
}

struct datagram_sent datagrams_send(struct datagrams *datagrams, int fd, unsigned first, unsigned n,
                                    const struct datagram_way *way)
{
    struct control control = { .bytes = { 0 } };
    struct datagram_sent sent = { 0 };
    struct msghdr common = { .msg_control = &control };

    if (way->to) {
        common.msg_name = (void *)(uintptr_t)&way->to->sa;
        common.msg_namelen = addr_len(way->to);
    }
    datagrams->segment_max = SEGMENTED_MAX;
    if (way->from)
        common.msg_controllen = write_source(&control, way->from);
    while (n > 0) {
        unsigned n_messages = prepare(datagrams, first, n, way, &common);
        unsigned done = send_batch(datagrams, fd, first, n_messages, &sent);
        first += done;
        n -= done;
    }
    return sent;
}
