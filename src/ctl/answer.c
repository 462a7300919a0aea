/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to the control socket, and the lines of its answer. */
#include "ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static const char *advice(int error)
{
    switch (error) {
    case ENOENT:
        return "is mmproxy running, with a configuration file? -s names another socket";
    case ECONNREFUSED:
        return "mmproxy is not running";
    case EACCES:
        return "use sudo, or join the group that control_group names";
    default:
        return NULL;
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

int answer_open(struct answer *answer, const char *path, const char *request)
{
    *answer = (struct answer){ .stream = NULL };
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = connect_to(path);
    if (fd < 0)
        return fd;
    answer->stream = fdopen(fd, "r+");
    if (!answer->stream) {
        close(fd);
        return -ENOMEM;
    }
    (void)fprintf(answer->stream, "%s\n", request);
    (void)fflush(answer->stream);
    return 0;
}

int answer_complain(const char *path, int err)
{
    const char *help = advice(-err);

    fprintf(stderr, "mmproxyctl: %s: %s\n", path, strerror(-err));
    if (help)
        fprintf(stderr, "mmproxyctl: %s\n", help);
    return err == -EACCES ? EX_NOPERM : err == -ENOMEM ? EX_OSERR : EX_UNAVAILABLE;
}

bool answer_next(struct answer *answer, struct object *out)
{
    ssize_t len = getline(&answer->line, &answer->size, answer->stream);

    if (len <= 0 || answer->line[len - 1] != '\n')
        return false;
    answer->line[len - 1] = '\0';
    out->text = answer->line;
    return true;
}

void answer_close(struct answer *answer)
{
    if (answer->stream)
        fclose(answer->stream);
    free(answer->line);
    *answer = (struct answer){ .stream = NULL };
}
