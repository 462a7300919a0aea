/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/config_warnings.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmproxy/net/listening.h"
#include "mmproxy/net/locals.h"
#include "mmproxy/supervisor/descriptor_limit.h"

enum { NAME_SIZE = 32 };

/* A port that a listener wants and some socket has. */
struct conflict {
    const struct listener_config *listener;
    struct addr wanted;
    const struct listening *taken;
    bool is_ours; /* by an mmproxy */
    pid_t pid;    /* of a process that has it; 0: not seen */
    char program[NAME_SIZE];
};

struct conflicts {
    struct conflict *items;
    size_t n;
};

static void warn(const struct config_sink *sink, const struct listener_config *listener,
                 const char *format, ...) __attribute__((format(printf, 3, 4)));

static void warn(const struct config_sink *sink, const struct listener_config *listener,
                 const char *format, ...)
{
    char text[512];
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (listener->file)
        snprintf(line, sizeof line, "%.400s:%u: listener \"%s\": %s", listener->file,
                 listener->line, listener->name, text);
    else
        snprintf(line, sizeof line, "mmproxy: %s", text);
    sink->report(sink->context, false, line);
}

/* ---- ports ---------------------------------------------------------------------------- */

/* The first socket that has one of the ports, which is *port then. */
static const struct listening *find_taker(const struct listening *sockets, size_t n,
                                          const struct addr_range *range, struct addr *port)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t taken = addr_port(&sockets[i].addr);
        if (taken < addr_port(&range->addr) || taken > range->last)
            continue;
        *port = range->addr;
        addr_set_port(port, taken);
        if (listening_takes(&sockets[i], port))
            return &sockets[i];
    }
    return NULL;
}

static struct conflicts find_conflicts(const struct config *config, const struct listening *sockets,
                                       size_t n_sockets)
{
    struct conflicts conflicts = { .n = 0 };
    struct addr wanted;
    size_t n_addresses = 0;

    for (size_t i = 0; i < config->n_listeners; i++)
        n_addresses += config->listeners[i].n_listen;
    conflicts.items = calloc(n_addresses + 1, sizeof *conflicts.items);
    for (size_t i = 0; conflicts.items && i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];

        for (size_t j = 0; j < listener->n_listen; j++) {
            const struct listening *taken =
                find_taker(sockets, n_sockets, &listener->listen[j], &wanted);

            if (taken)
                conflicts.items[conflicts.n++] =
                    (struct conflict){ .listener = listener, .wanted = wanted, .taken = taken };
        }
    }
    return conflicts;
}

/* A process while it is looked at. */
struct process {
    pid_t pid;
    uid_t uid;
    bool is_mmproxy;
    char name[NAME_SIZE];
};

static bool read_process(int folder, struct process *out)
{
    struct stat status;
    int fd = openat(folder, "comm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out->name, sizeof out->name - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0 || fstat(folder, &status) < 0)
        return false;
    out->name[out->name[n - 1] == '\n' ? n - 1 : n] = '\0';
    out->uid = status.st_uid;
    out->is_mmproxy = strcmp(out->name, "mmproxy") == 0;
    return true;
}

/* A worker and the supervisor have one socket both, and so may the service manager: ours first. */
static void assign_socket(const struct conflicts *conflicts, const struct process *process,
                          unsigned long inode)
{
    for (size_t i = 0; i < conflicts->n; i++) {
        struct conflict *conflict = &conflicts->items[i];

        if (conflict->taken->inode != inode || conflict->is_ours)
            continue;
        conflict->is_ours = process->is_mmproxy;
        conflict->pid = process->pid;
        memcpy(conflict->program, process->name, sizeof conflict->program);
    }
}

/* Whose descriptors can't be looked at is known by name and user alone. */
static void assign_by_user(const struct conflicts *conflicts, const struct process *process)
{
    for (size_t i = 0; i < conflicts->n; i++)
        if (process->is_mmproxy && conflicts->items[i].taken->uid == process->uid)
            conflicts->items[i].is_ours = true;
}

static void look_at_descriptors(const struct conflicts *conflicts, const struct process *process,
                                int folder)
{
    int fd = openat(folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *descriptors = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (!descriptors) {
        if (fd >= 0)
            close(fd);
        assign_by_user(conflicts, process);
        return;
    }
    while ((entry = readdir(descriptors))) {
        char target[64];
        unsigned long inode;
        ssize_t n = readlinkat(fd, entry->d_name, target, sizeof target - 1);

        if (n <= 0)
            continue;
        target[n] = '\0';
        if (sscanf(target, "socket:[%lu]", &inode) == 1)
            assign_socket(conflicts, process, inode);
    }
    closedir(descriptors);
}

static void find_owners(const struct conflicts *conflicts)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;

    while (processes && (entry = readdir(processes))) {
        struct process process = { .pid = (pid_t)strtol(entry->d_name, NULL, 10) };
        int folder;

        if (process.pid <= 0 || process.pid == getpid())
            continue;
        folder = openat(dirfd(processes), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
            continue;
        if (read_process(folder, &process))
            look_at_descriptors(conflicts, &process, folder);
        close(folder);
    }
    if (processes)
        closedir(processes);
}

static void report_conflict(const struct conflict *conflict, const struct config_sink *sink)
{
    char wanted[ADDR_STRLEN];
    char taken[ADDR_STRLEN];
    char owner[NAME_SIZE + 32] = "another program";

    if (conflict->is_ours)
        return;
    if (conflict->pid != 0)
        snprintf(owner, sizeof owner, "%s (pid %ld)", conflict->program, (long)conflict->pid);
    addr_format(&conflict->wanted, wanted);
    addr_format(&conflict->taken->addr, taken);
    if (strcmp(wanted, taken) == 0)
        warn(sink, conflict->listener, "%s is in use by %s", wanted, owner);
    else
        warn(sink, conflict->listener, "%s is in use by %s, which listens on %s", wanted, owner,
             taken);
}

static void check_ports(const struct config *config, const struct config_sink *sink)
{
    struct listening *sockets;
    size_t n_sockets;
    struct conflicts conflicts;

    if (listening_read(&sockets, &n_sockets) < 0)
        return;
    conflicts = find_conflicts(config, sockets, n_sockets);
    if (conflicts.n > 0)
        find_owners(&conflicts);
    for (size_t i = 0; i < conflicts.n; i++)
        report_conflict(&conflicts.items[i], sink);
    free(conflicts.items);
    free(sockets);
}

/* ---- targets -------------------------------------------------------------------------- */

static void check_target(const struct locals *locals, const struct listener_config *listener,
                         sa_family_t family, const struct config_sink *sink)
{
    const struct addr *target = listener_config_target(listener, family);
    enum return_path path = listener_config_return_path(listener, family);
    char text[ADDR_STRLEN];

    if (!target || addr_is_loopback(target) || path == RETURN_PATH_ROUTED)
        return;
    addr_format(target, text);
    if (!locals_contain(locals, target))
        warn(sink, listener,
             "target %s is not an address of this host: the service's replies would not come back "
             "here",
             text);
    else if (path == RETURN_PATH_LOOPBACK)
        warn(sink, listener,
             "target %s is not on loopback: return_path \"loopback\" does not bring its replies "
             "back",
             text);
}

static void check_targets(const struct config *config, const struct config_sink *sink)
{
    struct locals *locals;

    if (locals_new(&locals) < 0)
        return;
    for (size_t i = 0; i < config->n_listeners; i++) {
        check_target(locals, &config->listeners[i], AF_INET, sink);
        check_target(locals, &config->listeners[i], AF_INET6, sink);
    }
    locals_free(locals);
}

/* ---- tables --------------------------------------------------------------------------- */

/*
 * Rules for loopback are by the target's prefix alone: of several, the first one decides, and
 * with it the table.
 */
static void check_tables(const struct config *config, sa_family_t family,
                         const struct config_sink *sink)
{
    const struct listener_config *first = NULL;

    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];

        if (!listener_config_target(listener, family) ||
            listener_config_return_path(listener, family) != RETURN_PATH_LOOPBACK)
            continue;
        if (!first)
            first = listener;
        if (listener->table != first->table)
            warn(sink, listener,
                 "table %u is of no use for %s: table %u has the same rule for listener \"%s\"",
                 listener->table, family == AF_INET ? "IPv4" : "IPv6", first->table, first->name);
    }
}

void config_warnings(const struct config *config, const struct config_sink *sink)
{
    char line[DESCRIPTOR_LIMIT_LINE_MAX];

    if (config->n_listeners == 0)
        return;
    if (!descriptor_limit_suffices(config, line))
        sink->report(sink->context, false, line);
    check_ports(config, sink);
    check_targets(config, sink);
    check_tables(config, AF_INET, sink);
    check_tables(config, AF_INET6, sink);
}
