/* SPDX-License-Identifier: BSD-2-Clause */
/* descriptors: all that this process has open. */
#ifndef MMPROXY_JAIL_DESCRIPTORS_H
#define MMPROXY_JAIL_DESCRIPTORS_H

/* Calls see for each of them, which may close it. */
void descriptors_each(void (*see)(int fd, void *context), void *context);

#endif
