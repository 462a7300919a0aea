/* SPDX-License-Identifier: BSD-2-Clause */
/* listening: which sockets are found, and which keep others from listening. */
#include "net_support.h"

#include <sys/stat.h>

#include "mmproxy/net/listening.h"
#include "mmproxy/net/sock.h"

static struct addr address(const char *text)
{
    struct addr addr;

    assert_null(addr_parse(&addr, text));
    return addr;
}

static void a_socket_takes_its_port_where_the_kernel_says_so(void **state)
{
    static const struct {
        const char *socket;
        bool takes_v4;
        const char *wanted;
        bool takes;
    } cases[] = {
        { "127.0.0.1:22", false, "127.0.0.1:22", true },
        { "127.0.0.1:22", false, "127.0.0.1:23", false },
        { "127.0.0.1:22", false, "127.0.0.2:22", false },
        { "127.0.0.1:22", false, "0.0.0.0:22", true },
        { "0.0.0.0:22", false, "192.0.2.1:22", true },
        { "0.0.0.0:22", false, "[::]:22", false },
        { "[::]:22", false, "[::1]:22", true },
        { "[::]:22", false, "127.0.0.1:22", false },
        { "[::]:22", true, "127.0.0.1:22", true },
        { "[::]:22", true, "127.0.0.1:23", false },
        { "[::1]:22", false, "0.0.0.0:22", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct listening socket = { .addr = address(cases[i].socket),
                                    .takes_v4 = cases[i].takes_v4 };
        struct addr wanted = address(cases[i].wanted);

        if (listening_takes(&socket, &wanted) != cases[i].takes)
            print_error("wrong: %s, %s\n", cases[i].socket, cases[i].wanted);
        assert_int_equal(listening_takes(&socket, &wanted), cases[i].takes);
    }
}

/* returns: whether the reader has a socket with that address; *out is it. */
static bool find(const struct addr *addr, struct listening *out)
{
    struct listening *sockets;
    size_t n;
    bool is_found = false;

    assert_return_code(listening_read(&sockets, &n), 0);
    for (size_t i = 0; i < n; i++) {
        if (!addr_equal(&sockets[i].addr, addr))
            continue;
        *out = sockets[i];
        is_found = true;
    }
    free(sockets);
    return is_found;
}

static void every_socket_that_listens_is_found(void **state)
{
    static const char *const hosts[] = { "127.0.0.1", "::1" };
    struct listening socket = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct addr any = support_host(hosts[i]);
        int fd = sock_listen(&any, 16, 0, false);
        struct addr addr;
        struct stat status;

        assert_return_code(fd, errno);
        addr = support_name(fd);
        assert_true(find(&addr, &socket));
        assert_return_code(fstat(fd, &status), errno);
        assert_int_equal(socket.inode, status.st_ino);
        assert_int_equal(socket.uid, geteuid());
        assert_false(socket.takes_v4);
        close(fd);
        assert_false(find(&addr, &socket));
    }
}

static void a_socket_for_both_families_is_known_as_such(void **state)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int off = 0;
    struct listening found = { 0 };
    struct addr addr;

    (void)state;
    assert_return_code(fd, errno);
    assert_return_code(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), errno);
    assert_return_code(listen(fd, 1), errno);
    addr = support_name(fd);
    assert_true(find(&addr, &found));
    assert_true(found.takes_v4);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_takes_its_port_where_the_kernel_says_so),
        cmocka_unit_test(every_socket_that_listens_is_found),
        cmocka_unit_test(a_socket_for_both_families_is_known_as_such),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
