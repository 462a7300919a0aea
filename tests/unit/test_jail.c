/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that the jail forbids a worker is tried in a jailed process. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "../../src/base/log_internal.h"
#include "jail_child.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/net/spoof.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { CALLS = 470 };

static bool names(struct filter_table table, const char *call)
{
    for (size_t i = 0; i < table.n; i++)
        if (strcmp(table.lines[i].call, call) == 0)
            return true;
    return false;
}

static void every_line_of_every_table_names_a_call_and_a_reason(void **state)
{
    struct filter_table tables[] = { filter_common_calls(),     filter_worker_calls(),
                                     filter_worker_udp_calls(), filter_exporter_calls(),
                                     filter_supervisor_calls(), filter_namespace_calls(),
                                     filter_instrument_calls() };

    (void)state;
    for (size_t i = 0; i < COUNT(tables); i++) {
        for (size_t j = 0; j < tables[i].n; j++) {
            const struct filter_line *line = &tables[i].lines[j];
            if (seccomp_syscall_resolve_name(line->call) == __NR_SCMP_ERROR)
                fail_msg("libseccomp knows no call %s", line->call);
            assert_true(line->why && line->why[0]);
        }
    }
}

/*
 * Linux shows no filter the two calls of its own uprobe trampolines (uretprobe, uprobe); made
 * from anywhere else they do nothing, or end the process.
 */
static bool is_seen_by_no_filter(long call)
{
#ifdef __x86_64__
    return call == 335 || call == 336;
#else
    (void)call;
    return false;
#endif
}

/* Also those that libseccomp has no name for. */
static void every_call_that_is_not_in_the_table_ends_a_worker(void **state)
{
    unsigned tried = 0;
    unsigned wider = 0;

    (void)state;
    for (long call = 0; call < CALLS; call++) {
        struct deed deed = { .act = act_call, .call = call };
        char expected[TRAP_NAME_MAX];
        trap_name((uint32_t)call + 1, expected);
        if (names(filter_common_calls(), expected) || names(filter_worker_calls(), expected) ||
            is_seen_by_no_filter(call))
            continue;
        if (names(filter_instrument_calls(), expected)) {
            wider++;
            continue;
        }
        const char *told = child_dies_of(&deed);
        if (strcmp(told, expected) != 0)
            fail_msg("%s (%ld) is not forbidden, or told as \"%s\"", expected, call, told);
        tried++;
    }
    print_message("%u calls tried\n", tried);
    if (wider > 0)
        print_message("%u calls not tried: this build is instrumented, its jail is wider\n", wider);
    assert_true(tried > 200);
}

static int bind_channel(const struct deed *deed, int channel)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/tmp/mmproxy-test-jail" };

    (void)deed;
    return bind(channel, (struct sockaddr *)&name, sizeof name) < 0;
}

static int connect_channel(const struct deed *deed, int channel)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

    (void)deed;
    return connect(channel, (struct sockaddr *)&name, sizeof name) < 0;
}

static int signal_parent(const struct deed *deed, int channel)
{
    (void)deed;
    (void)channel;
    return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

#define CALL(nr, ...) .deed = { .act = act_call, .call = (nr), .args = { __VA_ARGS__ } }
#define TCP_TYPE      (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static const struct {
    const char *name;
    const char *call;
    struct deed deed;
} misuses[] = {
    { "a Unix socket", "socket", CALL(SYS_socket, AF_UNIX, TCP_TYPE, 0) },
    { "a netlink socket", "socket", CALL(SYS_socket, AF_NETLINK, SOCK_RAW, 0) },
    { "a packet socket", "socket", CALL(SYS_socket, AF_PACKET, SOCK_RAW, 0) },
    { "a raw IP socket", "socket", CALL(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP) },
    { "a UDP socket", "socket", CALL(SYS_socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP) },
    { "TCP by default", "socket", CALL(SYS_socket, AF_INET, TCP_TYPE, 0) },
    { "a socket that blocks", "socket", CALL(SYS_socket, AF_INET6, SOCK_STREAM, IPPROTO_TCP) },
    { "MPTCP", "socket", CALL(SYS_socket, AF_INET, TCP_TYPE, 262) },
    { "another interface", "setsockopt", CALL(SYS_setsockopt, 0, SOL_SOCKET, SO_BINDTODEVICE) },
    { "a filter", "setsockopt", CALL(SYS_setsockopt, 0, SOL_SOCKET, SO_ATTACH_FILTER) },
    { "a BPF program", "setsockopt", CALL(SYS_setsockopt, 0, SOL_SOCKET, SO_ATTACH_BPF) },
    { "larger buffers", "setsockopt", CALL(SYS_setsockopt, 0, SOL_SOCKET, SO_RCVBUFFORCE) },
    { "TCP repair", "setsockopt", CALL(SYS_setsockopt, 0, IPPROTO_TCP, TCP_REPAIR) },
    { "iptables", "setsockopt", CALL(SYS_setsockopt, 0, IPPROTO_IP, 64) },
    { "a level for an option", "setsockopt", CALL(SYS_setsockopt, 0, IPPROTO_IPV6, SO_MARK) },
    { "credentials", "getsockopt", CALL(SYS_getsockopt, 0, SOL_SOCKET, SO_PEERCRED) },
    { "iptables' rules", "getsockopt", CALL(SYS_getsockopt, 0, IPPROTO_IP, 64) },
    { "other descriptor flags", "fcntl", CALL(SYS_fcntl, 0, F_SETFL, 0) },
    { "another descriptor", "fcntl", CALL(SYS_fcntl, 0, F_DUPFD, 0) },
    { "signals from a descriptor", "fcntl", CALL(SYS_fcntl, 0, F_SETOWN, 1) },
    { "executable memory", "mmap",
      CALL(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS) },
    { "a file in memory", "mmap", CALL(SYS_mmap, 0, 4096, PROT_WRITE, MAP_SHARED, 2) },
    { "an end to shared memory", "madvise", CALL(SYS_madvise, 0, 4096, MADV_REMOVE) },
    { "other advice", "madvise", CALL(SYS_madvise, 0, 4096, MADV_HWPOISON) },
    { "a place to read from", "splice", CALL(SYS_splice, 100, 4096, 101, 0, 1) },
    { "a place to write to", "splice", CALL(SYS_splice, 100, 0, 101, 4096, 1) },
    { "a place above 4 GiB", "splice", CALL(SYS_splice, 100, 0, 101, 1L << 32, 1) },
    { "a terminal's keys", "splice", CALL(SYS_splice, STDIN_FILENO, 0, 101, 0, 1) },
    { "the log's bytes", "splice", CALL(SYS_splice, STDERR_FILENO, 0, 101, 0, 1) },
    { "a pipe of packets", "pipe2", CALL(SYS_pipe2, 0, O_DIRECT) },
    { "init's end", "tgkill", CALL(SYS_tgkill, 1, 1, SIGKILL) },
    { "its parent's end", "tgkill", { .act = signal_parent } },
    { "a file for its channel", "bind", { .act = bind_channel } },
    { "another end of its channel", "connect", { .act = connect_channel } },
    { "high bits above an allowed value", "socket",
      CALL(SYS_socket, AF_UNIX | (1L << 32), TCP_TYPE, IPPROTO_TCP) },
};

static void every_misuse_of_an_allowed_call_ends_a_worker(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(misuses); i++) {
        const char *call = misuses[i].call;
        bool is_wider = strcmp(call, "fcntl") == 0 || strcmp(call, "madvise") == 0;
        if (is_wider && names(filter_instrument_calls(), call)) {
            print_message("not tried in an instrumented build: %s\n", misuses[i].name);
            continue;
        }
        if (misuses[i].deed.act == signal_parent && !names(filter_instrument_calls(), "getppid")) {
            /* It dies already of asking who that is. */
            assert_string_equal(child_dies_of(&misuses[i].deed), "getppid");
            continue;
        }
        const char *told = child_dies_of(&misuses[i].deed);
        if (strcmp(told, call) != 0)
            fail_msg("%s: %s is not forbidden, or told as \"%s\"", misuses[i].name, call, told);
    }
}

/* A signal from outside is no violation, and no handler of ours keeps it from ending us. */
static int be_signalled(const struct deed *deed, int channel)
{
    (void)deed;
    (void)channel;
    return raise(SIGSYS);
}

static int abort_in_jail(const struct deed *deed, int channel)
{
    (void)deed;
    (void)channel;
    abort();
}

static int use_much_memory(const struct deed *deed, int channel)
{
    char *much = malloc(300000);

    (void)deed;
    (void)channel;
    if (!much)
        return 1;
    memset(much, 1, 300000);
    char *more = realloc(much, 3000000);
    if (!more) {
        free(much);
        return 2;
    }
    memset(more, 2, 3000000);
    free(more);
    for (int i = 0; i < 1000; i++)
        free(malloc((size_t)i * 64));
    return 0;
}

static int spoof_in_jail(const struct deed *deed, int channel)
{
    struct spoof spoof = { .mark = 123, .preserve_port = deed->call };
    bool connected;

    (void)deed;
    (void)channel;
    spoof.source.in = (struct sockaddr_in){ .sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(0xC0000201),
                                            .sin_port = htons(40000) };
    spoof.target.in = (struct sockaddr_in){ .sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                            .sin_port = htons(9) };
    int fd = spoof_connect(&spoof, &connected);
    /* Whether somebody answers is the routing's matter. */
    if (fd < 0)
        return fd == -EPERM || fd == -EACCES;
    return sock_set_keepalive(fd, 60) < 0 || sock_set(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0;
}

static void what_a_worker_needs_works(void **state)
{
    static const struct deed memory = { .act = use_much_memory };
    static const struct deed spoofing = { .act = spoof_in_jail };
    static const struct deed keeping = { .act = spoof_in_jail, .call = true };
    static const struct deed aborting = { .act = abort_in_jail };
    static const struct deed signalled = { .act = be_signalled };

    (void)state;
    assert_int_equal(child_run(&memory, true), 0);
    assert_int_equal(child_run(&spoofing, true), 0);
    assert_int_equal(child_run(&keeping, true), 0);
    int status = child_run(&aborting, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = child_run(&signalled, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    assert_int_equal(atomic_load(child_told), 0);
}

/* The locks that hold without any filter. returns: the number of the one that does not. */
static int try_locks(const struct deed *deed, int channel)
{
    struct rlimit core;
    uid_t ids[3];

    (void)deed;
    (void)channel;
    if (getresuid(&ids[0], &ids[1], &ids[2]) < 0 || ids[0] == 0 || ids[1] == 0 || ids[2] == 0)
        return 1;
    if (setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0)
        return 2;
    if (getgroups(0, NULL) != 0 || setgroups(0, NULL) == 0)
        return 3;
    if (caps_permitted() != CAPS_BIT(CAP_NET_RAW) || caps_raise(CAPS_BIT(CAP_NET_ADMIN)) < 0 ||
        caps_permitted() != CAPS_BIT(CAP_NET_RAW))
        return 4;
    if (prctl(PR_CAPBSET_READ, (long)CAP_SYS_ADMIN, 0L, 0L, 0L) != 0 ||
        prctl(PR_CAPBSET_READ, (long)CAP_NET_RAW, 0L, 0L, 0L) != 0)
        return 5;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) != 1 || prctl(PR_GET_DUMPABLE) != 0)
        return 6;
    if (prctl(PR_CAP_AMBIENT, (long)PR_CAP_AMBIENT_RAISE, (long)CAP_NET_RAW, 0L, 0L) == 0)
        return 7;
    if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
        return 8;
    if (open("/etc/shadow", O_RDONLY) >= 0)
        return 9;
    if (kill(getppid(), 0) == 0)
        return 10;
    return 0;
}

static void without_a_filter_the_other_locks_hold(void **state)
{
    static const struct deed deed = { .act = try_locks };

    (void)state;
    assert_int_equal(child_run(&deed, false), 0);
}

/* returns: the number of what is still there. */
static int look_for_leftovers(const struct deed *deed, int channel)
{
    struct stat input;
    struct stat error;

    (void)channel;
    if (fcntl((int)deed->call, F_GETFD) >= 0)
        return 1;
    if (read(STDIN_FILENO, &input, 1) != 0 || write(STDOUT_FILENO, "x", 1) >= 0)
        return 2;
    if (fstat(STDIN_FILENO, &input) < 0 || fstat(STDERR_FILENO, &error) < 0)
        return 3;
    if (getenv("MMPROXY_TEST_SECRET") || !getenv("TZ") || environ[1])
        return 4;
    /* deed->args: where the variable was. */
    return *(const char *)deed->args[0] != '\0' ? 5 : 0;
}

static void a_worker_has_nothing_from_its_starter(void **state)
{
    static char secret[] = "MMPROXY_TEST_SECRET=1";
    struct deed deed = { .act = look_for_leftovers, .args = { (long)secret } };

    (void)state;
    assert_int_equal(putenv(secret), 0);
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    deed.call = fcntl(STDERR_FILENO, F_DUPFD, 3);
    assert_int_equal(child_run(&deed, false), 0);
    close((int)deed.call);
    assert_string_equal(getenv("MMPROXY_TEST_SECRET"), "1");
}

/* Standard error is a terminal here. returns: 0 where it can write and do nothing else. */
static int look_at_terminal(const struct deed *deed, int channel)
{
    int fds[2];

    (void)deed;
    (void)channel;
    log_descriptors(fds);
    for (size_t i = 0; i < 2; i++) {
        int flags = fcntl(i == 0 ? fds[0] : STDERR_FILENO, F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) != O_WRONLY)
            return (int)i + 1;
    }
    return 0;
}

static void a_worker_cannot_read_the_terminal_that_it_writes_to(void **state)
{
    static const struct log_config log = { .target = LOG_TARGET_STDERR };
    static const struct deed deed = { .act = look_at_terminal };
    int error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    (void)state;
    assert_true(error >= 0 && master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0 && dup2(terminal, STDERR_FILENO) >= 0);
    log_stderr_release();
    int err = log_open(&log);
    int status = err == 0 ? child_run(&deed, false) : err;
    dup2(error, STDERR_FILENO);
    log_stderr_release();
    close(error);
    close(terminal);
    close(master);
    assert_int_equal(status, 0);
}

/* The worker of the test keeps no ports. returns: 0 as it should be, or the kernel is older. */
static int bind_ports(const struct deed *deed, int channel)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, TCP_TYPE, IPPROTO_TCP);

    (void)deed;
    (void)channel;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return 1;
    fd = socket(AF_INET, TCP_TYPE, IPPROTO_TCP);
    address.sin_port = htons(5432);
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno != EACCES : 2;
}

static void a_worker_that_keeps_no_ports_binds_none(void **state)
{
    static const struct deed deed = { .act = bind_ports };

    (void)state;
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 4)
        print_message("not tried: this kernel can't limit ports (Landlock of Linux 6.7)\n");
    else
        assert_int_equal(child_run(&deed, true), 0);
}

static void a_missing_user_is_an_error(void **state)
{
    struct user user;

    (void)state;
    assert_int_equal(user_find(&user, "no-such-user-here"), -ENOENT);
    assert_int_equal(user_find(&user, "nobody"), 0);
    assert_true(user.is_switched && user.uid != 0 && user.gid != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_every_table_names_a_call_and_a_reason),
        cmocka_unit_test(every_call_that_is_not_in_the_table_ends_a_worker),
        cmocka_unit_test(every_misuse_of_an_allowed_call_ends_a_worker),
        cmocka_unit_test(what_a_worker_needs_works),
        cmocka_unit_test(without_a_filter_the_other_locks_hold),
        cmocka_unit_test(a_worker_has_nothing_from_its_starter),
        cmocka_unit_test(a_worker_cannot_read_the_terminal_that_it_writes_to),
        cmocka_unit_test(a_worker_that_keeps_no_ports_binds_none),
        cmocka_unit_test(a_missing_user_is_an_error),
    };

    return child_may_run("test_jail") ? cmocka_run_group_tests(tests, child_set_up, NULL)
                                      : SUPPORT_NOT_RUN;
}
