/* SPDX-License-Identifier: BSD-2-Clause */
/* peers: what workers know of each other's; a region is a worker here. */
#include "net_support.h"

#include <sys/mman.h>

#include "mmproxy/worker/datagram/peers.h"

enum { IDLE = 1000, LISTENER = 7, SETS = 16 };

static struct worker {
    struct peers *peers; /* a mapping of its own: each is limited to its region */
    unsigned region;
} workers[2];

static struct peers *supervisor;
static struct addr client_a;
static struct addr client_b;
static struct addr peer;

static int set_up(void **state)
{
    (void)state;
    client_a = support_addr("198.51.100.1:1000");
    client_b = support_addr("198.51.100.2:2000");
    peer = support_addr("192.0.2.1:3000");
    if (peers_new(&supervisor, SETS) < 0)
        return -1;
    for (unsigned i = 0; i < COUNT(workers); i++) {
        int region = peers_claim(supervisor);
        if (region < 0 || peers_adopt(&workers[i].peers, dup(peers_fd(supervisor))) < 0 ||
            peers_own(workers[i].peers, (unsigned)region) < 0)
            return -1;
        workers[i].region = (unsigned)region;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT(workers); i++)
        peers_free(workers[i].peers);
    peers_free(supervisor);
    return 0;
}

static struct peers_entry *note(unsigned worker, const struct addr *from, const struct addr *client,
                                uint64_t now)
{
    const struct peers_client named = { .addr = *client, .is_named = true, .named_us = now };

    return peers_note(workers[worker].peers, LISTENER, from, &named, now, IDLE);
}

static void expect(unsigned worker, uint64_t now, const struct addr *client)
{
    struct peers_client found;
    bool is_found = peers_find(workers[worker].peers, LISTENER, &peer, now, IDLE, &found);

    assert_int_equal(is_found, client != NULL);
    if (client)
        assert_true(addr_equal(&found.addr, client));
}

static void what_one_worker_notes_the_other_finds(void **state)
{
    struct addr other_port = support_addr("192.0.2.1:3001");
    struct peers_client found;

    (void)state;
    expect(1, 100, NULL);
    note(0, &peer, &client_a, 100);
    expect(0, 100, &client_a);
    expect(1, 100, &client_a);
    assert_false(peers_find(workers[1].peers, LISTENER + 1, &peer, 100, IDLE, &found));
    assert_false(peers_find(workers[1].peers, LISTENER, &other_port, 100, IDLE, &found));
}

static void the_newest_header_counts_wherever_it_was_noted(void **state)
{
    (void)state;
    note(0, &peer, &client_a, 100);
    note(1, &peer, &client_b, 200);
    expect(0, 300, &client_b);
    note(0, &peer, &client_a, 400);
    expect(1, 500, &client_a);
}

static void a_use_of_the_older_one_does_not_bring_it_back(void **state)
{
    struct peers_entry *older = note(0, &peer, &client_a, 100);

    (void)state;
    note(1, &peer, &client_b, 200);
    assert_true(peers_use(older, LISTENER, &peer, 1000));
    expect(0, 1100, &client_b);
    expect(0, 1300, NULL);
}

static void what_is_not_used_is_stale(void **state)
{
    struct peers_entry *entry = note(0, &peer, &client_a, 100);

    (void)state;
    expect(1, 1099, &client_a);
    expect(1, 1100, NULL);
    assert_true(peers_use(entry, LISTENER, &peer, 1000));
    expect(1, 1999, &client_a);
    expect(1, 2000, NULL);
}

static void a_peer_without_a_client_is_not_found(void **state)
{
    const struct addr nobody = { 0 };

    (void)state;
    note(0, &peer, &client_a, 100);
    note(1, &peer, &nobody, 200);
    expect(0, 300, NULL);
}

/* As many peers as make sure that each of the newest is gone. */
static void an_older_header_does_not_count_where_a_newer_one_had_to_go(void **state)
{
    struct addr each = support_addr("192.0.2.9:1");

    (void)state;
    note(0, &peer, &client_a, 100);
    note(1, &peer, &client_b, 101);
    for (unsigned i = 0; i < 50 * SETS * PEERS_WAYS; i++) {
        each.in.sin_addr.s_addr = htonl(0x0a000000 + i);
        note(1, &each, &client_b, 102);
    }
    expect(0, 103, NULL);
}

static void a_place_that_went_to_another_peer_is_not_used(void **state)
{
    struct addr other = support_addr("192.0.2.1:3001");
    struct peers_entry *entry = note(0, &peer, &client_a, 100);

    (void)state;
    assert_false(peers_use(entry, LISTENER, &other, 200));
    assert_false(peers_use(entry, LISTENER + 1, &peer, 200));
}

static void a_region_outlives_its_worker(void **state)
{
    (void)state;
    note(0, &peer, &client_a, 100);
    peers_release(supervisor, workers[0].region);
    expect(1, 200, &client_a);
    assert_int_equal(peers_claim(supervisor), workers[0].region);
    expect(1, 200, &client_a);
}

static void note_way(unsigned worker, const struct addr *client, const struct peers_way *way,
                     uint64_t now)
{
    peers_note_way(workers[worker].peers, LISTENER, client, way, now);
}

static void expect_way(unsigned worker, uint64_t now, const struct peers_way *way)
{
    struct peers_way found;
    bool is_found = peers_find_way(workers[worker].peers, LISTENER, &client_a, now, IDLE, &found);

    assert_int_equal(is_found, way != NULL);
    if (!way)
        return;
    assert_true(addr_equal(&found.peer, &way->peer));
    assert_true(addr_equal(&found.local, &way->local));
}

static void the_latest_way_to_a_client_counts_whoever_noted_it(void **state)
{
    struct peers_way one = { .peer = peer, .local = support_addr("192.0.2.2:53") };
    struct peers_way two = { .peer = support_addr("192.0.2.1:3001"),
                             .local = support_addr("192.0.2.3:53") };

    (void)state;
    note_way(0, &client_b, &two, 50); /* first, as the two may share a place */
    expect_way(0, 100, NULL);
    note_way(0, &client_a, &one, 100);
    expect_way(1, 200, &one);
    note_way(1, &client_a, &two, 300);
    expect_way(0, 300, &two);
    note_way(0, &client_a, &one, 400);
    expect_way(1, 1399, &one);
    expect_way(1, 1400, NULL);
}

/* The peer's address may be that of a client, too. */
static void a_way_is_no_header(void **state)
{
    struct peers_way way = { .peer = client_b, .local = support_addr("192.0.2.2:53") };

    (void)state;
    note(0, &peer, &client_a, 100);
    note_way(1, &peer, &way, 200);
    expect(0, 300, &client_a);
    note_way(0, &client_a, &way, 300);
    note(1, &client_a, &client_b, 400);
    expect_way(0, 400, &way);
}

/* So many others that its place is another's now. */
static void a_way_that_had_to_go_is_not_found(void **state)
{
    struct peers_way way = { .peer = peer, .local = support_addr("192.0.2.2:53") };
    struct addr each = support_addr("192.0.2.9:1");

    (void)state;
    note(1, &peer, &client_a, 100);
    note_way(0, &client_a, &way, 100);
    note_way(1, &client_a, &way, 100);
    for (unsigned i = 0; i < 50 * SETS * PEERS_WAYS; i++) {
        each.in.sin_addr.s_addr = htonl(0x0a000000 + i);
        note_way(1, &each, &way, 102);
    }
    expect_way(1, 103, &way);
    for (unsigned i = 0; i < 50 * SETS * PEERS_WAYS; i++) {
        each.in.sin_addr.s_addr = htonl(0x0a000000 + i);
        note_way(0, &each, &way, 102);
    }
    expect_way(1, 103, NULL);
    expect(0, 103, &client_a);
}

static void readers_of_earlier_generations_are_seen(void **state)
{
    uint32_t first = peers_next_epoch(supervisor);
    uint32_t second = peers_next_epoch(supervisor);

    (void)state;
    assert_true(second > first);
    peers_start_reading(workers[0].peers, first);
    assert_true(peers_earlier_read(workers[1].peers, second));
    assert_false(peers_earlier_read(workers[1].peers, first));
    peers_stop_reading(workers[0].peers);
    assert_false(peers_earlier_read(workers[1].peers, second));
    peers_start_reading(workers[0].peers, first);
    peers_release(supervisor, workers[0].region);
    assert_false(peers_earlier_read(workers[1].peers, second));
}

static void names_stand_for_listeners(void **state)
{
    const struct peers *peers = workers[0].peers;

    (void)state;
    assert_int_equal(peers_listener(peers, "dns"), peers_listener(workers[1].peers, "dns"));
    assert_int_not_equal(peers_listener(peers, ""), peers_listener(peers, "dns"));
    assert_int_not_equal(peers_listener(peers, "a-name-of-more-than-16"),
                         peers_listener(peers, "a-name-of-more-than-17"));
}

static void only_what_is_ours_is_adopted(void **state)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct peers *adopted;

    (void)state;
    assert_int_equal(peers_adopt(&adopted, fd), -EINVAL);
    assert_return_code(ftruncate(fd, 1 << 20), errno);
    assert_int_equal(peers_adopt(&adopted, fd), -EINVAL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_one_worker_notes_the_other_finds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_newest_header_counts_wherever_it_was_noted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_use_of_the_older_one_does_not_bring_it_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_used_is_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_without_a_client_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_header_does_not_count_where_a_newer_one_had_to_go,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_that_went_to_another_peer_is_not_used, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_region_outlives_its_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_latest_way_to_a_client_counts_whoever_noted_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_way_is_no_header, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_way_that_had_to_go_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_of_earlier_generations_are_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_stand_for_listeners, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_is_ours_is_adopted, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
