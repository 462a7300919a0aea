/* SPDX-License-Identifier: BSD-2-Clause */
/* unixdiag: the abstract Unix sockets of this network namespace, and their owners. */
#ifndef MMPROXY_ROUTING_KERNEL_UNIXDIAG_H
#define MMPROXY_ROUTING_KERNEL_UNIXDIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { UNIXDIAG_NAME_LEN = 108 };

struct unixdiag_socket {
    char name[UNIXDIAG_NAME_LEN]; /* without the leading zero byte */
    uid_t owner;
    bool is_known; /* false at first; the caller's */
};

/* All zero is empty. */
struct unixdiag {
    struct unixdiag_socket *items; /* owned */
    size_t n_items;
};

/*
 * Appends the sockets whose name begins with prefix. Needs no privilege. It may miss one while
 * others come and go. returns: 0, or -errno; a kernel without CONFIG_UNIX_DIAG lists none.
 */
int unixdiag_read(struct unixdiag *list, const char *prefix);
void unixdiag_close(struct unixdiag *list);

#endif
