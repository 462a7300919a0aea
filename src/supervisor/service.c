/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/clock.h"

#if MMPROXY_SYSTEMD
#include <systemd/sd-daemon.h>

static void notify(const char *state)
{
    (void)sd_notify(0, state);
}

static bool notify_with_fd(const char *state, int fd)
{
    return sd_pid_notify_with_fds(0, 0, state, &fd, 1) > 0;
}
#else
static void notify(const char *state)
{
    (void)state;
}

static bool notify_with_fd(const char *state, int fd)
{
    (void)state;
    (void)fd;
    return false;
}

static int sd_listen_fds_with_names(int unset_environment, char ***names)
{
    (void)unset_environment;
    *names = NULL;
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

void service_status(const char *text)
{
    char state[1024];

    (void)snprintf(state, sizeof state, "STATUS=%s", text);
    notify(state);
}

bool service_has_manager(void)
{
    return getenv("NOTIFY_SOCKET") != NULL;
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

/* What our names in the store begin with; those of socket units are units' names. */
#define STORE_PREFIX "mmproxy-"

enum { STORE_NAME_LEN = ADDR_STRLEN + sizeof STORE_PREFIX };

static char **names;

bool service_is_stored(size_t i)
{
    return names && strncmp(names[i], STORE_PREFIX, strlen(STORE_PREFIX)) == 0;
}

void service_close(void)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
    names = NULL;
}

int service_sockets(int *first)
{
    int n = sd_listen_fds_with_names(1, &names);

    *first = SD_LISTEN_FDS_START;
    for (int fd = *first; fd < *first + n; fd++)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return n > 0 ? n : 0;
}

void service_main_pid(pid_t pid)
{
    char state[32];

    (void)snprintf(state, sizeof state, "MAINPID=%ld", (long)pid);
    notify(state);
}

/* A name for the manager's store, where a colon may not be. */
static void store_name(const struct addr *addr, char name[STORE_NAME_LEN])
{
    char text[ADDR_STRLEN];

    (void)snprintf(name, STORE_NAME_LEN, STORE_PREFIX "%s", addr_format(addr, text));
    for (char *c = name; *c; c++)
        if (*c == ':')
            *c = '_';
}

bool service_keep_socket(int fd, const struct addr *addr)
{
    char name[STORE_NAME_LEN];
    char state[STORE_NAME_LEN + 32];

    /* Set by systemd 254 and later, and by our unit for the earlier ones. */
    if (!getenv("FDSTORE"))
        return false;
    store_name(addr, name);
    (void)snprintf(state, sizeof state, "FDSTORE=1\nFDNAME=%s", name);
    return notify_with_fd(state, fd);
}

void service_forget_socket(const struct addr *addr)
{
    char name[STORE_NAME_LEN];
    char state[STORE_NAME_LEN + 32];

    store_name(addr, name);
    (void)snprintf(state, sizeof state, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    notify(state);
}
