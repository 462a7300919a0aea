/* SPDX-License-Identifier: BSD-2-Clause */
/* No sockets: a worker is a number in the counters, or a process that has nothing else. */
#include "admission_support.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PROCESSES = 4, ROUNDS = 10 * 1000, RACES = 300, KILLS = 200 };

static void assert_counts(const struct admission *admission, unsigned sessions, unsigned pending)
{
    assert_int_equal(counters_sessions(world.counters, admission->listener), sessions);
    assert_int_equal(counters_pending(world.counters, admission->listener), pending);
}

static void a_session_is_pending_until_its_header_and_counted_until_its_end(void **state)
{
    struct admission ssh;
    struct admitted *session = world.sessions;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    world.config.max_sessions_per_client = 5;
    assert_int_equal(enter(&ssh, session), REASON_NONE);
    assert_counts(&ssh, 1, 1);
    assert_true(admission_has_pending(&ssh));
    assert_int_equal(identify(&ssh, session), REASON_NONE);
    assert_counts(&ssh, 1, 0);
    assert_false(admission_has_pending(&ssh));
    assert_int_equal(atomic_load(&counters_worker(world.counters, ssh.worker)->sessions), 1);
    assert_int_equal(counters_client_sessions(world.counters, session->client), 1);
    admission_leave(&ssh, session);
    assert_counts(&ssh, 0, 0);
    assert_int_equal(counters_client_sessions(world.counters, session->client), 0);
    assert_int_equal(atomic_load(&counters_worker(world.counters, ssh.worker)->sessions), 0);
    admission_leave(&ssh, session); /* harmless */
    assert_counts(&ssh, 0, 0);
}

static void a_session_may_leave_before_its_header(void **state)
{
    struct admission ssh;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    assert_int_equal(enter(&ssh, &world.sessions[0]), REASON_NONE);
    admission_leave(&ssh, &world.sessions[0]);
    assert_counts(&ssh, 0, 0);
    assert_false(admission_has_pending(&ssh));
}

static void a_connection_without_memory_is_counted(void **state)
{
    struct admission ssh;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    assert_int_equal(admission_enter(&ssh, NULL, &world.peer, world.now_us), REASON_NO_RESOURCES);
    assert_counts(&ssh, 0, 0);
    assert_int_equal(atomic_load(&ssh.own->counts[COUNT_ACCEPTED]), 1);
}

static void a_peer_in_no_allowed_subnet_is_not_counted(void **state)
{
    struct admission ssh;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    world.peer = support_addr("192.0.3.10:1000");
    assert_int_equal(enter(&ssh, &world.sessions[0]), REASON_NOT_ALLOWED);
    assert_counts(&ssh, 0, 0);
    assert_int_equal(atomic_load(&ssh.own->counts[COUNT_ACCEPTED]), 1);
    admission_leave(&ssh, &world.sessions[0]);
    assert_counts(&ssh, 0, 0);
}

static void max_sessions_counts_the_sessions_of_all_workers(void **state)
{
    struct admission a;
    struct admission b;
    struct admission web;
    struct admitted *s = world.sessions;

    (void)state;
    be_worker_at(&a, "ssh", 2);
    be_worker_at(&b, "ssh", 2);
    be_worker_at(&web, "web", 2);
    world.config.max_sessions = 2;
    assert_int_equal(enter(&a, &s[0]), REASON_NONE);
    assert_int_equal(enter(&b, &s[1]), REASON_NONE);
    assert_int_equal(enter(&a, &s[2]), REASON_MAX_SESSIONS);
    assert_int_equal(enter(&b, &s[2]), REASON_MAX_SESSIONS);
    assert_int_equal(enter(&web, &s[3]), REASON_NONE); /* another listener */
    assert_counts(&a, 2, 2);                           /* who is refused leaves nothing */
    world.config.max_sessions = 1;                     /* lowered by a reload */
    assert_int_equal(enter(&b, &s[2]), REASON_MAX_SESSIONS);
    world.config.max_sessions = 0;
    assert_int_equal(enter(&b, &s[2]), REASON_NONE);
    world.config.max_sessions = 2;
    admission_leave(&a, &s[0]);
    assert_int_equal(enter(&a, &s[0]), REASON_MAX_SESSIONS);
    admission_leave(&b, &s[1]);
    assert_int_equal(enter(&a, &s[0]), REASON_NONE);
}

static void max_sessions_per_client_counts_one_client_at_one_listener(void **state)
{
    struct admission a;
    struct admission b;
    struct admission web;
    struct admitted *s = world.sessions;
    struct addr other = support_addr("198.51.100.8:1000");

    (void)state;
    be_worker_at(&a, "ssh", 2);
    be_worker_at(&b, "ssh", 2);
    be_worker_at(&web, "web", 2);
    world.config.max_sessions_per_client = 2;
    for (int i = 0; i < 8; i++)
        assert_int_equal(enter(i == 1 || i == 3 ? &b : i == 5 ? &web : &a, &s[i]), REASON_NONE);
    assert_int_equal(identify(&a, &s[0]), REASON_NONE);
    assert_int_equal(identify(&b, &s[1]), REASON_NONE);
    assert_int_equal(identify(&a, &s[2]), REASON_MAX_SESSIONS_PER_CLIENT);
    assert_int_equal(identify(&b, &s[3]), REASON_MAX_SESSIONS_PER_CLIENT);
    assert_int_equal(identify_as(&a, &s[4], &other, true), REASON_NONE);
    assert_int_equal(identify(&web, &s[5]), REASON_NONE);
    assert_counts(&a, 7, 2); /* those that are refused are counted until they leave */
    admission_leave(&a, &s[2]);
    admission_leave(&b, &s[3]);
    /* Of refused sessions nothing is taken off the client's count. */
    assert_int_equal(identify(&a, &s[6]), REASON_MAX_SESSIONS_PER_CLIENT);
    admission_leave(&b, &s[1]);
    assert_int_equal(identify(&a, &s[7]), REASON_NONE);
}

static void the_peer_itself_is_no_client(void **state)
{
    struct admission ssh;
    struct admitted *s = world.sessions;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    world.config.max_sessions_per_client = 1;
    for (int i = 0; i < 3; i++) {
        struct addr local = support_addr("127.0.0.1:1000");
        assert_int_equal(enter(&ssh, &s[i]), REASON_NONE);
        assert_int_equal(identify_as(&ssh, &s[i], &local, false), REASON_NONE);
    }
}

static void more_clients_than_can_be_counted_are_refused(void **state)
{
    struct admission ssh;

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    world.config.max_sessions_per_client = 1;
    atomic_store(&counters_worker(world.counters, ssh.worker)->clients.n_used, CLIENTS_MAX);
    assert_int_equal(enter(&ssh, &world.sessions[0]), REASON_NONE);
    assert_int_equal(identify(&ssh, &world.sessions[0]), REASON_TOO_MANY_CLIENTS);
    admission_leave(&ssh, &world.sessions[0]);
    assert_counts(&ssh, 0, 0);
}

static void clients_that_can_not_be_served_are_refused(void **state)
{
    static const struct {
        const char *client;
        bool allow_local_clients;
        enum reason reason;
        const char *sentence;
    } cases[] = {
        { "198.51.100.7:1", false, REASON_NONE, "" },
        { "127.0.0.1:1", false, REASON_LOCAL_CLIENT,
          "the header names a local address as the client (allow_local_clients)" },
        { "127.0.0.1:1", true, REASON_NONE, "" },
        { "0.0.0.0:1", false, REASON_LOCAL_CLIENT,
          "the header names a local address as the client (allow_local_clients)" },
        { "[ff02::1]:1", false, REASON_LOCAL_CLIENT,
          "the header names a local address as the client (allow_local_clients)" },
        { "[ff02::1]:1", true, REASON_IMPOSSIBLE_CLIENT,
          "the header names a multicast address as the client" },
        { "[fe80::1]:1", false, REASON_IMPOSSIBLE_CLIENT,
          "the header names a link-local client, but no interface" },
        { "[2001:db8::7]:1", false, REASON_NO_TARGET, "no target for IPv6 clients (target_v6)" },
    };
    struct admission ssh;
    char text[ADMISSION_TEXT_MAX];

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    memset(&world.config.target_v6.addr, 0, sizeof world.config.target_v6);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr client = support_addr(cases[i].client);
        world.config.allow_local_clients = cases[i].allow_local_clients;
        assert_int_equal(enter(&ssh, &world.sessions[0]), REASON_NONE);
        enum reason reason = identify_as(&ssh, &world.sessions[0], &client, true);
        assert_int_equal(reason, cases[i].reason);
        assert_string_equal(admission_explain(&ssh, reason, &client, text), cases[i].sentence);
        admission_leave(&ssh, &world.sessions[0]);
    }
    assert_counts(&ssh, 0, 0);
}

static void a_limit_is_named_with_its_number(void **state)
{
    struct admission ssh;
    char text[ADMISSION_TEXT_MAX];

    (void)state;
    be_worker_at(&ssh, "ssh", 1);
    world.config.max_sessions = 4294967295U;
    world.config.max_sessions_per_client = 4294967295U;
    assert_string_equal(admission_explain(&ssh, REASON_MAX_SESSIONS, NULL, text),
                        "4294967295 sessions are the limit (max_sessions)");
    assert_string_equal(admission_explain(&ssh, REASON_MAX_SESSIONS_PER_CLIENT, NULL, text),
                        "4294967295 sessions are this client's limit (max_sessions_per_client)");
    assert_string_equal(admission_explain(&ssh, REASON_MAX_PENDING, NULL, text),
                        "the oldest of max_pending sessions without a whole header");
}

static void the_oldest_pending_session_of_all_workers_must_end(void **state)
{
    struct admission a;
    struct admission b;
    struct admitted *s = world.sessions;

    (void)state;
    be_worker_at(&a, "ssh", 2);
    be_worker_at(&b, "ssh", 2);
    world.config.max_pending = 3;
    assert_int_equal(enter(&b, &s[0]), REASON_NONE);
    assert_int_equal(enter(&a, &s[1]), REASON_NONE);
    assert_int_equal(enter(&a, &s[2]), REASON_NONE);
    assert_null(admission_excess(&a));
    assert_null(admission_excess(&b));
    assert_int_equal(enter(&a, &s[3]), REASON_NONE);
    assert_null(admission_excess(&a)); /* the oldest is the other worker's */
    assert_ptr_equal(admission_excess(&b), &s[0]);
    admission_leave(&b, &s[0]);
    assert_null(admission_excess(&a));
    assert_null(admission_excess(&b));
    /* One whose header is complete is not pending: the next one is the oldest. */
    assert_int_equal(identify(&a, &s[1]), REASON_NONE);
    assert_int_equal(enter(&b, &s[4]), REASON_NONE);
    assert_int_equal(enter(&b, &s[5]), REASON_NONE);
    assert_null(admission_excess(&b));
    assert_ptr_equal(admission_excess(&a), &s[2]);
    admission_leave(&a, &s[2]);
    assert_counts(&a, 4, 3);
}

/* It may be stuck; the others do not rely on it. */
static void a_worker_that_lets_none_go_is_not_waited_for_without_end(void **state)
{
    struct admission stuck;
    struct admission good;
    unsigned n = 0;

    (void)state;
    be_worker_at(&stuck, "ssh", 2);
    be_worker_at(&good, "ssh", 2);
    world.config.max_pending = 1;
    assert_int_equal(enter(&stuck, &world.sessions[n++]), REASON_NONE);
    while (!admission_excess(&good)) {
        assert_true(n < SESSIONS);
        assert_int_equal(enter(&good, &world.sessions[n++]), REASON_NONE);
    }
    assert_ptr_equal(admission_excess(&good), &world.sessions[1]);
    assert_int_equal(n, 1 + 17); /* max_pending, and 17 too many */
}

static void a_worker_with_more_than_its_share_is_above_it_by_more_than_four(void **state)
{
    struct admission a;
    struct admission b;
    struct admission alone;
    int n = 0;

    (void)state;
    be_worker_at(&a, "ssh", 2);
    be_worker_at(&b, "ssh", 2);
    be_worker_at(&alone, "web", 1);
    for (int i = 0; i < 8; i++) {
        assert_false(admission_is_above_share(&a));
        assert_int_equal(enter(&a, &world.sessions[n++]), REASON_NONE);
        assert_int_equal(enter(&alone, &world.sessions[n++]), REASON_NONE);
    }
    assert_false(admission_is_above_share(&a)); /* 8 of 8: half of it is 4, and 4 more */
    assert_int_equal(enter(&a, &world.sessions[n++]), REASON_NONE);
    assert_true(admission_is_above_share(&a));
    assert_false(admission_is_above_share(&b));
    assert_false(admission_is_above_share(&alone));
    assert_int_equal(enter(&b, &world.sessions[n++]), REASON_NONE);
    assert_false(admission_is_above_share(&a));
}

/* What the processes see of each other, apart from the counters. */
struct witness {
    _Atomic int32_t open;
    _Atomic int32_t most;
    _Atomic uint32_t admitted;
    _Atomic uint32_t arrived;
    _Atomic uint32_t done;
};

static struct witness *new_witness(void)
{
    struct witness *witness =
        mmap(NULL, sizeof *witness, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(witness, MAP_FAILED);
    return witness;
}

static bool try_to_come_in(struct admission *admission, struct admitted *session)
{
    if (enter(admission, session) != REASON_NONE)
        return false;
    if (identify(admission, session) == REASON_NONE)
        return true;
    admission_leave(admission, session);
    return false;
}

static void hammer(struct admission *admission, struct witness *witness)
{
    struct admitted session;

    for (int i = 0; i < ROUNDS; i++) {
        if (!try_to_come_in(admission, &session))
            continue;
        int32_t open = atomic_fetch_add(&witness->open, 1) + 1;
        int32_t most = atomic_load(&witness->most);
        while (open > most && !atomic_compare_exchange_weak(&witness->most, &most, open))
            ;
        atomic_fetch_sub(&witness->open, 1);
        admission_leave(admission, &session);
    }
}

/* Forks one process for each worker. It runs act and ends. */
static void run_processes(void (*act)(struct admission *, struct witness *),
                          struct admission workers[PROCESSES], struct witness *witness)
{
    int status;

    for (int i = 0; i < PROCESSES; i++) {
        be_worker_at(&workers[i], "ssh", PROCESSES);
        pid_t pid = fork();
        assert_return_code(pid, errno);
        if (pid == 0) {
            if (counters_own(world.counters, workers[i].worker) == 0)
                act(&workers[i], witness);
            tear_down(NULL);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        assert_return_code(wait(&status), errno);
        assert_int_equal(status, 0);
    }
}

static void processes_never_get_past_a_limit(unsigned *limit)
{
    struct witness *witness = new_witness();
    struct admission workers[PROCESSES];

    *limit = PROCESSES - 1;
    run_processes(hammer, workers, witness);
    assert_true(witness->most > 0);
    assert_true(witness->most <= PROCESSES - 1);
    assert_counts(&workers[0], 0, 0);
    munmap(witness, sizeof *witness);
}

static void workers_never_get_past_max_sessions(void **state)
{
    (void)state;
    processes_never_get_past_a_limit(&world.config.max_sessions);
}

static void workers_never_get_past_max_sessions_per_client(void **state)
{
    (void)state;
    processes_never_get_past_a_limit(&world.config.max_sessions_per_client);
}

/* All processes arrive at every line before any of them goes on. */
static void meet(_Atomic uint32_t *line, uint32_t round)
{
    atomic_fetch_add(line, 1);
    while (atomic_load(line) < round * PROCESSES)
        (void)sched_yield();
}

static void race(struct admission *admission, struct witness *witness)
{
    struct admitted session;

    for (uint32_t round = 1; round <= RACES; round++) {
        meet(&witness->arrived, round);
        bool is_in = try_to_come_in(admission, &session);
        if (is_in)
            atomic_fetch_add(&witness->admitted, 1);
        meet(&witness->done, round);
        if (is_in)
            admission_leave(admission, &session);
    }
}

/* All of them want the last free place at the same moment: one gets it, whoever it is. */
static void the_last_free_place_is_always_given(void **state)
{
    struct witness *witness = new_witness();
    struct admission workers[PROCESSES];

    (void)state;
    world.config.max_sessions = 1;
    run_processes(race, workers, witness);
    assert_int_equal(witness->admitted, RACES);
    munmap(witness, sizeof *witness);
}

/* As fast as it can, so that it is in the midst of counting when it is killed. */
static _Noreturn void churn(struct admission *admission, struct witness *witness)
{
    struct admitted session;

    if (counters_own(world.counters, admission->worker) < 0)
        _exit(1);
    for (;;) {
        (void)try_to_come_in(admission, &session);
        atomic_fetch_add(&witness->done, 1);
        admission_leave(admission, &session);
    }
}

/*
 * With a total beside the workers' own counts this failed at once: 20 of 100 kills fell between
 * the two.
 */
static void a_worker_killed_at_any_moment_leaves_no_session_behind(void **state)
{
    struct witness *witness = new_witness();
    struct admission worker;
    int status;

    (void)state;
    world.config.max_sessions = 1;
    world.config.max_sessions_per_client = 1;
    for (int i = 0; i < KILLS; i++) {
        uint32_t before = atomic_load(&witness->done);
        be_worker_at(&worker, "ssh", 1);
        pid_t pid = fork();
        assert_return_code(pid, errno);
        if (pid == 0)
            churn(&worker, witness);
        while (atomic_load(&witness->done) == before)
            (void)sched_yield();
        assert_return_code(kill(pid, SIGKILL), errno);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        counters_release_worker(world.counters, worker.worker);
        assert_counts(&worker, 0, 0);
        assert_int_equal(
            counters_client_sessions(
                world.counters, counters_client(world.counters, worker.listener, &world.client)),
            0);
    }
    be_worker_at(&worker, "ssh", 1);
    assert_int_equal(enter(&worker, &world.sessions[0]), REASON_NONE);
    munmap(witness, sizeof *witness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_pending_until_its_header_and_counted_until_its_end),
        TEST(a_session_may_leave_before_its_header),
        TEST(a_connection_without_memory_is_counted),
        TEST(a_peer_in_no_allowed_subnet_is_not_counted),
        TEST(max_sessions_counts_the_sessions_of_all_workers),
        TEST(max_sessions_per_client_counts_one_client_at_one_listener),
        TEST(the_peer_itself_is_no_client),
        TEST(more_clients_than_can_be_counted_are_refused),
        TEST(clients_that_can_not_be_served_are_refused),
        TEST(a_limit_is_named_with_its_number),
        TEST(the_oldest_pending_session_of_all_workers_must_end),
        TEST(a_worker_that_lets_none_go_is_not_waited_for_without_end),
        TEST(a_worker_with_more_than_its_share_is_above_it_by_more_than_four),
        TEST(workers_never_get_past_max_sessions),
        TEST(workers_never_get_past_max_sessions_per_client),
        TEST(the_last_free_place_is_always_given),
        TEST(a_worker_killed_at_any_moment_leaves_no_session_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
