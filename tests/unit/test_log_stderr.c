/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever stderr is, log neither waits for it nor takes another file for it. */
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "log_support.h"
#include "mmproxy/base/clock.h"
#include "patience.h"

static void open_stderr(enum log_level level)
{
    const struct log_config config = { .target = LOG_TARGET_STDERR, .level = level };
    assert_int_equal(log_open(&config), 0);
}

/*
 * Logs to a standard error that nobody reads: a call that waits ends in SIGALRM. Lines of 16
 * bytes fill a pipe to its last byte, so that telling the loss finds no room either.
 */
static unsigned log_until_full(void)
{
    enum { LINES = 10000 };
    for (unsigned i = 0; i < LINES; i++)
        log_info(NULL, "%015u", i);
    return LINES;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    while ((text = strchr(text, '\n')) != NULL) {
        text++;
        lines++;
    }
    return lines;
}

/* After log_until_full and a reader that woke up: one line tells how many were lost. */
static void assert_loss_is_reported(int fd, unsigned logged)
{
    char expected[128];
    unsigned arrived = count_lines(drain(fd));
    assert_true(arrived > 0 && arrived < logged);
    log_info(NULL, "again");
    snprintf(expected, sizeof(expected), "[!] %u log lines were lost\nagain\n", logged - arrived);
    assert_string_equal(drain(fd), expected);
    log_info(NULL, "and again");
    assert_string_equal(drain(fd), "and again\n");
}

static void a_full_pipe_loses_lines_and_waits_for_nothing(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    open_stderr(LOG_LEVEL_INFO);
    assert_loss_is_reported(fd, log_until_full());
    /* The shell that shares this description must not notice. */
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
}

static void a_socket_without_a_reader_loses_lines_and_waits_for_nothing(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    stderr_become(ends[1]);
    assert_loss_is_reported(ends[0], log_until_full());
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);

    close(ends[0]); /* SIGPIPE has its default action here */
    log_info(NULL, "to nobody");
}

/* Lets open, socket and dup fail with EMFILE; returns the limit to put back. */
static struct rlimit exhaust_descriptors(void)
{
    struct rlimit old, none;
    int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(lowest > STDERR_FILENO);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return old;
}

static void a_pipe_that_cannot_be_reopened_is_asked_before_each_line(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    struct rlimit old = exhaust_descriptors();
    assert_loss_is_reported(fd, log_until_full());
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(fd);
}

static int stderr_become_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    stderr_become(slave);
    return master;
}

/* The kernel passes a terminal's bytes on in its own time: waits until text has arrived. */
static void assert_terminal_shows(int master, const char *text)
{
    char bytes[256];
    size_t len = 0;
    while (len < strlen(text)) {
        struct pollfd readable = { .fd = master, .events = POLLIN };
        assert_int_equal(poll(&readable, 1, SUPPORT_DEADLINE_MS), 1);
        ssize_t n = read(master, bytes + len, sizeof(bytes) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    bytes[len] = '\0';
    assert_string_equal(bytes, text);
}

static void a_stopped_terminal_loses_lines_and_waits_for_nothing(void **state)
{
    (void)state;
    int master = stderr_become_terminal();
    assert_int_equal(tcflow(STDERR_FILENO, TCOOFF), 0); /* what Control-S does */
    log_info(NULL, "one");
    log_info(NULL, "two");
    assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
    log_info(NULL, "three");
    assert_terminal_shows(master, "[!] 2 log lines were lost\r\nthree\r\n");
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(master);
}

static void a_line_taken_in_part_does_not_join_the_next_one(void **state)
{
    bool is_seen = false;
    char last = '\n';
    (void)state;
    int master = stderr_become_terminal();
    log_until_full(); /* a terminal, unlike a pipe, takes what it has room for */
    while (!is_seen) {
        struct pollfd readable = { .fd = master, .events = POLLIN };
        assert_int_equal(poll(&readable, 1, SUPPORT_DEADLINE_MS), 1);
        const char *text = drain(master);
        const char *four = strstr(text, "four");
        is_seen = four != NULL;
        if (is_seen)
            assert_int_equal(four > text ? four[-1] : last, '\n');
        if (text[0] != '\0')
            last = text[strlen(text) - 1];
        log_info(NULL, "four");
    }
    close(master);
}

static void a_closed_stderr_never_becomes_another_file(void **state)
{
    char path[] = "/tmp/mmproxy-test-XXXXXX";
    (void)state;
    stderr_become(-1);
    log_info(NULL, "before");
    int other = mkstemp(path);
    unlink(path);
    assert_int_equal(other, STDERR_FILENO);
    log_info(NULL, "after");
    open_stderr(LOG_LEVEL_DEBUG);
    log_error(NULL, "and after log_open");
    log_report(LOG_LEVEL_ERROR, NULL, "as a report");
    assert_int_equal(lseek(other, 0, SEEK_END), 0);
}

static void a_stderr_replaced_later_does_not_get_our_lines(void **state)
{
    int ends[2];
    (void)state;
    int fd = stderr_become_pipe();
    log_info(NULL, "one");
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    log_info(NULL, "two");
    assert_string_equal(drain(fd), "one\ntwo\n");
    assert_string_equal(drain(ends[0]), "");
    close(ends[0]);
    close(ends[1]);
    close(fd);
}

static void lines_in_a_file_and_other_writers_do_not_overwrite_each_other(void **state)
{
    char path[] = "/tmp/mmproxy-test-XXXXXX";
    (void)state;
    int file = mkstemp(path); /* without O_APPEND, as "2>file" opens it */
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    unlink(path);
    stderr_become(file);
    assert_int_equal(write(STDERR_FILENO, "them\n", 5), 5);
    log_info(NULL, "us");
    assert_int_equal(write(STDERR_FILENO, "them\n", 5), 5);
    log_info(NULL, "us");
    assert_string_equal(drain(reader), "them\nus\nthem\nus\n");
    close(reader);
}

static void descriptors_0_and_1_stay_free(void **state)
{
    int status;
    (void)state;
    int fd = stderr_become_pipe();
    pid_t child = fork();
    if (child == 0) {
        const struct log_config config = { .target = LOG_TARGET_SYSLOG };
        close(0);
        close(1);
        log_open(&config);
        _exit(fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
}

static void a_failed_log_open_leaves_the_old_target_in_place(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    open_stderr(LOG_LEVEL_DEBUG);
    struct rlimit old = exhaust_descriptors();
    for (int target = LOG_TARGET_SYSLOG; target <= LOG_TARGET_JOURNAL; target++) {
        const struct log_config config = { .target = (enum log_target)target };
        assert_int_equal(log_open(&config), -EMFILE);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    log_debug(NULL, "as before");
    assert_string_equal(drain(fd), "as before\n");
    close(fd);
}

static void a_child_does_not_tell_what_its_parent_lost(void **state)
{
    int status;
    (void)state;
    int fd = stderr_become_pipe();
    log_until_full();
    drain(fd);
    pid_t child = fork();
    if (child == 0) {
        log_info(NULL, "child");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_string_equal(drain(fd), "child\n");
    log_info(NULL, "parent");
    assert_memory_equal(drain(fd), "[!] ", 4);
    close(fd);
}

static void losses_are_reported_at_most_once_a_second(void **state)
{
    uint64_t elapsed_ms;

    (void)state;
    int fd = stderr_become_pipe();
    do { /* in less than a second, or nothing is to be seen */
        log_until_full();
        drain(fd);
        uint64_t from_ms = clock_now_ms();
        log_info(NULL, "told");
        log_until_full();
        drain(fd);
        log_info(NULL, "next");
        elapsed_ms = clock_now_ms() - from_ms;
        if (elapsed_ms < 1000)
            assert_string_equal(drain(fd), "next\n");
    } while (elapsed_ms >= 1000);
    close(fd);
}

#define TEST(function) cmocka_unit_test_teardown(function, stderr_restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_pipe_loses_lines_and_waits_for_nothing),
        TEST(a_socket_without_a_reader_loses_lines_and_waits_for_nothing),
        TEST(a_pipe_that_cannot_be_reopened_is_asked_before_each_line),
        TEST(a_stopped_terminal_loses_lines_and_waits_for_nothing),
        TEST(a_line_taken_in_part_does_not_join_the_next_one),
        TEST(a_closed_stderr_never_becomes_another_file),
        TEST(a_stderr_replaced_later_does_not_get_our_lines),
        TEST(lines_in_a_file_and_other_writers_do_not_overwrite_each_other),
        TEST(descriptors_0_and_1_stay_free),
        TEST(a_failed_log_open_leaves_the_old_target_in_place),
        TEST(a_child_does_not_tell_what_its_parent_lost),
        TEST(losses_are_reported_at_most_once_a_second),
    };
    alarm(SUPPORT_HUNG_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
