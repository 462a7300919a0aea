/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/kernel/xtables.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/routing/kernel/apart.h"

enum { ARGS_MAX = 24, PATH_LEN = 64, SAVE_LIMIT_MS = 5000 };

/* Not by $PATH: what runs with our privileges is not for the environment to choose. */
static bool find(const char *program, char path[PATH_LEN])
{
    static const char *const folders[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin",
                                           "/usr/local/sbin" };

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, PATH_LEN, "%s/%s", folders[i], program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

bool xtables_is_installed(const char *program)
{
    char path[PATH_LEN];

    return find(program, path);
}

/* Waits for the child, kills it when its time is over; returns its exit status or -errno. */
static int reap(pid_t pid, int *budget_ms)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd ready = { .fd = pidfd, .events = POLLIN };
    int64_t begin = (int64_t)clock_now_ms();
    bool late;
    int status;

    late = poll(&ready, 1, *budget_ms) == 0;
    if (late)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    if (pidfd >= 0)
        close(pidfd);
    *budget_ms -= (int)((int64_t)clock_now_ms() - begin);
    if (late || *budget_ms <= 0)
        *budget_ms = 0;
    if (late)
        return -ETIMEDOUT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

static int run(const char *path, char *const args[], int *budget_ms)
{
    char locale[] = "LC_ALL=C";
    char *const environment[] = { locale, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid;
    int answer;

    if (*budget_ms <= 0)
        return -ETIMEDOUT;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd <= 2; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    answer = posix_spawn(&pid, path, &actions, &attributes, args, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return answer != 0 ? -answer : reap(pid, budget_ms);
}

/* text is cut into words, at blanks, in place. */
static void split(char *text, char *args[ARGS_MAX])
{
    char *state = NULL;
    size_t n = 0;

    for (char *word = strtok_r(text, " ", &state); word && n < ARGS_MAX - 1;
         word = strtok_r(NULL, " ", &state))
        args[n++] = word;
    args[n] = NULL;
}

static int check(const struct wanted_item *item, const char *path, bool comment, int *budget_ms)
{
    char text[WANTED_COMMAND_MAX];
    char *args[ARGS_MAX];
    bool save = item->kind == WANTED_SAVE_MARK;
    int status;

    /* By the name it is called with it knows its family. */
    snprintf(text, sizeof text, "%s -t mangle -C %s -m %s --mark %u %s-j CONNMARK --%s-mark",
             strrchr(path, '/') + 1, save ? "PREROUTING" : "OUTPUT", save ? "mark" : "connmark",
             item->mark, comment ? "-m comment --comment mmproxy " : "", save ? "save" : "restore");
    split(text, args);
    status = run(path, args, budget_ms);
    if (status ==
        4) /* iptables: "resource problem": no privilege, or another process holds the lock */
        return geteuid() == 0 ? -EBUSY : -EPERM;
    return status < 0 ? status : status == 0;
}

static int ask(const struct wanted_item *item, const char *program, int *budget_ms)
{
    char path[PATH_LEN];
    int answer;

    if (!find(program, path))
        return -ENOENT;
    answer = check(item, path, true, budget_ms);
    return answer == 0 ? check(item, path, false, budget_ms) : answer;
}

/* Only where the old tables are in use: asking would load their modules otherwise. table: or NULL.
 */
static bool has_legacy(bool is_v6, const char *table)
{
    FILE *file = fopen(is_v6 ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names", "re");
    char line[32];
    bool found = false;

    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        found |= !table || strcmp(line, table) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

/* In a process of its own. */
static int save_here(const void *context, FILE *out)
{
    const char *path = context;
    char locale[] = "LC_ALL=C";
    char *const environment[] = { locale, NULL };
    char *const args[] = { strrchr(path, '/') + 1, NULL };
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(fileno(out), STDOUT_FILENO) == STDOUT_FILENO)
            execve(path, args, environment);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int xtables_save_legacy(bool is_v6, char **text)
{
    char path[PATH_LEN];

    *text = NULL;
    if (!has_legacy(is_v6, NULL))
        return 0;
    if (!find(is_v6 ? "ip6tables-legacy-save" : "iptables-legacy-save", path))
        return -ENOENT;
    return apart_run(save_here, path, SAVE_LIMIT_MS, text);
}

int xtables_has(const struct wanted_item *item, int *budget_ms)
{
    bool v6 = item->family == AF_INET6;
    int answer = ask(item, v6 ? "ip6tables" : "iptables", budget_ms);
    int legacy;

    if (answer == 1 || !has_legacy(v6, "mangle"))
        return answer;
    legacy = ask(item, v6 ? "ip6tables-legacy" : "iptables-legacy", budget_ms);
    return legacy == 1 ? 1 : answer;
}
