/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands.h"
#include "earlier.h"
#include "mmproxy/base/log.h"

enum {
    CONNECTIONS_MAX = 16,
    BACKLOG = 16,
};

/* ---- one client ----------------------------------------------------------------------- */

static void client_free(struct control_client *client)
{
    struct control *control = &client->supervisor->control;

    command_abandon(client);
    ev_io_stop(client->supervisor->loop, &client->io);
    ev_timer_stop(client->supervisor->loop, &client->timeout);
    close(client->fd);
    LIST_REMOVE(client, link);
    control->n_clients--;
    board_free(client->board);
    free(client->pids);
    free(client->out);
    free(client);
}

/* returns: false: it is gone. */
static bool send_some(struct control_client *client)
{
    ssize_t n = send(client->fd, client->out + client->out_start,
                     client->out_len - client->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0)
        return false;
    client->out_start += (size_t)n;
    if (client->out_start == client->out_len)
        client->out_start = client->out_len = 0;
    return client->out_len > 0 || !client->is_answered;
}

static void judge(struct control_client *client, size_t len)
{
    const char *wrong = request_parse(&client->request, client->in, len);

    client->is_asked = true;
    if (wrong)
        control_client_end(client, EX_USAGE, wrong);
    else if (request_changes(client->request.command) && !client->may_change)
        control_client_end(client, EX_NOPERM,
                           "this command is for root and the user that mmproxy runs as");
    else
        command_run(client);
}

/* returns: false: it is gone. */
static bool receive_some(struct control_client *client)
{
    ssize_t n =
        recv(client->fd, client->in + client->n_in, sizeof client->in - client->n_in, MSG_DONTWAIT);
    const char *end;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    client->n_in += (size_t)n;
    end = memchr(client->in, '\n', client->n_in);
    if (end)
        judge(client, (size_t)(end - client->in));
    else if (client->n_in == sizeof client->in)
        judge(client, client->n_in);
    return true;
}

static void on_client(struct ev_loop *loop, ev_io *io, int revents)
{
    struct control_client *client = io->data;
    bool is_there = true;

    (void)loop;
    if (revents & EV_ERROR)
        is_there = false;
    else if (!client->is_asked)
        is_there = receive_some(client);
    else
        is_there = send_some(client);
    if (!is_there) {
        client_free(client);
        return;
    }
    if (client->is_asked && !client->is_answered && !control_client_is_behind(client))
        command_run(client);
    control_client_watch(client);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct control_client *client = timer->data;

    (void)loop;
    (void)revents;
    if (client->out_len > client->out_start || !client->is_asked) {
        client_free(client);
        return;
    }
    if (earlier_is_asked(client))
        earlier_give_up(client);
    else if (client->is_inspecting)
        command_give_up_worker(client);
    control_client_watch(client);
}

/* ---- the socket ----------------------------------------------------------------------- */

static bool may_change(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

/*
 * Where all places are taken: the oldest client that has not asked yet, or that may change nothing
 * while the new one may. No user keeps out another who may do more.
 */
static struct control_client *least_wanted(const struct control *control, bool may_change)
{
    struct control_client *found = NULL;
    struct control_client *each;

    LIST_FOREACH (each, &control->clients, link)
        if (each->may_change <= may_change && (!each->is_asked || each->may_change < may_change))
            found = each;
    return found;
}

static void take_client(struct supervisor *supervisor, int fd, bool may_change)
{
    struct control *control = &supervisor->control;
    struct control_client *client =
        control->n_clients < CONNECTIONS_MAX ? NULL : least_wanted(control, may_change);

    if (client)
        client_free(client);
    client = control->n_clients < CONNECTIONS_MAX ? calloc(1, sizeof *client) : NULL;
    if (!client) {
        close(fd);
        return;
    }
    client->supervisor = supervisor;
    client->fd = fd;
    client->check_fd = client->earlier.fd = -1;
    client->may_change = may_change;
    ev_io_init(&client->io, on_client, fd, EV_READ);
    ev_init(&client->timeout, on_timeout);
    client->io.data = client->timeout.data = client;
    LIST_INSERT_HEAD(&control->clients, client, link);
    control->n_clients++;
    control_client_watch(client);
}

static void on_connection(void *context)
{
    struct supervisor *supervisor = context;
    /* cppcheck-suppress nullPointer ; accept4 takes it */
    int fd = accept4(supervisor->control.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0)
        take_client(supervisor, fd, may_change(fd));
}

void control_take_question(struct supervisor *supervisor, int fd, bool may_change)
{
    take_client(supervisor, fd, may_change);
}

static void make_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *end = strrchr(path, '/');

    (void)snprintf(folder, sizeof folder, "%.*s", (int)(end - path), path);
    if (folder[0])
        (void)mkdir(folder, 0755);
}

/* Does a process listen there? A socket file stays behind when its process is killed. */
static bool is_taken(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is;

    if (fd < 0)
        return true;
    is = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
         errno != ECONNREFUSED;
    close(fd);
    return is;
}

static int make_way(const struct sockaddr_un *address)
{
    struct stat info;

    if (lstat(address->sun_path, &info) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(info.st_mode))
        return -ENOTSOCK;
    if (is_taken(address))
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

/* Root needs no CAP_CHOWN for this, and another user no privilege for a group of its own. */
static int bind_as(int fd, const struct sockaddr_un *address, gid_t gid, bool has_group)
{
    gid_t old = getegid();
    bool is_group = has_group && setegid(gid) == 0;
    mode_t mask = umask(0117);

    int err = bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
    (void)umask(mask);
    if (is_group && setegid(old) < 0)
        return -errno;
    if (err == 0 && has_group && !is_group && chown(address->sun_path, (uid_t)-1, gid) < 0)
        log_warning("control", "[!] control_group has no effect: mmproxy's user is not in that "
                               "group (for systemd: SupplementaryGroups=)");
    return err;
}

static int bind_to(int fd, const char *path, const char *group_name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const struct group *group = group_name ? getgrnam(group_name) : NULL;

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    make_folder(path);
    int err = make_way(&address);
    if (err == 0)
        err = bind_as(fd, &address, group ? group->gr_gid : 0, group);
    return err == 0 && listen(fd, BACKLOG) < 0 ? -errno : err;
}

static const char *explain(int err)
{
    if (err == -EADDRINUSE)
        return "another process listens there";
    return err == -ENOTSOCK ? "there is a file that is no socket" : strerror(-err);
}

static void open_socket(struct supervisor *supervisor, const struct config *config)
{
    struct control *control = &supervisor->control;
    struct stat info;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = fd < 0 ? -errno : bind_to(fd, config->control, config->control_group);
    if (err < 0) {
        log_warning("control", "[!] there is no control socket %s, mmproxyctl won't work: %s",
                    config->control, explain(err));
        if (fd >= 0)
            close(fd);
        return;
    }
    control->fd = fd;
    control->path = strdup(config->control);
    control->group = config->control_group ? strdup(config->control_group) : NULL;
    if (stat(config->control, &info) == 0) {
        control->inode = info.st_ino;
        control->device = info.st_dev;
    }
    reader_open(&control->reader, supervisor->loop, fd, on_connection, supervisor);
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Removes the file only if it is still ours. */
static void close_socket(struct supervisor *supervisor)
{
    struct control *control = &supervisor->control;
    struct stat info;

    if (control->fd < 0)
        return;
    reader_close(&control->reader, supervisor->loop);
    close(control->fd);
    control->fd = -1;
    if (control->path && lstat(control->path, &info) == 0 && info.st_ino == control->inode &&
        info.st_dev == control->device)
        (void)unlink(control->path);
    free(control->path);
    free(control->group);
    control->path = control->group = NULL;
}

void control_init(struct supervisor *supervisor)
{
    supervisor->control.fd = -1;
    supervisor->control.started = time(NULL);
    LIST_INIT(&supervisor->control.clients);
}

void control_offer(struct supervisor *supervisor)
{
    const struct config *config = supervisor->current->config;
    struct control *control = &supervisor->control;
    bool is_wanted = config->path && config->control && config->control[0];

    if (control->fd >= 0 && is_wanted && is_same(control->path, config->control) &&
        is_same(control->group, config->control_group))
        return;
    close_socket(supervisor);
    if (is_wanted)
        open_socket(supervisor, config);
}

void control_withdraw(struct supervisor *supervisor)
{
    struct control_client *client = LIST_FIRST(&supervisor->control.clients);

    close_socket(supervisor);
    while (client) {
        struct control_client *next = LIST_NEXT(client, link);
        client_free(client);
        client = next;
    }
    control_forget_drained(supervisor);
}

void control_leave(struct supervisor *supervisor)
{
    struct control_client *client;

    if (supervisor->control.fd >= 0)
        close(supervisor->control.fd);
    LIST_FOREACH (client, &supervisor->control.clients, link) {
        close(client->fd);
        if (client->check_fd >= 0)
            close(client->check_fd);
        if (client->earlier.fd >= 0)
            close(client->earlier.fd);
    }
}

void control_load_ended(struct supervisor *supervisor, bool is_good)
{
    struct control_client *client;

    LIST_FOREACH (client, &supervisor->control.clients, link)
        if (client->is_asked && !client->is_answered)
            command_load_ended(client, is_good);
}

bool control_reaped(struct supervisor *supervisor, pid_t pid, int status)
{
    struct control_client *client;

    LIST_FOREACH (client, &supervisor->control.clients, link) {
        if (client->checker != pid)
            continue;
        command_checked(client, WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return true;
    }
    return false;
}
