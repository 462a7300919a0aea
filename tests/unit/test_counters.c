/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "mmproxy/worker/counters.h"

enum { PROCESSES = 4, ROUNDS = 20 * 1000, MAX = 3 };

static unsigned claim_worker(struct counters *counters)
{
    int slot = counters_claim_worker(counters);

    assert_return_code(slot, -slot);
    return (unsigned)slot;
}

static unsigned claim_listener(struct counters *counters, const char *name)
{
    int place = counters_claim_listener(counters, name);

    assert_return_code(place, -place);
    return (unsigned)place;
}

static uint32_t sessions_of(struct counters *counters, unsigned slot)
{
    return atomic_load(&counters_worker(counters, slot)->sessions);
}

static void a_session_is_counted_in_all_places_and_taken_off_again(void **state)
{
    struct counters *counters = counters_new();
    unsigned slot = claim_worker(counters);
    unsigned ssh = claim_listener(counters, "ssh");
    unsigned web = claim_listener(counters, "web");

    (void)state;
    assert_int_not_equal(ssh, web);
    assert_true(counters_begin_session(counters, slot, ssh, 0));
    assert_true(counters_begin_session(counters, slot, ssh, 0));
    assert_true(counters_begin_session(counters, slot, web, 1));
    assert_int_equal(counters_sessions(counters, ssh), 2);
    assert_int_equal(counters_sessions(counters, web), 1);
    assert_int_equal(sessions_of(counters, slot), 3);
    counters_end_session(counters, slot, ssh);
    counters_end_session(counters, slot, web);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    assert_int_equal(counters_sessions(counters, web), 0);
    assert_int_equal(sessions_of(counters, slot), 1);
    counters_free(counters);
}

static void the_limit_counts_the_sessions_of_all_workers(void **state)
{
    struct counters *counters = counters_new();
    unsigned a = claim_worker(counters);
    unsigned b = claim_worker(counters);
    unsigned place = claim_listener(counters, "ssh");

    (void)state;
    assert_true(counters_begin_session(counters, a, place, 2));
    assert_true(counters_begin_session(counters, b, place, 2));
    assert_false(counters_begin_session(counters, a, place, 2));
    assert_false(counters_begin_session(counters, b, place, 2));
    assert_false(counters_begin_session(counters, b, place, 1)); /* lowered by a reload */
    assert_true(counters_begin_session(counters, b, place, 0));
    assert_int_equal(counters_sessions(counters, place), 3);
    counters_end_session(counters, a, place);
    counters_end_session(counters, b, place);
    assert_true(counters_begin_session(counters, a, place, 2));
    counters_free(counters);
}

/* What the processes see of each other, apart from the counters. */
struct witness {
    _Atomic int32_t open;
    _Atomic int32_t most;
    _Atomic uint32_t begun;
};

static void hammer(struct counters *counters, unsigned slot, unsigned place,
                   struct witness *witness)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!counters_begin_session(counters, slot, place, MAX))
            continue;
        int32_t open = atomic_fetch_add(&witness->open, 1) + 1;
        int32_t most = atomic_load(&witness->most);
        while (open > most && !atomic_compare_exchange_weak(&witness->most, &most, open))
            ;
        atomic_fetch_add(&witness->begun, 1);
        counters_add(&counters_worker(counters, slot)->accepted, 1);
        atomic_fetch_sub(&witness->open, 1);
        counters_end_session(counters, slot, place);
    }
}

static void processes_that_hammer_it_never_get_past_the_limit(void **state)
{
    struct counters *counters = counters_new();
    unsigned place = claim_listener(counters, "ssh");
    struct witness *witness =
        mmap(NULL, sizeof *witness, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned slots[PROCESSES];
    uint64_t accepted = 0;
    int status;

    (void)state;
    assert_ptr_not_equal(witness, MAP_FAILED);
    for (int i = 0; i < PROCESSES; i++) {
        slots[i] = claim_worker(counters);
        pid_t pid = fork();
        assert_return_code(pid, errno);
        if (pid == 0) {
            hammer(counters, slots[i], place, witness);
            counters_free(counters);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        assert_return_code(wait(&status), errno);
        assert_int_equal(status, 0);
    }
    assert_true(witness->most > 0);
    assert_true(witness->most <= MAX);
    assert_int_equal(counters_sessions(counters, place), 0);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(sessions_of(counters, slots[i]), 0);
        accepted += atomic_load(&counters_worker(counters, slots[i])->accepted);
    }
    assert_int_equal(accepted, witness->begun);
    munmap(witness, sizeof *witness);
    counters_free(counters);
}

static void what_a_killed_worker_still_counted_is_taken_off(void **state)
{
    struct counters *counters = counters_new();
    unsigned ssh = claim_listener(counters, "ssh");
    unsigned web = claim_listener(counters, "web");
    unsigned dead = claim_worker(counters);
    unsigned alive = claim_worker(counters);
    int status;

    (void)state;
    assert_true(counters_begin_session(counters, alive, ssh, 0));
    pid_t pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        for (int i = 0; i < 5; i++)
            (void)counters_begin_session(counters, dead, i < 3 ? ssh : web, 0);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(counters_sessions(counters, ssh), 4);
    counters_release_worker(counters, dead);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    assert_int_equal(counters_sessions(counters, web), 0);
    assert_int_equal(sessions_of(counters, alive), 1);
    counters_free(counters);
}

static void what_a_worker_has_made_up_takes_nothing_off_but_what_is_there(void **state)
{
    struct counters *counters = counters_new();
    unsigned ssh = claim_listener(counters, "ssh");
    unsigned evil = claim_worker(counters);
    unsigned good = claim_worker(counters);
    struct counters_worker *worker = counters_worker(counters, evil);

    (void)state;
    assert_true(counters_begin_session(counters, good, ssh, 0));
    atomic_store(&worker->by_listener[ssh], 1000);
    atomic_store(&worker->pending_by_listener[ssh], UINT32_MAX);
    atomic_store(&counters_worker(counters, 2)->by_listener[ssh], 7); /* of one still to come */
    counters_release_worker(counters, evil);
    assert_int_equal(counters_sessions(counters, ssh), 0);
    assert_int_equal(counters_pending(counters, ssh), 0);
    counters_end_pending(counters, good, ssh);
    counters_end_session(counters, good, ssh);
    assert_int_equal(counters_sessions(counters, ssh), 0);
    assert_int_equal(claim_worker(counters), evil);
    assert_int_equal(claim_worker(counters), 2);
    assert_int_equal(atomic_load(&counters_worker(counters, 2)->by_listener[ssh]), 0);
    counters_free(counters);
}

static void sessions_are_pending_until_their_header_is_complete(void **state)
{
    struct counters *counters = counters_new();
    unsigned ssh = claim_listener(counters, "ssh");
    unsigned a = claim_worker(counters);
    unsigned b = claim_worker(counters);

    (void)state;
    assert_true(counters_begin_session(counters, a, ssh, 0));
    assert_true(counters_begin_session(counters, b, ssh, 0));
    assert_int_equal(counters_pending(counters, ssh), 2);
    counters_end_pending(counters, a, ssh);
    assert_int_equal(counters_pending(counters, ssh), 1);
    assert_int_equal(counters_sessions(counters, ssh), 2);
    counters_release_worker(counters, b); /* it was killed */
    assert_int_equal(counters_pending(counters, ssh), 0);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    counters_free(counters);
}

static void the_oldest_pending_session_of_all_workers_is_one_worker_s(void **state)
{
    struct counters *counters = counters_new();
    unsigned ssh = claim_listener(counters, "ssh");
    unsigned web = claim_listener(counters, "web");
    unsigned a = claim_worker(counters);
    unsigned b = claim_worker(counters);
    unsigned c = claim_worker(counters);

    (void)state;
    assert_false(counters_has_oldest(counters, a, ssh));
    counters_show_oldest(counters, b, ssh, 2000);
    counters_show_oldest(counters, c, ssh, 1000);
    counters_show_oldest(counters, a, web, 1);
    assert_false(counters_has_oldest(counters, a, ssh)); /* it has none there */
    assert_false(counters_has_oldest(counters, b, ssh));
    assert_true(counters_has_oldest(counters, c, ssh));
    counters_show_oldest(counters, a, ssh, 1000); /* as old: one of the two */
    assert_true(counters_has_oldest(counters, a, ssh));
    assert_false(counters_has_oldest(counters, c, ssh));
    counters_show_oldest(counters, a, ssh, 0);
    counters_release_worker(counters, c); /* it was killed */
    assert_true(counters_has_oldest(counters, b, ssh));
    assert_false(counters_has_oldest(counters, a, ssh));
    counters_free(counters);
}

static void a_slot_is_zero_for_the_next_one_who_has_it(void **state)
{
    struct counters *counters = counters_new();
    unsigned place = claim_listener(counters, "ssh");
    unsigned slot = claim_worker(counters);
    struct counters_worker *worker = counters_worker(counters, slot);

    (void)state;
    counters_add(&worker->accepted, 7);
    counters_add(&worker->bytes_in, UINT64_C(1) << 40);
    assert_true(counters_begin_session(counters, slot, place, 0));
    assert_int_equal(atomic_load(&worker->bytes_in), UINT64_C(1) << 40);
    counters_release_worker(counters, slot);
    assert_int_equal(claim_worker(counters), slot);
    assert_int_equal(atomic_load(&worker->accepted), 0);
    assert_int_equal(atomic_load(&worker->bytes_in), 0);
    assert_int_equal(atomic_load(&worker->sessions), 0);
    assert_int_equal(atomic_load(&worker->by_listener[place]), 0);
    counters_free(counters);
}

static void a_listener_keeps_its_place_while_anybody_claims_it(void **state)
{
    struct counters *counters = counters_new();
    unsigned first = claim_listener(counters, "first");
    unsigned ssh = claim_listener(counters, "ssh");

    (void)state;
    assert_int_equal(claim_listener(counters, "ssh"), ssh); /* the next generation */
    counters_release_listener(counters, ssh);
    counters_release_listener(counters, first);
    assert_int_equal(claim_listener(counters, "ssh"), ssh); /* though a lower one is free */
    counters_release_listener(counters, ssh);
    counters_release_listener(counters, ssh);
    assert_int_equal(claim_listener(counters, "other"), first);
    counters_free(counters);
}

static void a_place_with_sessions_is_not_given_to_another_name(void **state)
{
    struct counters *counters = counters_new();
    unsigned slot = claim_worker(counters);
    unsigned ssh = claim_listener(counters, "ssh");

    (void)state;
    assert_true(counters_begin_session(counters, slot, ssh, 0));
    counters_release_listener(counters, ssh);
    assert_int_not_equal(claim_listener(counters, "web"), ssh);
    assert_int_equal(claim_listener(counters, "ssh"), ssh);
    assert_int_equal(counters_sessions(counters, ssh), 1);
    counters_release_listener(counters, ssh);
    counters_end_session(counters, slot, ssh);
    assert_int_equal(claim_listener(counters, "mail"), ssh);
    counters_free(counters);
}

static void a_name_that_another_one_begins_with_is_not_it(void **state)
{
    struct counters *counters = counters_new();
    char longest[64];
    unsigned place;

    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    place = claim_listener(counters, longest);
    counters_release_listener(counters, place);
    assert_int_equal(claim_listener(counters, "ssh"), place);
    assert_int_not_equal(claim_listener(counters, "ss"), place);
    assert_int_not_equal(claim_listener(counters, "sshd"), place);
    assert_int_equal(claim_listener(counters, "ssh"), place);
    counters_free(counters);
}

static void full_tables_are_an_error(void **state)
{
    struct counters *counters = counters_new();
    char name[16];

    (void)state;
    for (unsigned i = 0; i < COUNTERS_WORKERS; i++)
        assert_int_equal(counters_claim_worker(counters), i);
    assert_int_equal(counters_claim_worker(counters), -ENOSPC);
    counters_release_worker(counters, 17);
    assert_int_equal(counters_claim_worker(counters), 17);
    for (unsigned i = 0; i < COUNTERS_LISTENERS; i++) {
        snprintf(name, sizeof name, "l%u", i);
        assert_int_equal(counters_claim_listener(counters, name), i);
    }
    assert_int_equal(counters_claim_listener(counters, "one more"), -ENOSPC);
    assert_int_equal(counters_claim_listener(counters, "l17"), 17);
    counters_free(counters);
}

static void freeing_nothing_is_harmless(void **state)
{
    (void)state;
    counters_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_counted_in_all_places_and_taken_off_again),
        cmocka_unit_test(the_limit_counts_the_sessions_of_all_workers),
        cmocka_unit_test(processes_that_hammer_it_never_get_past_the_limit),
        cmocka_unit_test(what_a_killed_worker_still_counted_is_taken_off),
        cmocka_unit_test(what_a_worker_has_made_up_takes_nothing_off_but_what_is_there),
        cmocka_unit_test(sessions_are_pending_until_their_header_is_complete),
        cmocka_unit_test(the_oldest_pending_session_of_all_workers_is_one_worker_s),
        cmocka_unit_test(a_slot_is_zero_for_the_next_one_who_has_it),
        cmocka_unit_test(a_listener_keeps_its_place_while_anybody_claims_it),
        cmocka_unit_test(a_place_with_sessions_is_not_given_to_another_name),
        cmocka_unit_test(a_name_that_another_one_begins_with_is_not_it),
        cmocka_unit_test(full_tables_are_an_error),
        cmocka_unit_test(freeing_nothing_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
