/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter: system call filters (seccomp) from tables that have a reason on every line.
 *
 * A call that a filter does not allow ends the process with SIGSYS, and trap.h notes its number:
 * the kernel's own KILL_PROCESS would not. The call is not carried out in either case. A call of
 * another architecture than the program's is KILL_PROCESS at once.
 */
#ifndef MMPROXY_JAIL_FILTER_H
#define MMPROXY_JAIL_FILTER_H

#include <stddef.h>
#include <stdint.h>

/* Most look at the low 32 bits of an argument, as the kernel does for an int. */
enum filter_test {
    FILTER_ANY,     /* the end of a line's arguments */
    FILTER_IS,      /* the argument is the value */
    FILTER_LACKS,   /* none of the value's bits is set */
    FILTER_HAS,     /* all of the value's bits are set */
    FILTER_ABOVE,   /* the argument, as a whole, is greater */
    FILTER_NULL,    /* the argument, as a whole, is a null pointer */
    FILTER_OWN_PID, /* the argument is the id of the process that loads the filter */
};

struct filter_arg {
    unsigned index; /* from 0 */
    enum filter_test test;
    uint32_t value;
};

enum { FILTER_ARGS_MAX = 3 };

/* One call that is meant, and only with such arguments. */
struct filter_line {
    const char *call;
    const char *why;
    struct filter_arg args[FILTER_ARGS_MAX]; /* all of them hold */
    int error; /* lists of what is denied: refuse with this errno; 0 = end the process */
};

struct filter_table {
    const struct filter_line *lines;
    size_t n;
};

/* The calls of workers and of the exporter. */
struct filter_table filter_common_calls(void);

/* Further calls of a worker, once everything is open. */
struct filter_table filter_worker_calls(void);

/* Further calls of a worker with UDP listeners. */
struct filter_table filter_worker_udp_calls(void);

/* Further calls of the exporter, once it serves. */
struct filter_table filter_exporter_calls(void);

/* Calls that are denied to every process of mmproxy, and to programs that it runs. */
struct filter_table filter_supervisor_calls(void);

/* Further ones, where no listener has the key netns. */
struct filter_table filter_namespace_calls(void);

/*
 * Further calls of sanitizers and gcov in a build that has them in; n is 0 in every other.
 * They open files: such a build is for tests.
 */
struct filter_table filter_instrument_calls(void);

/*
 * Allows what the tables name and nothing else, for ever. Sets no_new_privs.
 * returns: 0, or -errno: EINVAL, ENOSYS (no seccomp here), ENOMEM, ...
 */
int filter_allow(const struct filter_table *tables, size_t n_tables);

/* Denies what the table names, for ever; the same otherwise. */
int filter_deny(const struct filter_table *table);

/*
 * The same, once: a filter that is in force already, because it came along over execve(2), is
 * not loaded again. It is asked itself, by a call that only the filter of this very table
 * answers in its way; nothing that a user sets or says makes it pass for loaded.
 */
int filter_deny_once(const struct filter_table *table);

#endif
