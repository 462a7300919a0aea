/* SPDX-License-Identifier: BSD-2-Clause */
/* What the supervisor is denied is tried, line by line of its tables. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "jail_child.h"

static long argument(const struct filter_line *line, unsigned index)
{
    for (size_t i = 0; i < FILTER_ARGS_MAX && line->args[i].test != FILTER_ANY; i++)
        if (line->args[i].index == index && line->args[i].test != FILTER_LACKS)
            return (long)line->args[i].value + (line->args[i].test == FILTER_ABOVE);
    return 0;
}

/* Without capabilities, so that nothing happens should the filter not hold. */
static int be_supervisor(const struct filter_line *line, long call, long high_bits)
{
    struct jail_failure failure;

    if (jail_confine(&failure) < 0 || jail_confine_calls(&failure) < 0 || caps_keep(0) < 0)
        return 101;
    long r = syscall(call, argument(line, 0) | high_bits, argument(line, 1) | high_bits,
                     argument(line, 2) | high_bits, 0, 0, 0);
    return r < 0 && line->error != 0 && errno == line->error ? 0 : 103;
}

static void try_as_supervisor(const struct filter_line *line, long call, long high_bits)
{
    char text[128] = "";
    int ends[2];
    int status;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        _exit(be_supervisor(line, call, high_bits));
    }
    close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)!read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    if (line->error != 0 ? status != 0 : !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
        fail_msg("%s (%s) is not denied: status %x", line->call, line->why, (unsigned)status);
    if (line->error == 0) {
        char expected[128];
        (void)snprintf(expected, sizeof expected,
                       "[!] mmproxy: the jail forbids the system call %s\n", line->call);
        assert_string_equal(text, expected);
    }
}

static void every_line_of_the_supervisors_table_is_denied(void **state)
{
    struct filter_table table = filter_supervisor_calls();

    (void)state;
    for (size_t i = 0; i < table.n; i++) {
        long call = seccomp_syscall_resolve_name(table.lines[i].call);
        if (call < 0)
            continue; /* of another architecture */
        try_as_supervisor(&table.lines[i], call, 0);
        /* The kernel looks at 32 bits of an int: what is above must not hide it. */
        if (table.lines[i].args[0].test == FILTER_IS)
            try_as_supervisor(&table.lines[i], call, 1L << 32);
    }
}

static unsigned filters_in_force(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    unsigned n = 0;

    while (file && fgets(line, sizeof line, file))
        (void)sscanf(line, "Seccomp_filters: %u", &n);
    if (file)
        fclose(file);
    return n;
}

/* returns: the number of the step that went wrong. */
static int load_filters(void)
{
    static const struct filter_line other_lines[] = { { .call = "vhangup", .why = "another" } };
    struct filter_table table = filter_supervisor_calls();
    struct filter_table fewer = { table.lines, table.n - 1 };
    struct filter_table other = { other_lines, 1 };
    unsigned n = filters_in_force();

    /* Somebody else's filter, a container's say, does not pass for ours. */
    if (filter_deny(&other) < 0 || filters_in_force() != n + 1)
        return 1;
    if (filter_deny_once(&table) < 0 || filters_in_force() != n + 2)
        return 2;
    if (filter_deny_once(&table) < 0 || filters_in_force() != n + 2)
        return 3;
    /* Nor does that of another version. */
    if (filter_deny_once(&fewer) < 0 || filters_in_force() != n + 3)
        return 4;
    if (filter_deny_once(&table) < 0 || filters_in_force() != n + 3)
        return 5;
    return 0;
}

static void a_filter_that_is_in_force_is_not_loaded_again(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct jail_failure failure;
        _exit(jail_confine(&failure) < 0 ? 101 : load_filters());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void the_supervisor_keeps_its_table_and_uses_net_admin_on_demand(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct jail_failure failure;
        uint64_t table = 0;
        size_t n;
        const struct caps_line *lines = caps_supervisor_lines(&n);
        const uint64_t of_namespaces = CAPS_BIT(CAP_SYS_ADMIN) | CAPS_BIT(CAP_SYS_PTRACE);
        for (size_t i = 0; i < n; i++)
            table |= CAPS_BIT(lines[i].capability);
        if (jail_confine(&failure) < 0 || (caps_permitted() & ~table) != of_namespaces)
            _exit(1);
        if (sethostname("x", 1) == 0 || setpriority(PRIO_PROCESS, 0, -20) == 0)
            _exit(2);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int size = 4096;
        /* SO_RCVBUFFORCE is CAP_NET_ADMIN's. */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0)
            _exit(3);
        if (caps_raise(CAPS_BIT(CAP_NET_ADMIN)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
            _exit(4);
        if (caps_lower(CAPS_BIT(CAP_NET_ADMIN)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0)
            _exit(5);
        int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (setns(own, CLONE_NEWNET) == 0 || caps_raise(of_namespaces) < 0 ||
            setns(own, CLONE_NEWNET) < 0)
            _exit(6);
        if (jail_give_up_namespaces(true, &failure) < 0 || (caps_permitted() & ~table) != 0 ||
            setns(own, CLONE_NEWNET) == 0 || errno != EPERM)
            _exit(7);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_the_supervisors_table_is_denied),
        cmocka_unit_test(a_filter_that_is_in_force_is_not_loaded_again),
        cmocka_unit_test(the_supervisor_keeps_its_table_and_uses_net_admin_on_demand),
    };

    return child_may_run("test_jail_supervisor") ? cmocka_run_group_tests(tests, child_set_up, NULL)
                                                 : SUPPORT_NOT_RUN;
}
