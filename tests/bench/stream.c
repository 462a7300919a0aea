/* SPDX-License-Identifier: BSD-2-Clause */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "net.h"
#include "pattern.h"

enum { DATA_MAX = 1024 * 1024, SHARE = 1024 * 1024 };

void stream_out_begin(struct stream_out *out, uint64_t limit, const uint64_t *asked_back)
{
    out->limit = limit;
    out->sent = 0;
    out->asked_back = asked_back ? *asked_back : 0;
    out->start_due = asked_back != NULL;
    out->is_active = true;
    out->finish_asked = false;
}

void stream_out_finish(struct stream_out *out)
{
    out->finish_asked = true;
}

static bool has_data(const struct stream_out *out)
{
    if (out->limit == STREAM_UNLIMITED)
        return !out->finish_asked;
    return out->sent < out->limit;
}

static void begin_record(struct stream_out *out, enum wire_record_type type, uint64_t value)
{
    wire_record_fill(&out->record, type, value);
    out->record_left = sizeof out->record;
}

/* returns: whether there is one to be sent now. */
static bool next_record(struct stream_out *out)
{
    if (!out->is_active)
        return false;
    if (out->start_due) {
        out->start_due = false;
        begin_record(out, WIRE_START, out->asked_back);
    } else if (has_data(out)) {
        uint64_t left = out->limit - out->sent;
        out->data_left = left < DATA_MAX ? left : DATA_MAX;
        out->sent += out->data_left;
        begin_record(out, WIRE_DATA, out->data_left);
    } else if (out->finish_asked) {
        begin_record(out, WIRE_FINISH, out->sent);
        out->is_active = false;
    } else {
        return false;
    }
    return true;
}

static void account(struct stream_out *out, size_t n)
{
    size_t of_record = n < out->record_left ? n : out->record_left;

    out->record_left -= of_record;
    out->data_left -= n - of_record;
    out->position += n - of_record;
}

int stream_out_run(struct stream_out *out, int fd)
{
    for (size_t share = 0; share < SHARE;) {
        if (out->record_left == 0 && out->data_left == 0 && !next_record(out))
            return 1;

        size_t len = out->data_left < PATTERN_RUN ? (size_t)out->data_left : PATTERN_RUN;
        const uint8_t *record = (const uint8_t *)&out->record;
        struct iovec parts[] = {
            { .iov_base = (void *)(uintptr_t)(record + sizeof out->record - out->record_left),
              .iov_len = out->record_left },
            { .iov_base = (void *)(uintptr_t)pattern_at(out->position), .iov_len = len },
        };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        account(out, (size_t)n);
        share += (size_t)n;
    }
    return 0;
}

static void take_record(struct stream_in *in)
{
    const struct wire_record *record = &in->record;

    if (!wire_record_is_right(record))
        net_fail("a record's bytes are wrong");
    switch ((enum wire_record_type)record->type) {
    case WIRE_START:
        if (!in->on_start)
            net_fail("a record that only the client may send");
        in->received = 0;
        in->on_start(in->owner, record->value);
        break;
    case WIRE_DATA:
        in->data_left = record->value;
        break;
    case WIRE_FINISH:
        if (record->value != in->received)
            net_fail("%" PRIu64 " bytes were sent, %" PRIu64 " have arrived", record->value,
                     in->received);
        in->on_finish(in->owner);
        break;
    }
}

static size_t feed_record(struct stream_in *in, const uint8_t *bytes, size_t len)
{
    size_t missing = sizeof in->record - in->record_have;
    size_t n = len < missing ? len : missing;

    memcpy((uint8_t *)&in->record + in->record_have, bytes, n);
    in->record_have += n;
    if (in->record_have == sizeof in->record) {
        in->record_have = 0;
        take_record(in);
    }
    return n;
}

static size_t feed_data(struct stream_in *in, const uint8_t *bytes, size_t len)
{
    size_t n = len < in->data_left ? len : (size_t)in->data_left;

    if (!pattern_matches(in->position, bytes, n, in->every_byte))
        net_fail("bytes are wrong within the %zu from position %" PRIu64, n, in->position);
    in->position += n;
    in->received += n;
    in->data_left -= n;
    return n;
}

static void feed(struct stream_in *in, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t n = in->data_left > 0 ? feed_data(in, bytes, len) : feed_record(in, bytes, len);
        bytes += n;
        len -= n;
    }
}

int stream_in_run(struct stream_in *in, int fd)
{
    static uint8_t buffer[PATTERN_RUN];

    for (size_t share = 0; share < SHARE;) {
        ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (n == 0)
            return 1;
        feed(in, buffer, (size_t)n);
        share += (size_t)n;
        if ((size_t)n < sizeof buffer)
            return 0;
    }
    return 0;
}
