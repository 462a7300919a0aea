/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include <signal.h>
#include <sys/wait.h>

#include "mmproxy/worker/counters.h"

enum { WORKERS = 4, LISTENERS = 8 };

static struct counters *counters;

static int open_counters(void **state)
{
    (void)state;
    counters = counters_new(WORKERS, LISTENERS);
    return counters ? 0 : -1;
}

static int close_counters(void **state)
{
    (void)state;
    counters_free(counters);
    return 0;
}

static unsigned claim_worker(void)
{
    int worker = counters_claim_worker(counters);

    assert_return_code(worker, -worker);
    return (unsigned)worker;
}

static unsigned claim_listener(const char *name)
{
    int listener = counters_claim_listener(counters, name);

    assert_return_code(listener, -listener);
    return (unsigned)listener;
}

static size_t worker_size(void)
{
    return sizeof(struct counters_worker) + LISTENERS * sizeof(struct counters_listener);
}

static struct counters_listener *of(unsigned worker, unsigned listener)
{
    return &counters_worker(counters, worker)->listeners[listener];
}

static uint64_t count(unsigned listener, unsigned which)
{
    struct counters_sums sums;

    counters_sum(counters, listener, &sums);
    return sums.counts[which];
}

static void a_total_is_the_sum_over_all_workers(void **state)
{
    unsigned ssh = claim_listener("ssh");
    unsigned web = claim_listener("web");
    unsigned a = claim_worker();
    unsigned b = claim_worker();

    (void)state;
    assert_int_not_equal(ssh, web);
    atomic_store(&of(a, ssh)->sessions, 2);
    atomic_store(&of(b, ssh)->sessions, 3);
    atomic_store(&of(b, web)->sessions, 1);
    atomic_store(&of(a, ssh)->pending, 1);
    assert_int_equal(counters_sessions(counters, ssh), 5);
    assert_int_equal(counters_sessions(counters, web), 1);
    assert_int_equal(counters_pending(counters, ssh), 1);
    assert_int_equal(counters_pending(counters, web), 0);
}

static void what_a_dead_worker_counted_is_gone_with_it(void **state)
{
    struct addr addr = support_addr("198.51.100.7:1000");
    unsigned ssh = claim_listener("ssh");
    unsigned alive = claim_worker();
    unsigned dead = claim_worker();
    unsigned last = claim_worker();
    uint64_t client = counters_client(counters, ssh, &addr);

    (void)state;
    for (unsigned worker = alive; worker <= last; worker++) {
        atomic_store(&of(worker, ssh)->sessions, 1);
        atomic_store(&of(worker, ssh)->pending, 1);
        assert_int_equal(clients_begin(&counters_worker(counters, worker)->clients, client), 0);
    }
    assert_int_equal(counters_client_sessions(counters, client), 3);
    counters_release_worker(counters, dead);
    assert_int_equal(counters_sessions(counters, ssh), 2);
    assert_int_equal(counters_pending(counters, ssh), 2);
    assert_int_equal(counters_client_sessions(counters, client), 2);
    counters_release_worker(counters, last);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    assert_int_equal(counters_client_sessions(counters, client), 1);
}

static void the_next_worker_with_the_number_begins_with_zeros(void **state)
{
    unsigned listener = claim_listener("ssh");
    unsigned worker = claim_worker();

    (void)state;
    memset(counters_worker(counters, worker), 0xff, worker_size());
    counters_release_worker(counters, worker);
    assert_int_equal(claim_worker(), worker);
    const uint8_t *bytes = (const uint8_t *)counters_worker(counters, worker);
    for (size_t i = 0; i < worker_size(); i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(counters_sessions(counters, listener), 0);
}

/* What the most hostile worker leaves behind, wherever it could write. */
static void a_hijacked_worker_s_garbage_ends_with_it(void **state)
{
    unsigned ssh = claim_listener("ssh");
    unsigned evil = claim_worker();
    unsigned good = claim_worker();

    (void)state;
    memset(counters_worker(counters, evil), 0xff, worker_size());
    atomic_store(&of(good, ssh)->sessions, 1);
    assert_true(counters_sessions(counters, ssh) > UINT32_MAX); /* it does not wrap round */
    /* Listeners come and go as ever, while it is there. */
    unsigned web = claim_listener("web");
    counters_release_listener(counters, web);
    assert_int_not_equal(claim_listener("mail"), web); /* its totals are kept */
    counters_release_worker(counters, evil);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    assert_int_equal(counters_pending(counters, ssh), 0);
    assert_int_equal(counters_sessions(counters, web), 0);
    /* What it claims to have counted is bounded by the time that it had. */
    for (unsigned i = 0; i < COUNTS; i++)
        assert_true(count(ssh, i) < (uint64_t)INT64_MAX / 1000);
    assert_true(!counters_has_oldest(counters, good, ssh));
}

/* returns: the signal that ends a process which owns one worker's pages and writes to another's. */
static int end_of_intruder(unsigned own, volatile uint8_t *byte)
{
    int status;

    pid_t pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
        if (counters_own(counters, own) < 0)
            _exit(1);
        *byte = 7;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void a_worker_can_write_no_pages_but_its_own(void **state)
{
    uint8_t *pages[3];

    (void)state;
    for (unsigned i = 0; i < COUNT(pages); i++)
        pages[i] = (uint8_t *)counters_worker(counters, claim_worker());
    size_t last = worker_size() - 1;
    assert_int_equal(end_of_intruder(1, pages[1]), 0);
    assert_int_equal(end_of_intruder(1, pages[1] + last), 0);
    assert_int_equal(end_of_intruder(1, pages[0]), SIGSEGV);
    assert_int_equal(end_of_intruder(1, pages[0] + last), SIGSEGV);
    assert_int_equal(end_of_intruder(1, pages[2]), SIGSEGV);
    assert_int_equal(end_of_intruder(0, pages[0] - 1), SIGSEGV); /* the supervisor's */
    assert_int_equal(pages[1][0], 7);                            /* and all see it */
}

static void the_oldest_pending_session_of_all_is_one_worker_s(void **state)
{
    unsigned ssh = claim_listener("ssh");
    unsigned web = claim_listener("web");
    unsigned a = claim_worker();
    unsigned b = claim_worker();
    unsigned c = claim_worker();

    (void)state;
    assert_false(counters_has_oldest(counters, a, ssh));
    atomic_store(&of(b, ssh)->oldest_pending_us, 2000);
    atomic_store(&of(c, ssh)->oldest_pending_us, 1000);
    atomic_store(&of(a, web)->oldest_pending_us, 1);
    assert_false(counters_has_oldest(counters, a, ssh)); /* it has none there */
    assert_false(counters_has_oldest(counters, b, ssh));
    assert_true(counters_has_oldest(counters, c, ssh));
    atomic_store(&of(a, ssh)->oldest_pending_us, 1000); /* as old: one of the two */
    assert_true(counters_has_oldest(counters, a, ssh));
    assert_false(counters_has_oldest(counters, c, ssh));
    atomic_store(&of(a, ssh)->oldest_pending_us, 0);
    counters_release_worker(counters, c); /* it was killed */
    assert_true(counters_has_oldest(counters, b, ssh));
    assert_false(counters_has_oldest(counters, a, ssh));
}

static void the_latest_client_without_a_target_is_told_by_its_listener_and_family(void **state)
{
    unsigned ssh = claim_listener("ssh");
    unsigned web = claim_listener("web");
    unsigned a = claim_worker();
    unsigned b = claim_worker();
    struct addr v4;
    struct addr v6;
    struct addr found;

    (void)state;
    assert_null(addr_parse_host(&v4, "192.0.2.7"));
    assert_null(addr_parse_host(&v6, "2001:db8::7"));
    assert_false(counters_doubted_client(counters, ssh, AF_INET, 0, &found));
    counters_doubt(counters, a, ssh, &v4);
    counters_doubt(counters, b, ssh, &v6);
    assert_true(counters_doubted_client(counters, ssh, AF_INET, 0, &found));
    assert_true(addr_equal_host(&found, &v4));
    assert_true(counters_doubted_client(counters, ssh, AF_INET6, 0, &found));
    assert_true(addr_equal_host(&found, &v6));
    assert_false(counters_doubted_client(counters, web, AF_INET, 0, &found));
    assert_false(counters_doubted_client(counters, ssh, AF_INET, UINT64_MAX, &found));
    atomic_store(&counters_worker(counters, a)->doubt.changes, 7); /* it died while it wrote */
    assert_false(counters_doubted_client(counters, ssh, AF_INET, 0, &found));
    counters_doubt(counters, a, ssh, &v4); /* the next worker with its place */
    assert_true(counters_doubted_client(counters, ssh, AF_INET, 0, &found));
}

static void a_listener_keeps_its_number_while_it_is_claimed(void **state)
{
    unsigned first = claim_listener("first");
    unsigned ssh = claim_listener("ssh");

    (void)state;
    assert_int_equal(claim_listener("ssh"), ssh); /* the next generation */
    counters_release_listener(counters, ssh);
    counters_release_listener(counters, first);
    assert_int_equal(claim_listener("ssh"), ssh); /* though a lower one is free */
    counters_release_listener(counters, ssh);
    counters_release_listener(counters, ssh);
    assert_int_not_equal(claim_listener("other"), first); /* its totals are kept */
    assert_int_equal(claim_listener("ssh"), ssh);
    assert_int_equal(claim_listener("first"), first);
}

static void a_name_that_another_one_begins_with_is_not_it(void **state)
{
    char longest[LISTENER_NAME_MAX + 1];

    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    (void)claim_listener(longest);
    unsigned listener = claim_listener("ssh");
    assert_int_not_equal(claim_listener("ss"), listener);
    assert_int_not_equal(claim_listener("sshd"), listener);
    assert_int_equal(claim_listener("ssh"), listener);
}

/* More workers than 512 once left no room for a reload, and more listeners than 4,096 for a start.
 */
static void two_generations_of_the_largest_configuration_fit(void **state)
{
    char name[16];

    (void)state;
    counters_free(counters);
    counters = counters_new(COUNTERS_WORKERS, COUNTERS_LISTENERS);
    assert_non_null(counters);
    for (unsigned i = 0; i < 2 * CONFIG_LISTENERS_MAX; i++) {
        snprintf(name, sizeof name, "l%u", i);
        assert_int_equal(claim_listener(name), i);
    }
    assert_int_equal(counters_claim_listener(counters, "one more"), -ENOSPC);
    assert_int_equal(claim_listener("l17"), 17);
    if (sizeof(void *) > 4)
        assert_true(COUNTERS_WORKERS >= 2 * CONFIG_WORKERS_MAX);
    for (unsigned i = 0; i < COUNTERS_WORKERS; i++)
        assert_int_equal(claim_worker(), i);
    assert_int_equal(counters_claim_worker(counters), -ENOSPC);
    counters_release_worker(counters, 17);
    assert_int_equal(claim_worker(), 17);
}

static void what_only_grows_outlives_its_worker_and_its_listener(void **state)
{
    unsigned ssh = claim_listener("ssh");

    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        unsigned worker = claim_worker();
        counters_add(of(worker, ssh), COUNT_ACCEPTED, 5);
        counters_add(of(worker, ssh), COUNT_REFUSED + REASON_TIMEOUT, 2);
        counters_add_connect(of(worker, ssh), 100);
        counters_add_connect(of(worker, ssh), 101);
        atomic_store(&of(worker, ssh)->sessions, 1);
        assert_int_equal(count(ssh, COUNT_ACCEPTED), 5 * i);
        counters_release_worker(counters, worker);
        assert_int_equal(count(ssh, COUNT_ACCEPTED), 5 * i);
        assert_int_equal(count(ssh, COUNT_REFUSED + REASON_TIMEOUT), 2 * i);
        assert_int_equal(count(ssh, COUNT_SERVED), 2 * i);
        assert_int_equal(count(ssh, COUNT_CONNECT_US), 201 * i);
        assert_int_equal(count(ssh, COUNT_CONNECTS), i);
        assert_int_equal(count(ssh, COUNT_CONNECTS + 1), i);
        assert_int_equal(counters_sessions(counters, ssh), 0);
        counters_release_listener(counters, ssh);
        (void)claim_listener("another");
        assert_int_equal(claim_listener("ssh"), ssh);
    }
}

/* A name that is long gone loses its totals when its place is needed, and no other does. */
static void a_new_name_finds_a_place_where_only_old_ones_are(void **state)
{
    unsigned kept = claim_listener("kept");
    unsigned worker = claim_worker();
    char name[16];

    (void)state;
    for (unsigned i = 1; i < LISTENERS; i++) {
        snprintf(name, sizeof name, "old%u", i);
        unsigned old = claim_listener(name);
        counters_add(of(worker, old), COUNT_ACCEPTED, 1);
        counters_release_listener(counters, old);
    }
    counters_add(of(worker, kept), COUNT_ACCEPTED, 1);
    counters_release_worker(counters, worker);
    unsigned newest = claim_listener("new");
    assert_int_not_equal(newest, kept);
    assert_int_equal(count(newest, COUNT_ACCEPTED), 0);
    assert_int_equal(count(kept, COUNT_ACCEPTED), 1);
}

/* SIGUSR2: the next process counts on from where this one is. */
static void an_earlier_process_counts_in_the_next_one(void **state)
{
    struct counters *later = counters_new(WORKERS, LISTENERS);
    unsigned gone = claim_listener("gone");
    unsigned ssh = claim_listener("ssh");
    unsigned dead = claim_worker();
    unsigned alive = claim_worker();
    struct counters_sums sums;

    (void)state;
    assert_non_null(later);
    counters_add(of(dead, ssh), COUNT_ACCEPTED, 1);
    counters_add(of(dead, gone), COUNT_ACCEPTED, 9);
    counters_release_worker(counters, dead);
    counters_add(of(alive, ssh), COUNT_ACCEPTED, 2);
    atomic_store(&of(alive, ssh)->sessions, 2);
    assert_return_code(counters_fd(counters), 0);
    assert_true(counters_is(counters_fd(counters)));
    assert_false(counters_is(STDERR_FILENO));
    int earlier = counters_adopt(later, counters_fd(counters));
    assert_return_code(earlier, -earlier);
    int other = counters_claim_listener(later, "other");
    int number = counters_claim_listener(later, "ssh");
    counters_sum(later, (unsigned)number, &sums);
    assert_int_equal(sums.counts[COUNT_ACCEPTED], 3);
    assert_int_equal(sums.sessions, 2);
    counters_add(of(alive, ssh), COUNT_ACCEPTED, 4); /* it is still there */
    atomic_store(&of(alive, ssh)->sessions, 1);
    counters_sum(later, (unsigned)number, &sums);
    assert_int_equal(sums.counts[COUNT_ACCEPTED], 7);
    assert_int_equal(sums.sessions, 1);
    counters_end_earlier(later, (unsigned)earlier); /* killed, with a session */
    for (int i = 0; i < 2; i++) {
        counters_sum(later, (unsigned)number, &sums);
        assert_int_equal(sums.counts[COUNT_ACCEPTED], 7);
        counters_take_ended(later);
    }
    assert_int_equal(sums.sessions, 0);
    counters_sum(later, (unsigned)other, &sums);
    assert_int_equal(sums.counts[COUNT_ACCEPTED], 0);
    counters_sum(later, (unsigned)counters_claim_listener(later, "gone"), &sums);
    assert_int_equal(sums.counts[COUNT_ACCEPTED], 9);
    counters_free(later);
}

static void buckets_are_sorted_and_the_last_takes_all(void **state)
{
    (void)state;
    for (unsigned i = 1; i < COUNTERS_BUCKETS; i++)
        assert_true(counters_bucket_us(i - 1) < counters_bucket_us(i));
    assert_true(counters_bucket_us(COUNTERS_BUCKETS - 1) == UINT64_MAX);
}

static void freeing_nothing_is_harmless(void **state)
{
    (void)state;
    counters_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_counters, close_counters)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_total_is_the_sum_over_all_workers),
        TEST(what_a_dead_worker_counted_is_gone_with_it),
        TEST(the_next_worker_with_the_number_begins_with_zeros),
        TEST(a_hijacked_worker_s_garbage_ends_with_it),
        TEST(a_worker_can_write_no_pages_but_its_own),
        TEST(the_oldest_pending_session_of_all_is_one_worker_s),
        TEST(the_latest_client_without_a_target_is_told_by_its_listener_and_family),
        TEST(a_listener_keeps_its_number_while_it_is_claimed),
        TEST(a_name_that_another_one_begins_with_is_not_it),
        TEST(two_generations_of_the_largest_configuration_fit),
        TEST(what_only_grows_outlives_its_worker_and_its_listener),
        TEST(a_new_name_finds_a_place_where_only_old_ones_are),
        TEST(an_earlier_process_counts_in_the_next_one),
        cmocka_unit_test(buckets_are_sorted_and_the_last_takes_all),
        cmocka_unit_test(freeing_nothing_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
