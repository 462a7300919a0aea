/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * service: what the service manager is told, and what it hands over. Every call does nothing
 * where there is no service manager that listens, or none was built in.
 */
#ifndef MMPROXY_SUPERVISOR_SERVICE_H
#define MMPROXY_SUPERVISOR_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "mmproxy/supervisor/sockets.h"

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
void service_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void service_watchdog(void);

/* How often service_watchdog is expected, in milliseconds; 0 = not at all. */
uint64_t service_watchdog_interval_ms(void);

/* Takes the sockets that were handed over. Useless ones are closed and told in the log. */
void service_take_sockets(struct sockets *sockets);

#endif
