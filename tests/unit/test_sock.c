/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include <linux/filter.h>
#include <netinet/tcp.h>

#include "mmproxy/net/sock.h"

static struct addr any_port(const char *host)
{
    return support_host(host);
}

static int connect_to(int listening)
{
    struct addr addr = support_name(listening);
    int fd = socket(addr_family(&addr), SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(fd, errno);
    assert_return_code(connect(fd, &addr.sa, addr_len(&addr)), errno);
    return fd;
}

static int accept_from(int listening)
{
    support_wait(listening, POLLIN);
    int fd = accept(listening, NULL, NULL);
    assert_return_code(fd, errno);
    return fd;
}

static void a_listener_is_non_blocking_and_closed_on_exec(void **state)
{
    struct addr addr = any_port("127.0.0.1");
    int fd = sock_listen(&addr, 16, 0, false);

    (void)state;
    assert_return_code(fd, errno);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(fd);
}

static void accepted_sockets_inherit_what_was_set_once(void **state)
{
    static const struct {
        unsigned asked;
        int is_on;
        int idle_s;
    } cases[] = { { 0, 0, 0 }, { 1, 1, 1 }, { 61, 1, 61 }, { 100000, 1, 32767 } };
    struct addr addr = any_port("127.0.0.1");

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int listening = sock_listen(&addr, 16, cases[i].asked, false);
        int there = connect_to(listening);
        int fd = accept_from(listening);

        assert_int_equal(support_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(support_option(fd, SOL_SOCKET, SO_OOBINLINE), 1);
        assert_int_equal(support_option(fd, IPPROTO_TCP, TCP_QUICKACK), 0);
        assert_int_equal(support_option(fd, SOL_SOCKET, SO_KEEPALIVE), cases[i].is_on);
        if (cases[i].is_on)
            assert_int_equal(support_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), cases[i].idle_s);
        close(fd);
        close(there);
        close(listening);
    }
}

static void a_listener_s_options_can_be_set_anew(void **state)
{
    struct addr addr = any_port("127.0.0.1");
    int listening = sock_listen(&addr, 16, 10, false);
    struct tcp_info info;
    socklen_t len = sizeof info;

    (void)state;
    sock_set_up_again(listening, 33, 77);
    assert_int_equal(support_option(listening, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    assert_return_code(getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
    assert_int_equal(info.tcpi_sacked, 33); /* of a listener: its backlog */
    assert_int_equal(support_option(listening, IPPROTO_TCP, TCP_QUICKACK), 0);
    sock_set_up_again(listening, 33, 0);
    assert_int_equal(support_option(listening, SOL_SOCKET, SO_KEEPALIVE), 0);
    close(listening);
}

static void an_ipv6_wildcard_takes_ipv6_only(void **state)
{
    struct addr v6 = any_port("::");
    struct addr v4 = any_port("0.0.0.0");
    int fd = sock_listen(&v6, 16, 0, false);

    (void)state;
    if (fd == -EAFNOSUPPORT)
        skip();
    assert_return_code(fd, errno);
    struct addr name = support_name(fd);
    addr_set_port(&v4, addr_port(&name));
    int other = sock_listen(&v4, 16, 0, false);
    assert_return_code(other, errno);
    close(other);
    close(fd);
}

static void a_port_whose_last_connection_lingers_can_be_listened_on_again(void **state)
{
    struct addr addr = any_port("127.0.0.1");
    int listening = sock_listen(&addr, 16, 0, false);
    struct addr name = support_name(listening);
    int there = connect_to(listening);

    (void)state;
    sock_finish(accept_from(listening)); /* this end closes first and so is in TIME_WAIT */
    support_wait(there, POLLIN);
    close(there);
    close(listening);
    listening = sock_listen(&name, 16, 0, false);
    assert_return_code(listening, errno);
    close(listening);
}

static void a_wildcard_and_one_of_its_addresses_may_share_a_port(void **state)
{
    struct addr all = any_port("0.0.0.0");
    struct addr one = any_port("127.0.0.1");
    int fd = sock_listen(&all, 16, 0, true);
    struct addr name = support_name(fd);

    (void)state;
    addr_set_port(&one, addr_port(&name));
    assert_int_equal(sock_listen(&one, 16, 0, false), -EADDRINUSE);
    int beside = sock_listen(&one, 16, 0, true);
    assert_return_code(beside, errno);
    assert_int_equal(sock_share_port(fd, false), 0);
    assert_int_equal(sock_share_port(beside, false), 0);
    int there = connect_to(beside);
    close(accept_from(beside)); /* the more specific one has it */
    close(there);
    close(beside);
    close(fd);
}

static void what_can_t_be_listened_on_says_why_and_leaves_nothing(void **state)
{
    struct addr taken = any_port("127.0.0.1");
    struct addr elsewhere = support_addr("192.0.2.1:2222");
    int fd = sock_listen(&taken, 16, 0, false);
    unsigned before = support_descriptors("");

    (void)state;
    taken = support_name(fd);
    assert_int_equal(sock_listen(&taken, 16, 0, false), -EADDRINUSE);
    assert_int_equal(sock_listen(&elsewhere, 16, 0, false), -EADDRNOTAVAIL);
    assert_int_equal(support_descriptors(""), before);
    close(fd);
}

static void a_huge_backlog_is_no_error(void **state)
{
    struct addr addr = any_port("127.0.0.1");
    int fd = sock_listen(&addr, 4000000000u, 0, false);

    (void)state;
    assert_return_code(fd, errno);
    close(fd);
}

static void a_reset_is_seen_as_one_and_drops_what_was_not_delivered(void **state)
{
    int ends[2];
    char byte;

    (void)state;
    support_tcp_pair(ends, 0);
    sock_reset(ends[0]);
    support_wait(ends[1], POLLIN);
    assert_int_equal(recv(ends[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(ends[1]);
}

static void what_closes_an_accepted_socket_resets_it_unless_it_is_finished(void **state)
{
    struct addr addr = any_port("127.0.0.1");
    int listening = sock_listen(&addr, 16, 0, false);

    (void)state;
    for (int is_regular = 0; is_regular < 2; is_regular++) {
        int there = connect_to(listening);
        int fd = accept_from(listening);
        char bytes[4];

        assert_int_equal(send(fd, "last", 4, 0), 4);
        support_wait(there, POLLIN);
        if (is_regular)
            sock_finish(fd);
        else
            close(fd);
        support_wait(there, is_regular ? POLLRDHUP : POLLHUP);
        if (is_regular) {
            assert_int_equal(recv(there, bytes, sizeof bytes, 0), 4);
            assert_int_equal(recv(there, bytes, sizeof bytes, 0), 0);
        } else {
            assert_int_equal(support_option(there, SOL_SOCKET, SO_ERROR), ECONNRESET);
        }
        close(there);
    }
    close(listening);
}

static void a_reset_is_believed_when_all_that_was_sent_has_arrived(void **state)
{
    static const char bytes[1 << 20];
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_true(sock_takes_reset(ends[0]));
    support_set_option(ends[0], SOL_SOCKET, SO_MAX_PACING_RATE, 1000);
    assert_true(send(ends[0], bytes, sizeof bytes, 0) > 0);
    assert_false(sock_takes_reset(ends[0]));
    support_reset(ends[1]);
    support_wait(ends[0], POLLHUP);
    assert_true(sock_takes_reset(ends[0]));
    assert_true(sock_takes_reset(-1));
    close(ends[0]);
}

static unsigned sent_again(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;

    assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
    return info.tcpi_total_retrans + info.tcpi_probes;
}

/* The receiver has dropped them, and closed its window: the kernel would reset behind them. */
static void a_reset_behind_a_few_dropped_bytes_is_not_believed(void **state)
{
    static const char bytes[15000];
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    support_set_option(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
    support_set_option(ends[1], SOL_SOCKET, SO_RCVBUF, 1);
    assert_int_equal(send(ends[0], bytes, sizeof bytes, 0), sizeof bytes);
    while (!sock_takes_reset(ends[0]))
        usleep(1000);
    assert_int_equal(send(ends[0], bytes, 100, 0), 100);
    while (sent_again(ends[0]) == 0)
        usleep(1000);
    assert_false(sock_takes_reset(ends[0]));
    assert_int_equal(recv(ends[1], (char[sizeof bytes]){ 0 }, sizeof bytes, 0), sizeof bytes);
    while (!sock_takes_reset(ends[0]))
        usleep(1000);
    close(ends[0]);
    close(ends[1]);
}

/* From now on it hears nothing that is sent to it. */
static void deafen(int fd)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = { .len = 1, .filter = &drop };

    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
                       errno);
}

static void a_connection_is_over_when_both_ends_are_acknowledged_and_all_is_read(void **state)
{
    char bytes[8];
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_false(sock_is_over(ends[0], 0));
    assert_int_equal(send(ends[1], "bytes", 5, 0), 5);
    assert_return_code(shutdown(ends[0], SHUT_WR), errno);
    support_wait(ends[1], POLLRDHUP); /* the two are not to cross */
    assert_return_code(shutdown(ends[1], SHUT_WR), errno);
    support_wait(ends[0], POLLHUP);
    assert_false(sock_is_over(ends[0], 0));
    assert_int_equal(recv(ends[0], bytes, sizeof bytes, 0), 5);
    assert_true(sock_is_over(ends[0], 5));
    close(ends[0]);
    close(ends[1]);
    assert_false(sock_is_over(-1, 0));
}

static void a_connection_of_which_one_side_has_ended_is_not_over(void **state)
{
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_return_code(shutdown(ends[0], SHUT_WR), errno);
    support_wait(ends[1], POLLRDHUP);
    assert_false(sock_is_over(ends[0], 0));
    assert_false(sock_is_over(ends[1], 0));
    close(ends[0]);
    close(ends[1]);
}

/* Both ends cross: ours may have to be sent again. */
static void a_connection_whose_end_is_not_acknowledged_is_not_over(void **state)
{
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    deafen(ends[1]);
    assert_return_code(shutdown(ends[0], SHUT_WR), errno);
    assert_return_code(shutdown(ends[1], SHUT_WR), errno);
    support_wait(ends[0], POLLHUP);
    assert_false(sock_is_over(ends[0], 0));
    support_reset(ends[1]);
    close(ends[0]);
}

static void a_connection_that_was_reset_is_not_over(void **state)
{
    char bytes[8];
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_int_equal(send(ends[1], "bytes", 5, 0), 5);
    support_wait(ends[0], POLLIN);
    assert_int_equal(recv(ends[0], bytes, sizeof bytes, 0), 5);
    assert_return_code(shutdown(ends[0], SHUT_WR), errno);
    support_reset(ends[1]);
    support_wait(ends[0], POLLHUP | POLLERR);
    assert_false(sock_is_over(ends[0], 5));
    close(ends[0]);
}

static void an_option_that_can_t_be_set_says_why(void **state)
{
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_int_equal(sock_set(ends[0], IPPROTO_TCP, TCP_NODELAY, 0), 0);
    assert_int_equal(support_option(ends[0], IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(sock_set(ends[0], IPPROTO_TCP, 9999, 1), -ENOPROTOOPT);
    assert_int_equal(sock_set(-1, IPPROTO_TCP, TCP_NODELAY, 1), -EBADF);
    assert_int_equal(sock_set_keepalive(-1, 5), -EBADF);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_is_non_blocking_and_closed_on_exec),
        cmocka_unit_test(accepted_sockets_inherit_what_was_set_once),
        cmocka_unit_test(a_listener_s_options_can_be_set_anew),
        cmocka_unit_test(an_ipv6_wildcard_takes_ipv6_only),
        cmocka_unit_test(a_port_whose_last_connection_lingers_can_be_listened_on_again),
        cmocka_unit_test(a_wildcard_and_one_of_its_addresses_may_share_a_port),
        cmocka_unit_test(what_can_t_be_listened_on_says_why_and_leaves_nothing),
        cmocka_unit_test(a_huge_backlog_is_no_error),
        cmocka_unit_test(a_reset_is_seen_as_one_and_drops_what_was_not_delivered),
        cmocka_unit_test(what_closes_an_accepted_socket_resets_it_unless_it_is_finished),
        cmocka_unit_test(a_reset_is_believed_when_all_that_was_sent_has_arrived),
        cmocka_unit_test(a_reset_behind_a_few_dropped_bytes_is_not_believed),
        cmocka_unit_test(a_connection_is_over_when_both_ends_are_acknowledged_and_all_is_read),
        cmocka_unit_test(a_connection_of_which_one_side_has_ended_is_not_over),
        cmocka_unit_test(a_connection_whose_end_is_not_acknowledged_is_not_over),
        cmocka_unit_test(a_connection_that_was_reset_is_not_over),
        cmocka_unit_test(an_option_that_can_t_be_set_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
