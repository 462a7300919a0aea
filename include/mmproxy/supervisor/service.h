/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * service: notices to the service manager, and sockets from it. Every call does nothing
 * where there is no service manager that listens, or none was built in.
 */
#ifndef MMPROXY_SUPERVISOR_SERVICE_H
#define MMPROXY_SUPERVISOR_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/config/config.h"

/* Is there a service manager? */
bool service_has_manager(void);

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
void service_status(const char *text); /* one line */
void service_watchdog(void);

/* How often service_watchdog is expected, in milliseconds; 0 = not at all. */
uint64_t service_watchdog_interval_ms(void);

/*
 * The listening sockets that were handed over at start, numbered from *first and made
 * non-blocking; the caller owns them. To be called before anything else is opened: not all of
 * them need be open. The second call finds none. returns: how many.
 */
int service_sockets(int *first);

/* Did service_keep_socket put the i-th of them there? */
bool service_is_stored(size_t i);

/* Frees what service_sockets has learnt; for the end. */
void service_close(void);

/* Another process is the main one from now on. */
void service_main_pid(pid_t pid);

/*
 * No notice is sent while this is on: another process is the main one, and a manager
 * logs what it hears from others.
 */
void service_mute(bool on);

/* Does the manager keep descriptors over a restart? */
bool service_has_store(void);

/* Has it keep a copy of a listening socket, so that a restart loses nothing that is queued. */
void service_keep_socket(int fd, enum protocol protocol, const struct addr *addr, unsigned member);

/* ... or of a leash's writing end (leash.h); it goes from there by itself with its last reader. */
void service_keep_leash(int fd);

void service_forget_socket(enum protocol protocol, const struct addr *addr, unsigned member);

#endif
