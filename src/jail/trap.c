/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/jail/trap.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/jail/filter.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code; in linux/signal.h, which can't be included beside signal.h */
#endif

static _Atomic uint32_t *tell_where;

static void write_text(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* Only what may run anywhere: the call may have come from the midst of malloc. */
static void tell_stderr(int call)
{
    struct filter_table table = filter_supervisor_calls();
    const char *name = NULL;
    char digits[12];
    char *digit = digits + sizeof digits;

    for (size_t i = 0; i < table.n && !name; i++)
        if (seccomp_syscall_resolve_name(table.lines[i].call) == call)
            name = table.lines[i].call;
    *--digit = '\0';
    for (unsigned n = call < 0 ? 0 : (unsigned)call; n > 0 || *digit == '\0'; n /= 10)
        *--digit = (char)('0' + n % 10);
    write_text("[!] mmproxy: the jail forbids the system call ");
    write_text(name ? name : digit);
    write_text("\n");
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == SYS_SECCOMP && tell_where)
        atomic_store(tell_where, (uint32_t)info->si_syscall + 1);
    else if (info->si_code == SYS_SECCOMP)
        tell_stderr(info->si_syscall);
    /* It has no handler any more (SA_RESETHAND), and it is not blocked (SA_NODEFER). */
    (void)raise(signal);
    _exit(EX_SOFTWARE);
}

int trap_set(_Atomic uint32_t *tell)
{
    struct sigaction action = { .sa_sigaction = on_trap };

    action.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER);
    tell_where = tell;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

char *trap_name(uint32_t told, char out[TRAP_NAME_MAX])
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)(told - 1));

    if (name)
        (void)snprintf(out, TRAP_NAME_MAX, "%s", name);
    else
        (void)snprintf(out, TRAP_NAME_MAX, "number %u", told - 1);
    free(name);
    return out;
}
