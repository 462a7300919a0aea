/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: the load balancer and the clients behind it. What its works have in common.
 *
 * Every connection comes from an address of its own in 127.1.0.0/16, is preceded by a PROXY
 * protocol header that names a client in 198.18.0.0/15, and begins with a hello; the answer
 * says whom the target saw. A wrong answer ends the program: a run that fails has no figures.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "latency.h"
#include "stream.h"
#include "wire.h"

struct options {
    struct sockaddr_in to;
    enum wire_header header;
    bool expect_port; /* the claimed port must have been preserved */
    bool claim;       /* claim a client's address without a header, too: must be found wrong */
    const char *work;
    unsigned connections;
    unsigned beside; /* further connections that are there all the time, and silent */
    double seconds;
    double warm_up; /* seconds */
    uint64_t bytes; /* each way and connection, for the work "hold" */
    size_t size;    /* of a datagram's payload */
};

struct result {
    double seconds;
    uint64_t operations; /* sessions, round trips, or datagrams that have arrived */
    uint64_t lost;       /* datagrams, or answers to them */
    uint64_t bytes_up;
    uint64_t bytes_down;
    struct latency *latency; /* of the operations */
};

/* One connection, before its work begins. */
struct link {
    int fd;
    struct sockaddr_in claimed;
    struct wire_hello hello; /* of the answer that is being read */
    size_t hello_have;
};

struct client {
    const struct options *options;
    int epoll;
    uint64_t n_links; /* opened so far: chooses addresses and serials */
};

/* client_options.c */

/* Ends the program with the usage on stderr where they are wrong. */
void client_options(struct options *options, int argc, char *argv[]);

/* client_link.c */

/* The load balancer and the client of a connection, by its number. */
struct sockaddr_in link_own_address(uint64_t number);
struct sockaddr_in link_client_address(uint64_t number);

/* Opens a connection and sends header and first question. Ends the program on failure. */
void link_open(struct client *client, struct link *link, enum wire_work work);

/* Sends a further question. */
void link_ask(struct link *link, enum wire_work work, uint64_t serial);

/*
 * Reads the answer to the question with that serial and verifies it, the address that the
 * target saw included. returns: whether it is complete; ends the program where it is wrong.
 */
bool link_answered(const struct client *client, struct link *link, uint64_t serial);

/* Reads the end of file. returns: whether it has come. */
bool link_ended(const struct link *link);

/* Opens n connections and waits for every one's first answer (serial 0). Caller frees. */
struct link *link_open_all(struct client *client, unsigned n, enum wire_work work);

/* client_once.c, client_echo.c, client_stream.c, client_datagram.c: works, each a pair. */

struct work {
    const char *name;
    void *(*open)(struct client *client); /* up to a state that can be measured */
    void (*run)(struct client *client, void *state, double seconds, struct result *result);
};

/* Connect, ask, be answered, end: options->connections at a time. */
void *once_open(struct client *client);
void once_run(struct client *client, void *state, double seconds, struct result *result);

/* Ping-pong of 64 bytes on connections that stay. */
void *echo_open(struct client *client);
void echo_run(struct client *client, void *state, double seconds, struct result *result);

/* Streams up, down or both for a time; or options->bytes both ways (hold). */
void *stream_open(struct client *client);
void stream_up(struct client *client, void *state, double seconds, struct result *result);
void stream_down(struct client *client, void *state, double seconds, struct result *result);
void stream_both(struct client *client, void *state, double seconds, struct result *result);
void stream_hold(struct client *client, void *state, double seconds, struct result *result);

/* UDP: ping-pong, a flood that is not answered, sessions that are silent. */
void *datagram_open(struct client *client);
void datagram_echo_run(struct client *client, void *state, double seconds, struct result *result);
void datagram_flood_run(struct client *client, void *state, double seconds, struct result *result);
void datagram_hold_run(struct client *client, void *state, double seconds, struct result *result);

#endif
