/* SPDX-License-Identifier: BSD-2-Clause */
/* jail_child: tries something in a process of its own and says how that ended. */
#ifndef JAIL_CHILD_H
#define JAIL_CHILD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/jail/caps.h"
#include "mmproxy/jail/filter.h"
#include "mmproxy/jail/jail.h"
#include "mmproxy/jail/trap.h"
#include "netns_support.h"

/* What a jailed process is to do. returns: its exit status. */
struct deed {
    int (*act)(const struct deed *deed, int channel);
    long call; /* for act_call */
    long args[6];
};

static _Atomic uint32_t *child_told; /* shared with the children */

/* Says it where the tests can't be run; what they connect stays in a network of their own. */
static inline bool child_may_run(const char *program)
{
    if (support_has_own_network)
        return true;
    (void)fprintf(stderr, "%s: NOT RUN: needs root\n", program);
    return false;
}

static inline int child_set_up(void **state)
{
    (void)state;
    child_told =
        mmap(NULL, sizeof *child_told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return child_told == MAP_FAILED ? -1 : 0;
}

static inline int act_call(const struct deed *deed, int channel)
{
    const long *args = deed->args;

    (void)channel;
    (void)syscall(deed->call, args[0], args[1], args[2], args[3], args[4], args[5]);
    return 0;
}

static inline int be_worker(const struct deed *deed, bool has_filter)
{
    struct config config = { .user = NULL, .sandbox = has_filter };
    struct jail_failure failure = { 0 };
    struct jail jail;
    char name[] = "nobody";
    int ends[2];

    for (int i = 1; i < SIGSYS; i++)
        (void)signal(i, SIG_DFL); /* cmocka's handlers are not a worker's */
    config.user = name;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
        jail_plan(&jail, &config, &failure) < 0)
        return 101;
    jail.caps = CAPS_BIT(CAP_NET_RAW);
    if (jail_close(&jail, child_told, &failure) < 0) {
        (void)fprintf(stderr, "can't %s\n", failure.what);
        return 102;
    }
    return deed->act(deed, ends[1]);
}

/* returns: as waitpid has it. */
static inline int child_run(const struct deed *deed, bool has_filter)
{
    int status = -1;

    atomic_store(child_told, 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(be_worker(deed, has_filter));
    (void)waitpid(pid, &status, 0);
    return status;
}

/* returns: the name of the call that a jailed worker died of; "" where it did not. */
static inline const char *child_dies_of(const struct deed *deed)
{
    static char name[TRAP_NAME_MAX];

    int status = child_run(deed, true);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
        return "";
    return trap_name(atomic_load(child_told), name);
}

#endif
