/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mmproxy/base/log.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/supervisor/control.h"

#include "handover.h"

void takeover_init(struct supervisor *supervisor)
{
    const char *variable = getenv(HANDOVER_CHANNEL);
    int fd = variable ? atoi(variable) : -1;

    supervisor->takeover.channel = -1;
    if (fd > STDERR_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        supervisor->takeover.channel = fd;
    (void)unsetenv(HANDOVER_CHANNEL);
    if (takeover_is(supervisor))
        control_drain_names(supervisor, getenv(HANDOVER_DRAINED));
    (void)unsetenv(HANDOVER_DRAINED);
}

bool takeover_is(const struct supervisor *supervisor)
{
    return supervisor->takeover.channel >= 0;
}

static int kind_of(size_t i)
{
    const char *kinds = getenv(HANDOVER_KINDS);

    return kinds && i < strlen(kinds) ? kinds[i] : IS_OURS_ALONE;
}

bool takeover_socket_is_kept(size_t i)
{
    return kind_of(i) != IS_OURS_ALONE;
}

bool takeover_socket_is_stored(size_t i)
{
    return kind_of(i) == IS_STORED;
}

static void on_message(void *context)
{
    struct supervisor *supervisor = context;
    struct takeover *takeover = &supervisor->takeover;
    struct handover_message message;

    ssize_t n = recv(takeover->channel, &message, sizeof message, MSG_DONTWAIT);
    if (n == sizeof message && (message.kind == HANDOVER_SESSIONS || message.kind == HANDOVER_DONE))
        takeover->sessions = message.number;
    if (n == sizeof message && message.kind == HANDOVER_ANSWERS)
        takeover->answers = true;
    if (n == sizeof message && message.kind == HANDOVER_DONE) {
        takeover->is_done = true;
        lifecycle_report(&supervisor->life, ON_ANSWERED);
    }
    if (n != 0)
        return;
    takeover->sessions = 0;
    takeover->answers = false;
    takeover_close(supervisor);
    if (!takeover->is_done)
        log_error("upgrade", "[!] the old process ended before it had handed over");
    lifecycle_report(&supervisor->life, ON_OLD_GONE);
}

void takeover_open(struct supervisor *supervisor)
{
    struct takeover *takeover = &supervisor->takeover;

    if (takeover->channel >= 0)
        reader_open(&takeover->reader, supervisor->loop, takeover->channel, on_message, supervisor);
}

void takeover_announce(struct supervisor *supervisor)
{
    struct handover_message message = { .kind = HANDOVER_READY };

    /* Where the old process has died, end of file tells. */
    (void)!send(supervisor->takeover.channel, &message, sizeof message,
                MSG_NOSIGNAL | MSG_DONTWAIT);
}

int takeover_ask(struct supervisor *supervisor, int client, bool may_change)
{
    const struct handover_message message = { .kind = HANDOVER_QUESTION, .number = may_change };

    if (!supervisor->takeover.answers)
        return -ENOTCONN;
    return sock_send_with(supervisor->takeover.channel, &message, sizeof message, client);
}

void takeover_close(struct supervisor *supervisor)
{
    struct takeover *takeover = &supervisor->takeover;

    if (takeover->channel < 0)
        return;
    if (supervisor->loop)
        reader_close(&takeover->reader, supervisor->loop);
    close(takeover->channel);
    takeover->channel = -1;
}
