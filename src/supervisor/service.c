/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"

#if MMPROXY_SYSTEMD
#include <systemd/sd-daemon.h>

static void notify(const char *state)
{
    (void)sd_notify(0, state);
}
#else
static void notify(const char *state)
{
    (void)state;
}

static int sd_listen_fds(int unset_environment)
{
    (void)unset_environment;
    return 0;
}

static int sd_watchdog_enabled(int unset_environment, uint64_t *usec)
{
    (void)unset_environment;
    *usec = 0;
    return 0;
}

#define SD_LISTEN_FDS_START 3
#endif

void service_ready(void)
{
    notify("READY=1");
}

void service_reloading(void)
{
    char state[64];

    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
    notify(state);
}

void service_stopping(void)
{
    notify("STOPPING=1");
}

void service_status(const char *format, ...)
{
    char state[512] = "STATUS=";
    size_t used = strlen(state);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(state + used, sizeof state - used, format, args);
    va_end(args);
    notify(state);
}

void service_watchdog(void)
{
    notify("WATCHDOG=1");
}

uint64_t service_watchdog_interval_ms(void)
{
    uint64_t usec = 0;

    /* Twice as often as the manager insists on, as it recommends. */
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 2000 : 0;
}

void service_take_sockets(struct sockets *sockets)
{
    int n = sd_listen_fds(1);

    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        int err = sockets_adopt(sockets, fd);
        if (err == 0)
            continue;
        log_warning("[!] descriptor %d from the service manager is no listening TCP socket: %s", fd,
                    strerror(-err));
        close(fd);
    }
}
