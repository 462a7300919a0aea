/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/steer.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    CODE_MAX = 96,
    V2_LEN = 16,
    V2_BEGIN = 0x0d0a0d0a,
    COMMAND = 12, /* of a v2 header: version and command */
    FAMILY = 13,
    V2_INET_DGRAM = 0x12,
    V2_INET6_DGRAM = 0x22,
    SPP_LEN = 38,
    SPP_BEGIN = 0x56ec,
};

/* So that an IPv4 client has the number that its v4-mapped form would have. */
#define V4_MAPPED 0xffffU

/* Spreads what differs in few bits (Knuth's multiplicative hash). */
#define SPREAD 2654435761U

/* In the kernel's classic BPF; offsets count from the payload, or from NET on in the IP header. */
#define NET ((uint32_t)SKF_NET_OFF)

struct program {
    struct sock_filter code[CODE_MAX];
    unsigned short n;
};

static void add(struct program *program, unsigned code, uint32_t k)
{
    assert(program->n < CODE_MAX);
    program->code[program->n++] = (struct sock_filter){ .code = (uint16_t)code, .k = k };
}

/* A = A xor M[0]; M[0] = A. */
static void fold(struct program *program)
{
    add(program, BPF_LDX | BPF_MEM, 0);
    add(program, BPF_ALU | BPF_XOR | BPF_X, 0);
    add(program, BPF_ST, 0);
}

static void begin_program(struct program *program, uint32_t number)
{
    add(program, BPF_LD | BPF_IMM, number);
    add(program, BPF_ST, 0);
}

static void fold_words(struct program *program, uint32_t at, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        add(program, BPF_LD | BPF_W | BPF_ABS, at + 4 * i);
        fold(program);
    }
}

static void choose(struct program *program, unsigned n_members)
{
    add(program, BPF_ALU | BPF_MUL | BPF_K, SPREAD);
    add(program, BPF_ALU | BPF_RSH | BPF_K, 16);
    add(program, BPF_ALU | BPF_MOD | BPF_K, n_members);
    add(program, BPF_RET | BPF_A, 0);
}

/* So many words of an address, and a port. */
static void by_endpoint(struct program *program, uint32_t addr, unsigned n_words, uint32_t port,
                        unsigned n_members)
{
    begin_program(program, n_words == 1 ? V4_MAPPED : 0);
    fold_words(program, addr, n_words);
    add(program, BPF_LD | BPF_H | BPF_ABS, port);
    fold(program);
    choose(program, n_members);
}

static void by_peer(struct program *program, sa_family_t family, unsigned n_members)
{
    if (family == AF_INET6) {
        by_endpoint(program, NET + 8, 4, NET + 40, n_members);
        return;
    }
    begin_program(program, V4_MAPPED);
    fold_words(program, NET + 12, 1);
    add(program, BPF_LDX | BPF_B | BPF_MSH, NET); /* the IP header's length, which varies */
    add(program, BPF_LD | BPF_H | BPF_IND, NET);
    fold(program);
    choose(program, n_members);
}

/* A conditional jump, whose places are filled in by jump_here. */
static unsigned jump(struct program *program, unsigned test, uint32_t value)
{
    add(program, BPF_JMP | test | BPF_K, value);
    return program->n - 1U;
}

static void jump_here(struct program *program, unsigned from, bool if_true)
{
    uint8_t distance = (uint8_t)(program->n - from - 1);

    if (if_true)
        program->code[from].jt = distance;
    else
        program->code[from].jf = distance;
}

/* Peers of direct_subnets put nothing in front. */
static void by_v2(struct program *program, sa_family_t family, unsigned n_members)
{
    add(program, BPF_LD | BPF_W | BPF_LEN, 0);
    unsigned is_long = jump(program, BPF_JGE, V2_LEN);
    add(program, BPF_LD | BPF_W | BPF_ABS, 0);
    unsigned is_v2 = jump(program, BPF_JEQ, V2_BEGIN);
    add(program, BPF_LD | BPF_B | BPF_ABS, COMMAND);
    add(program, BPF_ALU | BPF_AND | BPF_K, 0x0f);
    unsigned is_local = jump(program, BPF_JEQ, 0);
    add(program, BPF_LD | BPF_B | BPF_ABS, FAMILY);
    unsigned is_v4 = jump(program, BPF_JEQ, V2_INET_DGRAM);
    unsigned is_v6 = jump(program, BPF_JEQ, V2_INET6_DGRAM);

    jump_here(program, is_long, false);
    jump_here(program, is_v2, false);
    jump_here(program, is_local, true);
    by_peer(program, family, n_members);
    jump_here(program, is_v4, true);
    by_endpoint(program, 16, 1, 24, n_members);
    jump_here(program, is_v6, true);
    by_endpoint(program, 16, 4, 48, n_members);
}

static void by_spp(struct program *program, sa_family_t family, unsigned n_members)
{
    add(program, BPF_LD | BPF_W | BPF_LEN, 0);
    unsigned is_long = jump(program, BPF_JGE, SPP_LEN);
    add(program, BPF_LD | BPF_H | BPF_ABS, 0);
    unsigned is_spp = jump(program, BPF_JEQ, SPP_BEGIN);

    by_endpoint(program, 2, 4, 34, n_members);
    jump_here(program, is_long, false);
    jump_here(program, is_spp, false);
    by_peer(program, family, n_members);
}

int steer_attach(int fd, sa_family_t family, enum steer_by by, unsigned n_members)
{
    struct program program = { .n = 0 };

    switch (by) {
    case STEER_BY_PEER:
        by_peer(&program, family, n_members);
        break;
    case STEER_BY_V2:
        by_v2(&program, family, n_members);
        break;
    case STEER_BY_SPP:
        by_spp(&program, family, n_members);
        break;
    }
    struct sock_fprog attached;

    memset(&attached, 0, sizeof attached); /* its padding too */
    attached.len = program.n;
    attached.filter = program.code;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached) < 0
               ? -errno
               : 0;
}
