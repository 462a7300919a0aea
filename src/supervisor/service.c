/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"

#if MMPROXY_SYSTEMD
#include <systemd/sd-daemon.h>
#else
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

/* For what a manager must not miss; the rest is said again, or not, rather than waited for. */
enum { PATIENCE_MS = 100 };

enum urgency { URGENT, IN_PASSING };

/* NOTIFY_SOCKET's address, an abstract one if it begins with "@". returns: its length or 0. */
static socklen_t manager_address(struct sockaddr_un *addr)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    if (len < 2 || len >= sizeof addr->sun_path || (path[0] != '/' && path[0] != '@'))
        return 0;
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(addr->sun_path, path, len);
    if (path[0] == '@')
        addr->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Before and after this process is the main one: a manager hears no other. */
static bool is_muted;

void service_mute(bool on)
{
    is_muted = on;
}

static bool send_state(int manager, struct msghdr *message, enum urgency urgency)
{
    struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 };

    (void)setsockopt(manager, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return sendmsg(manager, message, MSG_NOSIGNAL | (urgency == IN_PASSING ? MSG_DONTWAIT : 0)) >=
           0;
}

/*
 * As sd_notify(3) does it, but that waits for as long as a manager does not read, and this
 * process waits for nothing. fd: is sent along; -1 = none.
 */
static bool notify(const char *state, int fd, enum urgency urgency)
{
    struct sockaddr_un addr;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fd)];
    } control = { 0 };
    struct iovec text = { .iov_base = (void *)(uintptr_t)state, .iov_len = strlen(state) };
    struct msghdr message = { .msg_name = &addr, .msg_iov = &text, .msg_iovlen = 1 };

    message.msg_namelen = is_muted ? 0 : manager_address(&addr);
    if (message.msg_namelen == 0)
        return false;
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (manager < 0)
        return false;
    bool is_sent = send_state(manager, &message, urgency);
    close(manager);
    return is_sent;
}

void service_ready(void)
{
    (void)notify("READY=1", -1, URGENT);
}

void service_reloading(void)
{
    char state[64];

    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
    (void)notify(state, -1, URGENT);
}

void service_stopping(void)
{
    (void)notify("STOPPING=1", -1, URGENT);
}

void service_status(const char *text)
{
    char state[1024];

    (void)snprintf(state, sizeof state, "STATUS=%s", text);
    (void)notify(state, -1, IN_PASSING);
}

bool service_has_manager(void)
{
    return getenv("NOTIFY_SOCKET");
}

void service_watchdog(void)
{
    (void)notify("WATCHDOG=1", -1, IN_PASSING);
}

uint64_t service_watchdog_interval_ms(void)
{
    uint64_t usec = 0;

    /* Twice as often as the manager insists on, as it recommends. */
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 2000 : 0;
}

/* Our names in the store begin so; sockets of socket units have the unit's name. */
#define STORE_PREFIX "mmproxy-"

enum { STORE_NAME_LEN = ADDR_STRLEN + sizeof STORE_PREFIX "udp4294967295_" };

static char **names;

bool service_is_stored(size_t i)
{
    return names && names[i] && strncmp(names[i], STORE_PREFIX, strlen(STORE_PREFIX)) == 0;
}

void service_close(void)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
    names = NULL;
}

/* The number in LISTEN_FDS, within the possible. */
static int promised_sockets(void)
{
    const char *text = getenv("LISTEN_FDS");
    long n = text ? strtol(text, NULL, 10) : 0;
    long max = sysconf(_SC_OPEN_MAX) - SD_LISTEN_FDS_START;

    return (int)(n < max ? n : max);
}

/* The first n names of LISTEN_FDNAMES' text, NULL for those that it lacks. */
static char **split_names(char *text, int n)
{
    char **list = calloc((size_t)n + 1, sizeof *list);

    for (int i = 0; list && text && i < n; i++) {
        list[i] = strdup(strsep(&text, ":"));
        if (!list[i])
            break;
    }
    return list;
}

int service_sockets(int *first)
{
    const char *given = getenv("LISTEN_FDNAMES");
    char *text = given ? strdup(given) : NULL; /* it is unset by the next call */
    int promised = promised_sockets();
    int n = sd_listen_fds_with_names(1, &names);

    *first = SD_LISTEN_FDS_START;
    if (n == -EBADF) {
        n = promised; /* one is not open, which is no reason to do without the others */
        names = split_names(text, n);
    }
    free(text);
    for (int fd = *first; fd < *first + n; fd++) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    return n > 0 ? n : 0;
}

void service_main_pid(pid_t pid)
{
    char state[32];

    (void)snprintf(state, sizeof state, "MAINPID=%ld", (long)pid);
    (void)notify(state, -1, URGENT);
}

/* A name for the manager's store, where a colon may not be. */
static void store_name(enum protocol protocol, const struct addr *addr, unsigned member,
                       char name[STORE_NAME_LEN])
{
    char text[ADDR_STRLEN];

    if (protocol == PROTOCOL_UDP)
        (void)snprintf(name, STORE_NAME_LEN, STORE_PREFIX "udp%u_%s", member,
                       addr_format(addr, text));
    else
        (void)snprintf(name, STORE_NAME_LEN, STORE_PREFIX "%s", addr_format(addr, text));
    for (char *c = name; *c; c++)
        if (*c == ':')
            *c = '_';
}

bool service_has_store(void)
{
    /* Set by systemd 254 and later, and by our unit for the earlier ones. */
    return getenv("FDSTORE") && service_has_manager();
}

void service_keep_socket(int fd, enum protocol protocol, const struct addr *addr, unsigned member)
{
    char name[STORE_NAME_LEN];
    char state[STORE_NAME_LEN + 32];

    store_name(protocol, addr, member, name);
    (void)snprintf(state, sizeof state, "FDSTORE=1\nFDNAME=%s", name);
    (void)notify(state, fd, URGENT);
}

void service_keep_leash(int fd)
{
    if (service_has_store())
        (void)notify("FDSTORE=1\nFDNAME=" STORE_PREFIX "leash", fd, URGENT);
}

void service_forget_socket(enum protocol protocol, const struct addr *addr, unsigned member)
{
    char name[STORE_NAME_LEN];
    char state[STORE_NAME_LEN + 32];

    store_name(protocol, addr, member, name);
    (void)snprintf(state, sizeof state, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    (void)notify(state, -1, URGENT);
}
