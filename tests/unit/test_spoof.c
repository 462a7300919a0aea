/* SPDX-License-Identifier: BSD-2-Clause */
#include "netns_support.h"

#include <netinet/tcp.h>
#include <sys/capability.h>
#include <sys/wait.h>

#include "mmproxy/net/sock.h"
#include "mmproxy/net/spoof.h"

static int set_up(void **state)
{
    if (support_enter_netns(state) < 0)
        return -1;
    support_ip("rule add from 127.0.0.0/8 iif lo lookup 100");
    support_ip("route add local 0.0.0.0/0 dev lo table 100");
    support_ip("-6 rule add from ::1/128 iif lo lookup 100");
    support_ip("-6 route add local ::/0 dev lo table 100");
    return 0;
}

static const struct world {
    const char *target;
    const char *client;
    const char *wildcard;
} worlds[] = {
    { "127.0.0.1", "198.51.100.7:5555", "0.0.0.0" },
    { "::1", "[2001:db8::7]:5555", "::" },
};

struct service {
    int listening;
    struct spoof spoof;
};

static struct service service_open(const struct world *world)
{
    struct addr addr = support_host(world->target);
    struct service service = { .listening = sock_listen(&addr, 16, 0, false) };

    assert_return_code(service.listening, errno);
    service.spoof = (struct spoof){ .source = support_addr(world->client),
                                    .target = support_name(service.listening),
                                    .mark = 123,
                                    .preserve_port = true };
    return service;
}

static int accept_from(const struct service *service, struct addr *peer)
{
    support_wait(service->listening, POLLIN);
    int fd = accept4(service->listening, NULL, NULL, SOCK_CLOEXEC);
    assert_return_code(fd, errno);
    *peer = support_peer(fd);
    return fd;
}

/* Connects, accepts, tells whom the service saw. returns: the accepted end; *fd is the other. */
static int connect_through(const struct service *service, int *fd, struct addr *seen)
{
    bool is_connected;

    *fd = spoof_connect(&service->spoof, &is_connected);
    assert_return_code(*fd, errno);
    int accepted = accept_from(service, seen);
    support_wait(*fd, POLLOUT);
    if (!is_connected)
        assert_int_equal(spoof_finish(*fd, &service->spoof.target), 0);
    return accepted;
}

static void the_service_sees_the_client_s_address_and_port(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service service = service_open(&worlds[i]);
        struct addr seen;
        int fd;
        int accepted = connect_through(&service, &fd, &seen);
        char byte;

        assert_true(addr_equal(&seen, &service.spoof.source));
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(recv(accepted, &byte, 1, 0), 1);
        assert_int_equal(send(accepted, "y", 1, 0), 1);
        support_wait(fd, POLLIN);
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        close(fd);
        close(accepted);
        close(service.listening);
    }
}

static void the_port_is_the_kernel_s_choice_where_it_is_not_to_be_preserved(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds) * 2; i++) {
        struct service service = service_open(&worlds[i / 2]);
        struct addr seen;
        int fd;

        if (i % 2 == 0)
            service.spoof.preserve_port = false;
        else
            addr_set_port(&service.spoof.source, 0); /* preserving nothing */
        int accepted = connect_through(&service, &fd, &seen);
        assert_true(addr_equal_host(&seen, &service.spoof.source));
        assert_int_not_equal(addr_port(&seen), 5555);
        close(fd);
        close(accepted);
        close(service.listening);
    }
}

static void a_port_that_a_wildcard_listener_has_is_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service service = service_open(&worlds[i]);
        struct addr wildcard = support_host(worlds[i].wildcard);
        struct addr seen;
        int fd;

        addr_set_port(&wildcard, 5555);
        int other = sock_listen(&wildcard, 1, 0, false);
        assert_return_code(other, errno);
        int accepted = connect_through(&service, &fd, &seen);
        assert_true(addr_equal_host(&seen, &service.spoof.source));
        assert_int_not_equal(addr_port(&seen), 5555);
        close(fd);
        close(accepted);
        close(other);
        close(service.listening);
    }
}

static void the_same_client_twice_gets_another_port_the_second_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service service = service_open(&worlds[i]);
        struct addr seen[2];
        int fds[4];

        fds[0] = connect_through(&service, &fds[1], &seen[0]);
        fds[2] = connect_through(&service, &fds[3], &seen[1]);
        assert_true(addr_equal(&seen[0], &service.spoof.source));
        assert_true(addr_equal_host(&seen[1], &service.spoof.source));
        assert_false(addr_equal(&seen[1], &seen[0]));
        for (size_t j = 0; j < COUNT(fds); j++)
            close(fds[j]);
        close(service.listening);
    }
}

static void a_port_in_time_wait_can_be_had_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service first = service_open(&worlds[i]);
        struct service second = service_open(&worlds[i]);
        struct addr seen;
        int fd;
        int accepted = connect_through(&first, &fd, &seen);

        sock_finish(fd);
        support_wait(accepted, POLLIN);
        sock_finish(accepted);
        accepted = connect_through(&second, &fd, &seen);
        assert_true(addr_equal(&seen, &second.spoof.source));
        close(fd);
        close(accepted);
        close(first.listening);
        close(second.listening);
    }
}

static void the_socket_has_what_the_session_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service service = service_open(&worlds[i]);
        struct addr seen;
        int fd;

        int accepted = connect_through(&service, &fd, &seen);
        assert_int_equal(support_option(fd, SOL_SOCKET, SO_MARK), 123);
        assert_int_equal(support_option(fd, SOL_SOCKET, SO_OOBINLINE), 1);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        close(accepted);
        close(service.listening);
    }
}

static void the_target_sees_a_reset_unless_the_session_has_finished(void **state)
{
    (void)state;
    for (int is_regular = 0; is_regular < 2; is_regular++) {
        struct service service = service_open(&worlds[0]);
        struct addr seen;
        char byte;
        int fd;
        int accepted = connect_through(&service, &fd, &seen);

        if (is_regular)
            sock_finish(fd);
        else
            close(fd);
        support_wait(accepted, POLLIN);
        assert_int_equal(recv(accepted, &byte, 1, 0), is_regular ? 0 : -1);
        close(accepted);
        close(service.listening);
    }
}

static void a_target_that_does_not_answer_is_waited_for(void **state)
{
    struct service service = service_open(&worlds[0]);
    struct addr seen;
    bool is_connected;
    int fds[2];
    int accepted[2];

    (void)state;
    /* A queue that is full with one: the kernel drops what comes on top of it. */
    assert_return_code(listen(service.listening, 0), errno);
    fds[0] = spoof_connect(&service.spoof, &is_connected);
    assert_return_code(fds[0], errno);
    support_wait(fds[0], POLLOUT);
    support_wait(service.listening, POLLIN);
    fds[1] = spoof_connect(&service.spoof, &is_connected);
    assert_return_code(fds[1], errno);
    assert_false(is_connected);
    assert_int_equal(spoof_finish(fds[1], &service.spoof.target), -EALREADY);

    for (size_t i = 0; i < COUNT(fds); i++)
        accepted[i] = accept_from(&service, &seen);
    support_wait(fds[1], POLLOUT);
    assert_int_equal(spoof_finish(fds[1], &service.spoof.target), 0);
    for (size_t i = 0; i < COUNT(fds); i++) {
        close(accepted[i]);
        close(fds[i]);
    }
    close(service.listening);
}

static void bytes_can_be_sent_before_a_check_whether_it_is_connected(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(worlds); i++) {
        struct service service = service_open(&worlds[i]);
        struct addr seen;
        char bytes[8] = "";
        bool is_connected;

        service.spoof.sends_at_once = true;
        int fd = spoof_connect(&service.spoof, &is_connected);
        assert_return_code(fd, errno);
        support_wait(fd, POLLOUT);
        assert_int_equal(spoof_send(fd, (const uint8_t *)"payload", 7), 7);
        int accepted = accept_from(&service, &seen);
        support_wait(accepted, POLLIN);
        assert_int_equal(recv(accepted, bytes, sizeof bytes, 0), 7);
        assert_string_equal(bytes, "payload");
        close(accepted);
        close(service.listening);
        close(fd);

        fd = spoof_connect(&service.spoof, &is_connected);
        if (fd >= 0) {
            support_wait(fd, POLLOUT);
            assert_int_equal(spoof_send(fd, (const uint8_t *)"payload", 7), -ECONNREFUSED);
            close(fd);
        } else
            assert_int_equal(fd, -ECONNREFUSED);
    }
}

static void a_failure_says_why_and_leaves_nothing_open(void **state)
{
    static const struct {
        const char *source;
        const char *target;
        int err;
    } cases[] = {
        { "198.51.100.7:5555", "127.0.0.1:1", -ECONNREFUSED },
        { "[2001:db8::7]:5555", "[::1]:1", -ECONNREFUSED },
        { "198.51.100.7:5555", "203.0.113.1:1", -ENETUNREACH },
        { "[2001:db8::7]:5555", "[2001:db8:ffff::1]:1", -ENETUNREACH },
    };
    unsigned before = support_descriptors("");

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct spoof spoof = { .source = support_addr(cases[i].source),
                               .target = support_addr(cases[i].target),
                               .preserve_port = true };
        bool is_connected;

        int fd = spoof_connect(&spoof, &is_connected);
        if (fd >= 0) { /* the answer came behind connect(2) */
            support_wait(fd, POLLOUT);
            int err = -support_option(fd, SOL_SOCKET, SO_ERROR);
            close(fd);
            fd = err;
        }
        assert_int_equal(fd, cases[i].err);
        assert_int_equal(support_descriptors(""), before);
    }
}

static void a_process_that_may_not_spoof_gets_that_reason(void **state)
{
    int status;

    (void)state;
    assert_int_equal(spoof_probe(123), 0);
    pid_t pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        cap_t none = cap_init();
        bool is_told = cap_set_proc(none) == 0 && spoof_probe(123) == -EPERM;
        (void)cap_free(none);
        _exit(is_told ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_service_sees_the_client_s_address_and_port),
        cmocka_unit_test(the_port_is_the_kernel_s_choice_where_it_is_not_to_be_preserved),
        cmocka_unit_test(a_port_that_a_wildcard_listener_has_is_replaced),
        cmocka_unit_test(the_same_client_twice_gets_another_port_the_second_time),
        cmocka_unit_test(a_port_in_time_wait_can_be_had_again),
        cmocka_unit_test(the_socket_has_what_the_session_needs),
        cmocka_unit_test(the_target_sees_a_reset_unless_the_session_has_finished),
        cmocka_unit_test(a_target_that_does_not_answer_is_waited_for),
        cmocka_unit_test(bytes_can_be_sent_before_a_check_whether_it_is_connected),
        cmocka_unit_test(a_failure_says_why_and_leaves_nothing_open),
        cmocka_unit_test(a_process_that_may_not_spoof_gets_that_reason),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
