/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/congestion.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_MAX_LEN = 16 };

/* BBR and its later versions: no other algorithm of Linux asks for pacing. */
static bool paces(const char *name)
{
    return strncmp(name, "bbr", 3) == 0;
}

bool congestion_is_paced(void)
{
    char name[NAME_MAX_LEN + 1] = "";
    socklen_t len = NAME_MAX_LEN;

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return false;
    bool is_known = getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0;
    close(fd);
    return is_known && paces(name);
}

void congestion_avoid_pacing(int fd)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONGESTION_UNPACED,
                     sizeof CONGESTION_UNPACED - 1);
}
