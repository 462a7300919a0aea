/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define QUESTION 0x3f3f68636e65626dull
#define ANSWER   0x212168636e65626dull
#define RECORD   0x64636572u

static void fill(uint8_t filling[32], uint64_t serial)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t word = (serial + 1) * 0x9e3779b97f4a7c15u + i;
        memcpy(filling + i * 8, &word, 8);
    }
}

void wire_hello_fill(struct wire_hello *hello, enum wire_work work, uint64_t serial,
                     const struct sockaddr_in *address, bool is_answer)
{
    *hello = (struct wire_hello){
        .magic = is_answer ? ANSWER : QUESTION,
        .serial = serial,
        .work = work,
        .port = ntohs(address->sin_port),
        .address = ntohl(address->sin_addr.s_addr),
    };
    fill(hello->filling, serial);
}

bool wire_hello_is_right(const struct wire_hello *hello, bool is_answer)
{
    uint8_t filling[32];

    fill(filling, hello->serial);
    return hello->magic == (is_answer ? ANSWER : QUESTION) && hello->work >= WIRE_ONCE &&
           hello->work <= WIRE_COUNT && memcmp(hello->filling, filling, sizeof filling) == 0;
}

static size_t write_v1(const struct sockaddr_in *client, const struct sockaddr_in *to,
                       uint8_t header[WIRE_HEADER_MAX])
{
    char source[INET_ADDRSTRLEN];
    char destination[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &client->sin_addr, source, sizeof source);
    inet_ntop(AF_INET, &to->sin_addr, destination, sizeof destination);
    int len = snprintf((char *)header, WIRE_HEADER_MAX, "PROXY TCP4 %s %s %u %u\r\n", source,
                       destination, ntohs(client->sin_port), ntohs(to->sin_port));
    return (size_t)len;
}

static size_t write_v2(const struct sockaddr_in *client, const struct sockaddr_in *to,
                       uint8_t header[WIRE_HEADER_MAX])
{
    /* Signature; version 2, PROXY; TCP over IPv4; 12 bytes of addresses. */
    static const uint8_t start[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
                                     0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c };

    memcpy(header, start, 16);
    memcpy(header + 16, &client->sin_addr, 4);
    memcpy(header + 20, &to->sin_addr, 4);
    memcpy(header + 24, &client->sin_port, 2);
    memcpy(header + 26, &to->sin_port, 2);
    return 28;
}

size_t wire_header_write(enum wire_header version, const struct sockaddr_in *client,
                         const struct sockaddr_in *to, uint8_t header[WIRE_HEADER_MAX])
{
    switch (version) {
    case WIRE_HEADER_V1:
        return write_v1(client, to, header);
    case WIRE_HEADER_V2:
        return write_v2(client, to, header);
    case WIRE_HEADER_NONE:
        break;
    }
    return 0;
}

void wire_record_fill(struct wire_record *record, enum wire_record_type type, uint64_t value)
{
    *record = (struct wire_record){ .magic = RECORD, .type = type, .value = value };
}

bool wire_record_is_right(const struct wire_record *record)
{
    return record->magic == RECORD && record->type >= WIRE_START && record->type <= WIRE_FINISH;
}
