/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shim: makes calls into the C library fail, in a running daemon, when a test says so.
 *
 * Preloaded (LD_PRELOAD), with the path of a control file in MMPROXY_FAULTS. The file is mapped
 * by the process that starts and shared by all that it forks; the test writes one rule into it
 * at a time. Without the file, or with no rule in it, every call goes through.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/* tests/e2e/lib/faults.py writes and reads it: seven 32-bit words and a name. */
struct control {
    _Atomic uint32_t is_armed; /* written last, and cleared first */
    uint32_t pid;              /* whose calls; 0 = all processes' but the first one's */
    uint32_t error;            /* errno; 0 = the calls are counted and go through */
    uint32_t skip;             /* calls that go through before the first that fails */
    uint32_t count;            /* calls that fail then; 0 = all */
    _Atomic uint32_t seen;     /* calls of that name since it was armed */
    _Atomic uint32_t failed;   /* of them */
    char call[36];
};

static struct control *control;
static pid_t first_process;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("MMPROXY_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;

    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    first_process = getpid();
    if (map != MAP_FAILED)
        control = map;
}

static bool is_meant(const char *call)
{
    if (!control || !atomic_load(&control->is_armed) || strcmp(control->call, call) != 0)
        return false;
    pid_t pid = getpid();
    return control->pid != 0 ? control->pid == (uint32_t)pid : pid != first_process;
}

/* Is this call to fail? errno is set then, and left alone otherwise. */
static bool fails(const char *call)
{
    if (!is_meant(call))
        return false;
    uint32_t before = atomic_fetch_add(&control->seen, 1);
    if (before < control->skip || control->error == 0)
        return false;
    if (control->count > 0 && before - control->skip >= control->count)
        return false;
    atomic_fetch_add(&control->failed, 1);
    errno = (int)control->error;
    return true;
}

/* The function that this one stands in front of. */
static void find_real(void *function, size_t size, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found)
        abort();
    memcpy(function, &found, size);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): types and lists can't have any. */
#define FAULTY(type, failure, name, parameters, arguments) \
    type name parameters;                                  \
    type name parameters                                   \
    {                                                      \
        static type(*real) parameters;                     \
        if (fails(#name))                                  \
            return failure;                                \
        if (!real)                                         \
            find_real(&real, sizeof real, #name);          \
        return real arguments;                             \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

/* glibc's headers give the socket calls a transparent union where POSIX has a pointer. */
FAULTY(int, -1, socket, (int family, int type, int protocol), (family, type, protocol))
FAULTY(int, -1, bind, (int fd, __CONST_SOCKADDR_ARG addr, socklen_t len), (fd, addr, len))
FAULTY(int, -1, connect, (int fd, __CONST_SOCKADDR_ARG addr, socklen_t len), (fd, addr, len))
FAULTY(int, -1, listen, (int fd, int backlog), (fd, backlog))
FAULTY(int, -1, accept4, (int fd, __SOCKADDR_ARG addr, socklen_t *restrict len, int flags),
       (fd, addr, len, flags))
FAULTY(int, -1, shutdown, (int fd, int how), (fd, how))
FAULTY(int, -1, setsockopt, (int fd, int level, int option, const void *value, socklen_t len),
       (fd, level, option, value, len))
FAULTY(int, -1, getsockopt,
       (int fd, int level, int option, void *restrict value, socklen_t *restrict len),
       (fd, level, option, value, len))
FAULTY(ssize_t, -1, recv, (int fd, void *buffer, size_t len, int flags), (fd, buffer, len, flags))
FAULTY(ssize_t, -1, __recv_chk, (int fd, void *buffer, size_t len, size_t size, int flags),
       (fd, buffer, len, size, flags))
FAULTY(ssize_t, -1, send, (int fd, const void *buffer, size_t len, int flags),
       (fd, buffer, len, flags))
FAULTY(ssize_t, -1, sendto,
       (int fd, const void *buffer, size_t len, int flags, __CONST_SOCKADDR_ARG addr,
        socklen_t addr_len),
       (fd, buffer, len, flags, addr, addr_len))
FAULTY(ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
FAULTY(ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags),
       (fd, message, flags))
FAULTY(ssize_t, -1, splice,
       (int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags),
       (in, in_offset, out, out_offset, len, flags))
FAULTY(int, -1, pipe2, (int ends[2], int flags), (ends, flags))
FAULTY(int, -1, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout_ms),
       (fd, events, n, timeout_ms))
FAULTY(pid_t, -1, fork, (void), ())
FAULTY(int, -1, socketpair, (int family, int type, int protocol, int ends[2]),
       (family, type, protocol, ends))
FAULTY(void *, NULL, malloc, (size_t size), (size))
FAULTY(void *, NULL, calloc, (size_t n, size_t size), (n, size))

int epoll_ctl(int fd, int operation, int watched, struct epoll_event *event)
{
    static int (*real)(int, int, int, struct epoll_event *);

    if (fails("epoll_ctl") || (operation == EPOLL_CTL_ADD && fails("epoll_ctl_add")) ||
        (operation == EPOLL_CTL_MOD && fails("epoll_ctl_mod")))
        return -1;
    if (!real)
        find_real(&real, sizeof real, "epoll_ctl");
    return real(fd, operation, watched, event);
}

/* Freeing by realloc, as libev does, can't fail. */
void *realloc(void *memory, size_t size)
{
    static void *(*real)(void *, size_t);

    if (size > 0 && fails("realloc"))
        return NULL;
    if (!real)
        find_real(&real, sizeof real, "realloc");
    return real(memory, size);
}

void *reallocarray(void *memory, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, bytes);
}

/* All commands that the daemon uses take an int or nothing. */
int fcntl(int fd, int command, ...)
{
    static int (*real)(int, int, ...);
    va_list arguments;

    va_start(arguments, command);
    int argument = va_arg(arguments, int);
    va_end(arguments);
    if (fails("fcntl"))
        return -1;
    if (!real)
        find_real(&real, sizeof real, "fcntl");
    return real(fd, command, argument);
}
