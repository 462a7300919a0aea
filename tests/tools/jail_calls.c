/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * jail_calls: what system calls cost without a filter, with the supervisor's, and in a worker's
 * jail. The least of many short rounds: a machine that is busy otherwise disturbs few of them.
 * Needs root.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mmproxy/jail/jail.h"

enum { CALLS = 1000, ROUNDS = 200, STAGES = 3 };

static int tcp_socket;

static void call_getpid(void)
{
    (void)syscall(SYS_getpid);
}

static void call_recv(void)
{
    char byte;

    (void)!recv(tcp_socket, &byte, 1, MSG_DONTWAIT);
}

static void call_setsockopt(void)
{
    int on = 1;

    (void)setsockopt(tcp_socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void call_splice(void)
{
    (void)splice(tcp_socket, NULL, tcp_socket, NULL, 1, SPLICE_F_NONBLOCK);
}

static void call_bind(void)
{
    (void)bind(-1, NULL, 0);
}

static void call_connect(void)
{
    (void)connect(-1, NULL, 0);
}

static const struct {
    const char *name;
    void (*make)(void);
} calls[] = {
    { "getpid", call_getpid },
    { "recv, EAGAIN", call_recv },
    { "setsockopt, TCP_NODELAY", call_setsockopt },
    { "splice, EINVAL", call_splice },
    { "bind, EBADF", call_bind },
    { "connect, EBADF", call_connect },
};

enum { N_CALLS = sizeof calls / sizeof *calls };

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(double out[N_CALLS])
{
    for (size_t i = 0; i < N_CALLS; i++) {
        for (int round = 0; round < ROUNDS; round++) {
            double began = now_ns();
            for (int n = 0; n < CALLS; n++)
                calls[i].make();
            double each = (now_ns() - began) / CALLS;
            if (round == 0 || each < out[i])
                out[i] = each;
        }
    }
}

static int fail(const char *what)
{
    (void)fprintf(stderr, "jail_calls: can't %s\n", what);
    return 1;
}

int main(void)
{
    static _Atomic uint32_t told;
    char user[] = "nobody";
    struct config config = { .sandbox = true, .user = user };
    struct jail_failure failure = { 0 };
    struct jail jail;
    double ns[STAGES][N_CALLS];
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    tcp_socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (out < 0 || tcp_socket < 0)
        return fail("open its descriptors");
    measure(ns[0]);
    if (jail_confine(&failure) < 0 || jail_confine_calls(&failure) < 0)
        return fail(failure.what);
    measure(ns[1]);
    if (jail_plan(&jail, &config, &failure) < 0 || jail_close(&jail, &told, &failure) < 0)
        return fail(failure.what);
    measure(ns[2]);
    for (size_t i = 0; i < N_CALLS; i++) {
        char line[128];
        int len = snprintf(line, sizeof line, "%-24s %5.0f ns, supervisor %5.0f, worker %5.0f\n",
                           calls[i].name, ns[0][i], ns[1][i], ns[2][i]);
        (void)!write(out, line, (size_t)len);
    }
    _exit(0);
}
