/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one place where a build for tests has a wider jail. CMake defines MMPROXY_INSTRUMENTED
 * for sanitizers and for --coverage, never for a release.
 */
#include "mmproxy/jail/filter.h"

#ifdef MMPROXY_INSTRUMENTED
#include <sys/mman.h>

#define REPORT  "a sanitizer's report: names of functions, its file"
#define LEAKS   "LeakSanitizer at exit: stops the process from a thread and walks its memory"
#define RUNTIME "the sanitizer's own memory and signal stack"

static const struct filter_line lines[] = {
    { .call = "openat", .why = REPORT "; gcov's counts" },
    { .call = "open", .why = REPORT },
    { .call = "read", .why = REPORT },
    { .call = "pread64", .why = REPORT },
    { .call = "lseek", .why = REPORT },
    { .call = "fstat", .why = REPORT },
    { .call = "stat", .why = REPORT },
    { .call = "newfstatat", .why = REPORT },
    { .call = "access", .why = REPORT },
    { .call = "readlink", .why = REPORT },
    { .call = "readlinkat", .why = REPORT },
    { .call = "getcwd", .why = REPORT },
    { .call = "ioctl", .why = REPORT },
    { .call = "mkdir", .why = "gcov's folder" },
    { .call = "fcntl", .why = "gcov locks its file" },
    { .call = "getdents", .why = LEAKS },
    { .call = "getdents64", .why = LEAKS },
    { .call = "clone", .why = LEAKS },
    { .call = "ptrace", .why = LEAKS },
    { .call = "wait4", .why = LEAKS },
    { .call = "prctl", .why = LEAKS },
    { .call = "exit", .why = LEAKS },
    { .call = "kill", .why = LEAKS },
    { .call = "getppid", .why = LEAKS },
    { .call = "sched_yield", .why = LEAKS },
    { .call = "prlimit64", .why = LEAKS },
    { .call = "getrlimit", .why = LEAKS },
    { .call = "rt_sigaction", .why = LEAKS },
    { .call = "rt_sigreturn", .why = LEAKS },
    { .call = "sigaltstack", .why = RUNTIME },
    { .call = "mprotect", .why = RUNTIME },
    { .call = "madvise", .why = RUNTIME },
    { .call = "futex", .why = RUNTIME },
    { .call = "sched_getaffinity", .why = RUNTIME },
    { .call = "getrusage", .why = RUNTIME },
    { .call = "uname", .why = RUNTIME },
};

struct filter_table filter_instrument_calls(void)
{
    return (struct filter_table){ lines, sizeof lines / sizeof *lines };
}
#else
struct filter_table filter_instrument_calls(void)
{
    return (struct filter_table){ 0 };
}
#endif
