/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire: what client and target say to each other. Both run on one machine: host byte order.
 *
 * A connection begins with a hello, which names the work and the address that the client
 * claims to have; the target answers with a hello that names the address it saw instead.
 * Then, by work: the target closes (ONCE); every further hello is answered (ECHO); or both
 * directions carry records (STREAM, see stream.h).
 *
 * A datagram is such a hello, and bytes of the pattern (pattern.h) from its serial on up to its
 * size. FLOOD is not answered; COUNT is answered with the number of those, as the serial.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_work { WIRE_ONCE = 1, WIRE_ECHO, WIRE_STREAM, WIRE_FLOOD, WIRE_COUNT };

enum { WIRE_DATAGRAM_MAX = 1400 };

struct wire_hello {
    uint64_t magic;
    uint64_t serial; /* of the message; the answer has the same */
    uint32_t work;
    uint32_t port;    /* host byte order */
    uint32_t address; /* host byte order */
    uint32_t reserved;
    uint8_t filling[32]; /* depends on serial */
};

/* One message; what ping-pong is played with. */
_Static_assert(sizeof(struct wire_hello) == 64, "a message is 64 bytes");

enum wire_header { WIRE_HEADER_NONE, WIRE_HEADER_V1, WIRE_HEADER_V2 };
enum { WIRE_HEADER_MAX = 107 };

/* A question (is_answer false) or an answer, complete. */
void wire_hello_fill(struct wire_hello *hello, enum wire_work work, uint64_t serial,
                     const struct sockaddr_in *address, bool is_answer);

/* Is it a whole one of that kind, filling included? */
bool wire_hello_is_right(const struct wire_hello *hello, bool is_answer);

/* Writes the PROXY protocol header. returns: its bytes, 0 for WIRE_HEADER_NONE. */
size_t wire_header_write(enum wire_header version, const struct sockaddr_in *client,
                         const struct sockaddr_in *to, uint8_t header[WIRE_HEADER_MAX]);

enum wire_record_type {
    WIRE_START = 1, /* client to target: send value bytes (UINT64_MAX: until FINISH) */
    WIRE_DATA,      /* value bytes of the pattern follow */
    WIRE_FINISH,    /* that is all; value is the sum of all DATA since START */
};

struct wire_record {
    uint32_t magic;
    uint32_t type;
    uint64_t value;
};

void wire_record_fill(struct wire_record *record, enum wire_record_type type, uint64_t value);
bool wire_record_is_right(const struct wire_record *record);

#endif
