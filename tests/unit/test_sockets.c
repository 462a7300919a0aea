/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include "mmproxy/net/sock.h"
#include "mmproxy/supervisor/sockets.h"

enum { MOST = 4 };

/* A configuration with one listener an address; all the rest of it is of no concern here. */
struct world {
    struct config config;
    struct listener_config listeners[MOST];
    struct addr_range addrs[MOST];
};

static struct config *listening_on(struct world *world, const struct addr *addrs, size_t n)
{
    memset(world, 0, sizeof *world);
    for (size_t i = 0; i < n; i++) {
        world->addrs[i] = (struct addr_range){ addrs[i], addr_port(&addrs[i]) };
        world->listeners[i].listen = &world->addrs[i];
        world->listeners[i].n_listen = 1;
        world->listeners[i].backlog = 16;
        world->listeners[i].keepalive_s = 60;
        snprintf(world->listeners[i].name, sizeof world->listeners[i].name, "listener%zu", i);
    }
    world->config.listeners = world->listeners;
    world->config.n_listeners = n;
    return &world->config;
}

/* Each is another one, and no other test has it. */
static struct addr free_addr(void)
{
    static unsigned n;
    unsigned pid = (unsigned)getpid();
    char text[sizeof "127.255.255.255:2222"];

    snprintf(text, sizeof text, "127.%u.%u.%u:2222", pid >> 8 & 255, pid & 255, ++n & 255);
    return support_addr(text);
}

static int dial(const struct addr *addr)
{
    int fd = socket(addr_family(addr), SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(fd, errno);
    if (connect(fd, &addr->sa, addr_len(addr)) == 0)
        return fd;
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    return -1;
}

static bool is_served(const struct addr *addr)
{
    int fd = dial(addr);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static const struct listen_socket *at(const struct sockets *sockets, const struct addr *addr)
{
    size_t i = 0;

    while (i < sockets->n && !addr_equal(&sockets->all[i].addr, addr))
        i++;
    assert_in_range(i, 0, sockets->n - 1);
    return &sockets->all[i];
}

static void open_missing(struct sockets *sockets, const struct config *config)
{
    struct sockets_failure failure = { 0 };

    assert_int_equal(sockets_open_missing(sockets, config, &failure), 0);
}

static void what_is_missing_is_opened_and_what_is_there_stays(void **state)
{
    struct addr addrs[2] = { free_addr(), free_addr() };
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    open_missing(&sockets, listening_on(&world, addrs, 1));
    sockets_commit(&sockets, &world.config);
    int fd = sockets.all[0].fd;
    int waiting = dial(&addrs[0]);
    assert_true(waiting >= 0);
    assert_false(is_served(&addrs[1]));

    open_missing(&sockets, listening_on(&world, addrs, 2));
    assert_int_equal(sockets.n, 2);
    assert_int_equal(at(&sockets, &addrs[0])->fd, fd);
    assert_false(at(&sockets, &addrs[0])->is_new);
    assert_true(at(&sockets, &addrs[1])->is_new);
    sockets_commit(&sockets, &world.config);
    assert_false(at(&sockets, &addrs[1])->is_new);
    assert_true(is_served(&addrs[1]));

    /* The connection that was in the queue is still there. */
    int accepted = accept(fd, NULL, NULL);
    assert_return_code(accepted, errno);
    close(accepted);
    close(waiting);
    sockets_close(&sockets);
}

static void a_rollback_forgets_what_was_new_and_nothing_else(void **state)
{
    struct addr addrs[3] = { free_addr(), free_addr(), free_addr() };
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    open_missing(&sockets, listening_on(&world, addrs, 1));
    sockets_commit(&sockets, &world.config);
    unsigned before = support_descriptors("");
    open_missing(&sockets, listening_on(&world, addrs, 3));
    sockets_rollback(&sockets);
    assert_int_equal(support_descriptors(""), before);
    assert_int_equal(sockets.n, 1);
    assert_true(is_served(&addrs[0]));
    assert_false(is_served(&addrs[1]));
    assert_false(is_served(&addrs[2]));
    sockets_close(&sockets);
}

static void the_address_that_can_t_be_had_is_named(void **state)
{
    struct addr addrs[3] = { free_addr(), support_addr("192.0.2.1:2222"), free_addr() };
    struct sockets_failure failure = { 0 };
    struct sockets sockets = { 0 };
    struct world world;
    unsigned before = support_descriptors("");

    (void)state;
    listening_on(&world, addrs, 3);
    assert_int_equal(sockets_open_missing(&sockets, &world.config, &failure), -EADDRNOTAVAIL);
    assert_ptr_equal(failure.listener, &world.listeners[1]);
    assert_true(addr_equal(&failure.addr, &addrs[1]));
    sockets_rollback(&sockets);
    assert_int_equal(support_descriptors(""), before);
    sockets_close(&sockets);
}

static void a_commit_shuts_down_what_is_not_wanted_even_where_others_hold_it(void **state)
{
    struct addr addrs[2] = { free_addr(), free_addr() };
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    open_missing(&sockets, listening_on(&world, addrs, 2));
    sockets_commit(&sockets, &world.config);
    int in_a_worker = dup(at(&sockets, &addrs[0])->fd);
    assert_return_code(in_a_worker, errno);

    sockets_commit(&sockets, listening_on(&world, &addrs[1], 1));
    assert_int_equal(sockets.n, 1);
    assert_true(addr_equal(&sockets.all[0].addr, &addrs[1]));
    assert_false(is_served(&addrs[0]));
    assert_int_equal(accept(in_a_worker, NULL, NULL), -1);
    assert_int_equal(errno, EINVAL);
    /* And it can be listened on again, by anybody. */
    int fd = sock_listen(&addrs[0], 1, 0, false);
    assert_return_code(fd, errno);
    close(fd);
    close(in_a_worker);
    sockets_close(&sockets);
}

static void those_that_stay_get_the_new_keepalive(void **state)
{
    struct addr addr = free_addr();
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    open_missing(&sockets, listening_on(&world, &addr, 1));
    sockets_commit(&sockets, &world.config);
    assert_int_equal(support_option(sockets.all[0].fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    world.listeners[0].keepalive_s = 0;
    open_missing(&sockets, &world.config);
    sockets_commit(&sockets, &world.config);
    assert_int_equal(support_option(sockets.all[0].fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    sockets_close(&sockets);
}

static void a_wildcard_may_give_way_to_one_of_its_addresses_and_back(void **state)
{
    struct addr one = free_addr();
    struct addr all = support_host("0.0.0.0");
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    addr_set_port(&all, addr_port(&one));
    const struct addr *turns[] = { &all, &one, &all };
    for (size_t i = 0; i < COUNT(turns); i++) {
        open_missing(&sockets, listening_on(&world, turns[i], 1));
        sockets_commit(&sockets, &world.config);
        assert_int_equal(sockets.n, 1);
        assert_true(is_served(&one));
        /* Only for the moment: nobody else may share the port afterwards. */
        assert_int_equal(support_option(sockets.all[0].fd, SOL_SOCKET, SO_REUSEPORT), 0);
    }
    sockets_close(&sockets);
}

static void a_listening_socket_from_outside_is_used_for_its_address(void **state)
{
    int fd = support_listen(0);
    struct addr addr = support_name(fd);
    struct sockets sockets = { 0 };
    struct world world;

    (void)state;
    assert_int_equal(sockets_adopt(&sockets, fd, true, false), 0);
    assert_true(sockets.all[0].is_adopted);
    open_missing(&sockets, listening_on(&world, &addr, 1));
    assert_int_equal(sockets.n, 1);
    assert_int_equal(sockets.all[0].fd, fd);
    sockets_rollback(&sockets); /* was not opened by the load: stays */
    assert_int_equal(sockets.n, 1);
    sockets_commit(&sockets, &world.config);
    assert_false(sockets.all[0].is_adopted);
    assert_int_equal(support_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    sockets_close(&sockets);
}

static void a_socket_that_is_kept_outside_is_closed_but_not_shut_down(void **state)
{
    (void)state;
    for (int is_kept_outside = 0; is_kept_outside < 2; is_kept_outside++) {
        int fd = support_listen(0);
        struct addr addr = support_name(fd);
        int outside = dup(fd);
        struct sockets sockets = { 0 };

        assert_return_code(outside, errno);
        assert_int_equal(sockets_adopt(&sockets, fd, is_kept_outside, false), 0);
        sockets_shut_down(&sockets);
        assert_int_equal(sockets.n, 0);
        assert_int_equal(is_served(&addr), is_kept_outside);
        close(outside);
    }
}

static void what_is_no_listening_tcp_socket_is_not_taken(void **state)
{
    struct sockets sockets = { 0 };
    int listening = support_listen(0);
    int pair[2];
    int ends[2];

    (void)state;
    support_tcp_pair(ends, 0);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(sockets_adopt(&sockets, ends[0], false, false), -EINVAL);
    assert_int_equal(sockets_adopt(&sockets, pair[0], false, false), -EINVAL);
    assert_int_equal(sockets_adopt(&sockets, file, false, false), -ENOTSOCK);
    assert_int_equal(sockets_adopt(&sockets, -1, false, false), -EBADF);
    assert_int_equal(sockets_adopt(&sockets, listening, false, false), 0);
    int again = dup(listening);
    assert_int_equal(sockets_adopt(&sockets, again, false, false), -EEXIST);
    assert_int_equal(sockets.n, 1);
    close(again);
    close(file);
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(ends[i]);
    }
    sockets_close(&sockets);
}

static void workers_get_every_address_with_its_listener(void **state)
{
    struct addr addrs[3] = { free_addr(), free_addr(), free_addr() };
    struct sockets sockets = { 0 };
    struct world world;
    size_t n;

    (void)state;
    listening_on(&world, addrs, 3);
    world.listeners[0].n_listen = 2; /* the first two addresses, one behind the other */
    world.listeners[1] = world.listeners[2];
    world.config.n_listeners = 2;
    open_missing(&sockets, &world.config);
    struct worker_socket *list = sockets_for_workers(&sockets, &world.config, &n);
    assert_non_null(list);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        struct addr name = support_name(list[i].fd);
        assert_int_equal(list[i].listener, i < 2 ? 0 : 1);
        assert_true(addr_equal(&name, &addrs[i]));
    }
    free(list);
    list = sockets_for_workers(&sockets, listening_on(&world, addrs, 0), &n);
    assert_non_null(list);
    assert_int_equal(n, 0);
    free(list);
    sockets_close(&sockets);
    sockets_close(&sockets);
}

/* A free range is guessed: one that turns out to be in use is not the fault of what is tested. */
static struct addr_range free_range(unsigned n)
{
    for (uint16_t first = 20000; first < 60000; first = (uint16_t)(first + n)) {
        struct addr_range range = { .addr = support_addr("127.0.0.1:1"),
                                    .last = (uint16_t)(first + n - 1) };
        unsigned i = 0;
        addr_set_port(&range.addr, first);
        while (i < n) {
            struct addr addr = addr_range_at(&range, i);
            int fd = sock_listen(&addr, 1, 0, false);
            if (fd < 0)
                break;
            close(fd);
            i++;
        }
        if (i == n)
            return range;
    }
    fail_msg("no %u free ports in a row", n);
    return (struct addr_range){ 0 };
}

static void a_range_has_a_socket_for_each_port_and_can_grow(void **state)
{
    struct addr_range range = free_range(20);
    struct sockets sockets = { 0 };
    struct worker_socket *list;
    struct world world;
    struct addr last = addr_range_at(&range, 19);
    struct addr tenth = addr_range_at(&range, 9);
    size_t n = 0;

    (void)state;
    listening_on(&world, &tenth, 1);
    open_missing(&sockets, &world.config);
    sockets_commit(&sockets, &world.config);
    int fd = sockets.all[0].fd;
    world.addrs[0] = range;
    open_missing(&sockets, &world.config);
    assert_int_equal(sockets.n, 20);
    assert_int_equal(at(&sockets, &tenth)->fd, fd);
    assert_false(at(&sockets, &tenth)->is_new);
    sockets_commit(&sockets, &world.config);
    assert_true(is_served(&last));
    list = sockets_for_workers(&sockets, &world.config, &n);
    assert_non_null(list);
    assert_int_equal(n, 20);
    for (unsigned i = 0; i < n; i++) {
        struct addr expected = addr_range_at(&range, i);
        struct addr name = support_name(list[i].fd);
        assert_true(addr_equal(&list[i].addr, &expected));
        assert_true(addr_equal(&name, &expected));
    }
    free(list);
    listening_on(&world, &last, 1);
    sockets_commit(&sockets, &world.config);
    assert_int_equal(sockets.n, 1);
    assert_true(is_served(&last));
    assert_false(is_served(&tenth));
    sockets_close(&sockets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_opened_and_what_is_there_stays),
        cmocka_unit_test(a_rollback_forgets_what_was_new_and_nothing_else),
        cmocka_unit_test(the_address_that_can_t_be_had_is_named),
        cmocka_unit_test(a_commit_shuts_down_what_is_not_wanted_even_where_others_hold_it),
        cmocka_unit_test(those_that_stay_get_the_new_keepalive),
        cmocka_unit_test(a_wildcard_may_give_way_to_one_of_its_addresses_and_back),
        cmocka_unit_test(a_listening_socket_from_outside_is_used_for_its_address),
        cmocka_unit_test(a_socket_that_is_kept_outside_is_closed_but_not_shut_down),
        cmocka_unit_test(what_is_no_listening_tcp_socket_is_not_taken),
        cmocka_unit_test(workers_get_every_address_with_its_listener),
        cmocka_unit_test(a_range_has_a_socket_for_each_port_and_can_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
