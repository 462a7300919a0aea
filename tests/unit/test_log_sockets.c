/* SPDX-License-Identifier: BSD-2-Clause */
/* syslog and the journal, played by sockets of ours; auto; reports. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "log_support.h"
#include "patience.h"

static char directory[] = "/tmp/mmproxy-test-XXXXXX";
static char syslog_path[64];
static char journal_path[64];

static int make_directory(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(syslog_path, sizeof(syslog_path), "%s/log", directory);
    snprintf(journal_path, sizeof(journal_path), "%s/journal", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static int clean_up(void **state)
{
    unlink(syslog_path);
    unlink(journal_path);
    return stderr_restore(state);
}

/* A daemon that listens there and reads when drained: each datagram is followed by "|". */
static int daemon_start(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void daemon_stop(int fd, const char *path)
{
    close(fd);
    unlink(path);
}

static const char *received(int fd)
{
    static char bytes[1 << 20];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(bytes) - 8192 && (n = recv(fd, bytes + len, 8192, 0)) > 0) {
        len += (size_t)n;
        bytes[len++] = '|';
    }
    bytes[len] = '\0';
    return bytes;
}

static int open_log(enum log_target target, enum log_format format)
{
    const struct log_config config = { .target = target,
                                       .level = LOG_LEVEL_INFO,
                                       .format = format };
    log_set_socket_paths(syslog_path, journal_path);
    return log_open(&config);
}

/* "<PRI>Mmm dd hh:mm:ss mmproxy[pid]: " has to precede message; returns what follows it. */
static const char *assert_syslog(const char *bytes, pid_t pid, const char *message)
{
    char expected[4096], month[4], day[3];
    int priority, hour, minute, second, length = 0;
    assert_int_equal(sscanf(bytes, "<%d>%3[A-Za-z] %2[0-9 ] %2d:%2d:%2d %n", &priority, month, day,
                            &hour, &minute, &second, &length),
                     6);
    assert_int_equal(length, 4 + 16);
    assert_int_equal(priority, 30);
    snprintf(expected, sizeof(expected), "mmproxy[%ld]: %s|", (long)pid, message);
    assert_memory_equal(bytes + length, expected, strlen(expected));
    return bytes + length + strlen(expected);
}

static void syslog_lines_are_as_rfc_3164_has_them(void **state)
{
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    log_info(NULL, "[+] Listening on %s\n", "[::]:2222");
    assert_string_equal(assert_syslog(received(fd), getpid(), "[+] Listening on [::]:2222\\x0a"),
                        "");
    close(fd);
}

static void syslog_takes_json_as_the_message(void **state)
{
    const struct log_field field = LOG_TEXT("event", "listening");
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_JSON), 0);
    log_event(LOG_LEVEL_INFO, &field, 1, "x");
    const char *json = strstr(received(fd), "]: {\"time\":\"20");
    assert_non_null(json);
    assert_non_null(strstr(json, "\"level\":\"info\",\"message\":\"x\",\"event\":\"listening\"}|"));
    close(fd);
}

static void a_forked_process_signs_with_its_own_pid(void **state)
{
    int status;
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    pid_t child = fork();
    if (child == 0) {
        log_info(NULL, "child");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_string_equal(assert_syslog(received(fd), child, "child"), "");
    close(fd);
}

static void syslog_that_restarts_is_found_again_and_told_what_it_missed(void **state)
{
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    log_info(NULL, "one");
    assert_syslog(received(fd), getpid(), "one");

    close(fd); /* crashed: its socket file is still there */
    errno = ETIMEDOUT;
    log_info(NULL, "two");
    unlink(syslog_path);
    log_info(NULL, "three");
    assert_int_equal(errno, ETIMEDOUT);

    fd = daemon_start(syslog_path);
    log_info(NULL, "four");
    const char *bytes = received(fd);
    assert_memory_equal(bytes, "<28>", 4);
    bytes = strstr(bytes, "]: [!] 2 log lines were lost|");
    assert_non_null(bytes);
    assert_string_equal(assert_syslog(strchr(bytes, '|') + 1, getpid(), "four"), "");
    close(fd);
}

static void a_loss_has_its_fields(void **state)
{
    (void)state;
    assert_int_equal(mkdir(journal_path, 0700), 0); /* in the way of the daemon */
    int pipe_fd = stderr_become_pipe();
    assert_int_equal(open_log(LOG_TARGET_JOURNAL, LOG_FORMAT_TEXT), 0);
    log_info(NULL, "one");
    assert_int_equal(rmdir(journal_path), 0);
    int fd = daemon_start(journal_path);
    log_info(NULL, "two");
    const char *bytes = received(fd);
    assert_non_null(strstr(bytes, "PRIORITY=4\n"));
    assert_non_null(strstr(bytes, "MESSAGE=[!] 1 log line was lost\n"
                                  "MMPROXY_EVENT=lost\nMMPROXY_LOST=1\n|"));
    close(fd);
    close(pipe_fd);
}

static void a_daemon_that_does_not_read_makes_nothing_wait(void **state)
{
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    for (unsigned i = 0; i < 5000; i++)
        log_info(NULL, "%01000u", i);
    received(fd);
    log_info(NULL, "again");
    assert_non_null(strstr(received(fd), " log lines were lost|"));
    close(fd);
}

static void a_daemon_that_is_not_there_yet_is_a_warning(void **state)
{
    static const enum log_target targets[] = { LOG_TARGET_SYSLOG, LOG_TARGET_JOURNAL };
    (void)state;
    int pipe_fd = stderr_become_pipe();
    for (size_t i = 0; i < COUNT(targets); i++) {
        const char *path = targets[i] == LOG_TARGET_SYSLOG ? syslog_path : journal_path;
        char expected[256];
        assert_int_equal(open_log(targets[i], LOG_FORMAT_TEXT), 0);
        snprintf(expected, sizeof(expected),
                 "[!] %s: No such file or directory: log lines are lost until it is there\n", path);
        assert_string_equal(drain(pipe_fd), expected);

        int fd = daemon_start(path);
        log_info(NULL, "here");
        assert_non_null(strstr(received(fd), "here"));
        assert_string_equal(drain(pipe_fd), "");
        daemon_stop(fd, path);
    }
    close(pipe_fd);
}

static void the_journal_gets_fields_whatever_the_format(void **state)
{
    const struct log_field fields[] = { LOG_TEXT("event", "connected"),
                                        LOG_TEXT("listener", "ssh") };
    (void)state;
    int fd = daemon_start(journal_path);
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        assert_int_equal(open_log(LOG_TARGET_JOURNAL, (enum log_format)format), 0);
        log_event(LOG_LEVEL_INFO, fields, COUNT(fields), "[+] ssh");
        assert_string_equal(received(fd), "PRIORITY=6\nSYSLOG_FACILITY=3\n"
                                          "SYSLOG_IDENTIFIER=mmproxy\nMESSAGE=[+] ssh\n"
                                          "MMPROXY_EVENT=connected\nMMPROXY_LISTENER=ssh\n|");
    }
    close(fd);
}

/* ---- auto and reports ---- */

/* JOURNAL_STREAM as printf makes it of stderr's device and inode; NULL = not set. */
static const struct {
    const char *name;
    const char *stream;
    bool has_journal; /* does its socket exist? */
    bool is_journal;
} autos[] = {
    { "systemd's stream", "%ju:%ju", true, true },
    { "systemd's stream, but no journal to be reached", "%ju:%ju", false, false },
    { "not started by systemd", NULL, true, false },
    { "empty", "", true, false },
    { "stderr was redirected: another inode", "%ju:1%ju", true, false },
    { "another device", "1%ju:%ju", true, false },
    { "something behind it", "%ju:%ju ", true, false },
    { "no numbers", "yes", true, false },
};

/* A socket as stderr, as systemd does it; returns its other end. */
static int stderr_become_stream(const char *stream_format)
{
    int ends[2];
    struct stat st;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fstat(ends[1], &st), 0);
    if (stream_format != NULL) {
        char device[32], inode[32], stream[128] = "";
        snprintf(device, sizeof(device), "%ju", (uintmax_t)st.st_dev);
        snprintf(inode, sizeof(inode), "%ju", (uintmax_t)st.st_ino);
        const char *values[] = { device, inode };
        size_t n_values = 0;
        for (const char *c = stream_format; *c != '\0'; c++) {
            bool is_value = strncmp(c, "%ju", 3) == 0;
            char plain[2] = { *c, '\0' };
            strncat(stream, is_value ? values[n_values++ % COUNT(values)] : plain,
                    sizeof(stream) - strlen(stream) - 1);
            c += is_value ? 2 : 0;
        }
        assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    } else {
        unsetenv("JOURNAL_STREAM");
    }
    stderr_become(ends[1]);
    return ends[0];
}

static void auto_is_the_journal_when_systemd_started_us(void **state)
{
    for (size_t i = 0; i < COUNT(autos); i++) {
        print_message("  %s\n", autos[i].name);
        int journal = daemon_start(journal_path);
        if (!autos[i].has_journal)
            daemon_stop(journal, journal_path);
        int stderr_end = stderr_become_stream(autos[i].stream);
        assert_int_equal(open_log(LOG_TARGET_AUTO, LOG_FORMAT_TEXT), 0);
        log_info(NULL, "here");
        if (autos[i].is_journal)
            assert_non_null(strstr(received(journal), "MESSAGE=here\n"));
        assert_string_equal(drain(stderr_end), autos[i].is_journal ? "" : "here\n");
        close(stderr_end);
        if (autos[i].has_journal)
            close(journal);
        clean_up(state);
    }
}

static const struct {
    const char *name;
    enum log_target target;
    bool is_stream; /* stderr is systemd's */
    bool is_reached;
    const char *copy;
} reports[] = {
    { "syslog, from a terminal", LOG_TARGET_SYSLOG, false, true, "[+] OK.\\x0a\n" },
    { "syslog, under systemd", LOG_TARGET_SYSLOG, true, true, "" },
    { "syslog, under systemd, out of reach", LOG_TARGET_SYSLOG, true, false, "[+] OK.\\x0a\n" },
    { "journal, from a terminal", LOG_TARGET_JOURNAL, false, true, "[+] OK.\\x0a\n" },
    { "journal, under systemd", LOG_TARGET_JOURNAL, true, true, "" },
    { "journal, under systemd, out of reach", LOG_TARGET_JOURNAL, true, false, "[+] OK.\\x0a\n" },
};

static void a_report_goes_to_the_log_and_to_stderr_but_not_twice_to_the_journal(void **state)
{
    for (size_t i = 0; i < COUNT(reports); i++) {
        const char *path = reports[i].target == LOG_TARGET_SYSLOG ? syslog_path : journal_path;
        print_message("  %s\n", reports[i].name);
        int fd = daemon_start(path);
        int stderr_end = stderr_become_stream(reports[i].is_stream ? "%ju:%ju" : NULL);
        assert_int_equal(open_log(reports[i].target, LOG_FORMAT_JSON), 0);
        if (!reports[i].is_reached)
            daemon_stop(fd, path);
        log_report(LOG_LEVEL_INFO, NULL, "[+] OK.\n");
        log_report(LOG_LEVEL_DEBUG, NULL, "not this");
        assert_string_equal(drain(stderr_end), reports[i].copy);
        if (reports[i].is_reached) {
            assert_non_null(strstr(received(fd), "[+] OK."));
            close(fd);
        }
        close(stderr_end);
        clean_up(state);
    }
}

static void a_reload_closes_what_the_old_target_held_open(void **state)
{
    (void)state;
    int fd = daemon_start(syslog_path);
    assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    int lowest = dup(fd);
    close(lowest);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(open_log(LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT), 0);
    assert_int_equal(open_log(LOG_TARGET_STDERR, LOG_FORMAT_TEXT), 0);
    assert_true(dup(fd) <= lowest);
    close(lowest);
    close(fd);
}

#define TEST(function) cmocka_unit_test_teardown(function, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(syslog_lines_are_as_rfc_3164_has_them),
        TEST(syslog_takes_json_as_the_message),
        TEST(a_forked_process_signs_with_its_own_pid),
        TEST(syslog_that_restarts_is_found_again_and_told_what_it_missed),
        TEST(a_loss_has_its_fields),
        TEST(a_daemon_that_does_not_read_makes_nothing_wait),
        TEST(a_daemon_that_is_not_there_yet_is_a_warning),
        TEST(the_journal_gets_fields_whatever_the_format),
        TEST(auto_is_the_journal_when_systemd_started_us),
        TEST(a_report_goes_to_the_log_and_to_stderr_but_not_twice_to_the_journal),
        TEST(a_reload_closes_what_the_old_target_held_open),
    };
    alarm(SUPPORT_HUNG_S);
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
