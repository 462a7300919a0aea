/* SPDX-License-Identifier: BSD-2-Clause */
/* What log writes; how it writes to stderr, syslog and the journal has tests of its own. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "log_support.h"
#include "patience.h"

static void open_stderr(enum log_level level, enum log_format format)
{
    const struct log_config config = { .target = LOG_TARGET_STDERR,
                                       .level = level,
                                       .format = format };
    assert_int_equal(log_open(&config), 0);
}

static void before_log_open_lines_go_to_stderr_as_text_at_level_info(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    log_info(NULL, "[+] Listening on %s (%s)", "0.0.0.0:2222", "ssh");
    log_debug(NULL, "not this");
    assert_string_equal(drain(fd), "[+] Listening on 0.0.0.0:2222 (ssh)\n");
    close(fd);
}

static const struct {
    enum log_level level;
    const char *written;
} filters[] = {
    { LOG_LEVEL_ERROR, "0\n5\n" },
    { LOG_LEVEL_WARNING, "0\n1\n5\n6\n" },
    { LOG_LEVEL_NOTICE, "0\n1\n2\n5\n6\n7\n" },
    { LOG_LEVEL_INFO, "0\n1\n2\n3\n5\n6\n7\n8\n" },
    { LOG_LEVEL_DEBUG, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n" },
};

static void a_level_lets_itself_and_the_more_severe_through(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    for (size_t i = 0; i < COUNT(filters); i++) {
        open_stderr(filters[i].level, LOG_FORMAT_TEXT);
        log_error(NULL, "0");
        log_warning(NULL, "1");
        log_notice(NULL, "2");
        log_info(NULL, "3");
        log_debug(NULL, "4");
        for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            log_event((enum log_level)level, NULL, 0, "%d", level + 5);
            assert_int_equal(log_enabled((enum log_level)level), level <= (int)filters[i].level);
        }
        assert_string_equal(drain(fd), filters[i].written);
    }
    close(fd);
}

static void json_lines_carry_the_fields_and_text_lines_do_not(void **state)
{
    const struct log_field fields[] = { LOG_TEXT("event", "refused"), LOG_NUMBER("held_back", 3) };
    (void)state;
    int fd = stderr_become_pipe();
    open_stderr(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_event(LOG_LEVEL_INFO, fields, COUNT(fields), "a\nb");
    assert_string_equal(drain(fd), "a\\x0ab\n");
    open_stderr(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_INFO, fields, COUNT(fields), "a\nb");
    const char *line = drain(fd);
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_non_null(
        strstr(line, "\"message\":\"a\\u000ab\",\"event\":\"refused\",\"held_back\":3}\n"));
    close(fd);
}

static void a_message_longer_than_a_line_is_cut_to_2048_bytes(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        open_stderr(LOG_LEVEL_INFO, (enum log_format)format);
        log_info(NULL, "%s %0*d %s", "start", 5000, 1, "end");
        const char *line = drain(fd);
        assert_int_equal(strlen(line), 2048);
        assert_non_null(strstr(line, "start 000"));
        assert_non_null(strstr(line, "00..."));
        assert_int_equal(line[2047], '\n');
    }
    close(fd);
}

static void a_report_is_written_once_where_the_log_is_stderr(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    open_stderr(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_report(LOG_LEVEL_INFO, NULL, "[+] OK. %d", 1);
    log_report(LOG_LEVEL_DEBUG, NULL, "not this");
    assert_string_equal(drain(fd), "[+] OK. 1\n");
    close(fd);
}

static void after_log_close_lines_go_to_stderr_as_text(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    open_stderr(LOG_LEVEL_ERROR, LOG_FORMAT_JSON);
    log_close();
    log_close();
    log_info(NULL, "still here");
    assert_string_equal(drain(fd), "still here\n");
    close(fd);
}

static void lines_kept_back_are_written_as_configured_in_the_end(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    log_hold();
    log_warning("config", "first");
    log_notice("start", "second");
    log_info(NULL, "third");
    assert_string_equal(drain(fd), "");
    open_stderr(LOG_LEVEL_NOTICE, LOG_FORMAT_JSON);
    const char *lines = drain(fd);
    const char *first =
        strstr(lines, "\"level\":\"warning\",\"message\":\"first\",\"event\":\"config\"}");
    assert_non_null(first);
    assert_non_null(strstr(first, "\"message\":\"second\",\"event\":\"start\"}"));
    assert_null(strstr(lines, "third"));
    log_warning(NULL, "at once");
    assert_non_null(strstr(drain(fd), "at once"));
    close(fd);
}

static void lines_kept_back_come_before_an_error_and_at_the_end(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    log_hold();
    log_warning(NULL, "warning");
    log_error(NULL, "error");
    assert_string_equal(drain(fd), "warning\nerror\n");
    log_hold();
    log_warning(NULL, "another");
    log_close();
    assert_string_equal(drain(fd), "another\n");
    close(fd);
}

static void a_child_does_not_write_what_its_parent_keeps_back(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    log_hold();
    log_warning(NULL, "parent");
    pid_t child = fork();
    if (child == 0) {
        open_stderr(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        log_warning(NULL, "child");
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_string_equal(drain(fd), "child\n");
    log_close();
    assert_string_equal(drain(fd), "parent\n");
    close(fd);
}

static void log_everything(void)
{
    log_error(NULL, "%s", strerror(errno));
    log_warning(NULL, "w");
    log_notice(NULL, "n");
    log_info(NULL, "i");
    log_debug(NULL, "d");
    log_event(LOG_LEVEL_ERROR, NULL, 0, "e");
    log_report(LOG_LEVEL_ERROR, NULL, "r");
}

static void errno_survives_every_line(void **state)
{
    (void)state;
    int fd = stderr_become_pipe();
    errno = ECONNREFUSED;
    log_everything();
    assert_int_equal(errno, ECONNREFUSED);
    assert_memory_equal(drain(fd), "Connection refused\n", 19);

    close(fd); /* nobody reads any more: every write fails */
    signal(SIGPIPE, SIG_IGN);
    errno = ETIMEDOUT;
    log_everything();
    assert_int_equal(errno, ETIMEDOUT);
    signal(SIGPIPE, SIG_DFL);
}

#define TEST(function) cmocka_unit_test_teardown(function, stderr_restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(before_log_open_lines_go_to_stderr_as_text_at_level_info),
        TEST(a_level_lets_itself_and_the_more_severe_through),
        TEST(json_lines_carry_the_fields_and_text_lines_do_not),
        TEST(a_message_longer_than_a_line_is_cut_to_2048_bytes),
        TEST(a_report_is_written_once_where_the_log_is_stderr),
        TEST(after_log_close_lines_go_to_stderr_as_text),
        TEST(lines_kept_back_are_written_as_configured_in_the_end),
        TEST(lines_kept_back_come_before_an_error_and_at_the_end),
        TEST(a_child_does_not_write_what_its_parent_keeps_back),
        TEST(errno_survives_every_line),
    };
    alarm(SUPPORT_HUNG_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
