/* SPDX-License-Identifier: BSD-2-Clause */
/* Generations of real workers, forked by the test; what they are jailed by is the test's. */
#include "net_support.h"

#include <signal.h>
#include <sys/wait.h>

#include "mmproxy/base/log.h"
#include "mmproxy/net/sock.h"
#include "mmproxy/supervisor/generation.h"
#include "mmproxy/worker/datagram/peers.h"

enum { WORKERS = 2, COUNTERS = 8, LISTENERS = 4 };

static struct world {
    struct ev_loop *loop;
    struct counters *counters;
    struct peers *peers;
    struct sockets sockets;
    struct config *config;
    struct generation *generation;
    unsigned descriptors; /* before it all */
    unsigned ready;
    unsigned failed;
    unsigned gone;
    pid_t first; /* the process of the test */
} world;

static void on_ready(struct generation *generation)
{
    (void)generation;
    world.ready++;
}

static void on_failed(struct generation *generation)
{
    (void)generation;
    world.failed++;
}

static void on_gone(struct generation *generation)
{
    (void)generation;
    world.gone++;
}

static void leave(void *context)
{
    (void)context;
    generation_leave(world.generation);
    ev_loop_destroy(world.loop);
}

static int no_jail(const struct worker_spec *spec)
{
    (void)spec;
    return 0;
}

static int enter(void *context, uint64_t namespace_id)
{
    (void)context;
    return namespace_id == 0 ? 0 : -ENOENT;
}

static int no_start(const struct worker_spec *spec)
{
    (void)spec;
    return -EPERM;
}

static int only_the_first_start(const struct worker_spec *spec)
{
    return spec->worker_id == 0 ? 0 : -EPERM;
}

static void report(void *context, bool is_error, const char *line)
{
    (void)context;
    (void)is_error;
    print_message("%s\n", line);
}

/* One listener on that address; NULL: none at all. */
static struct config *make_config(const struct addr *addr)
{
    static const struct config_sink sink = { .report = report };
    char text[ADDR_STRLEN];
    char folder[] = "/tmp/mmproxy-generation-XXXXXX";
    char path[64];
    char subnets[64];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/conf", folder);
    snprintf(subnets, sizeof subnets, "%s/subnets", folder);
    FILE *file = fopen(subnets, "w");
    assert_non_null(file);
    fputs("127.0.0.1\n", file);
    fclose(file);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "workers = %d; log: { target = \"stderr\"; }; listeners = (", WORKERS);
    if (addr)
        fprintf(file,
                "{ name = \"ssh\"; listen = \"%s\"; allowed_subnets = \"subnets\";\n"
                "  target_v4 = \"127.0.0.1:9\"; }",
                addr_format(addr, text));
    fputs(");\n", file);
    fclose(file);
    struct config *config = config_load(path, &sink);
    unlink(path);
    unlink(subnets);
    rmdir(folder);
    return config;
}

/* So that it opens nothing later on. */
static int open_log(void **state)
{
    static const struct log_config config = { LOG_TARGET_STDERR, LOG_LEVEL_INFO, LOG_FORMAT_TEXT };

    (void)state;
    return log_open(&config);
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.descriptors = support_descriptors("");
    world.first = getpid();
    world.loop = ev_loop_new(EVBACKEND_EPOLL);
    world.counters = counters_new(COUNTERS, LISTENERS);
    if (peers_new(&world.peers, 1) < 0)
        return -1;
    int listening = support_listen(0);
    struct addr addr = support_name(listening);
    world.config = make_config(&addr);
    if (!world.loop || !world.counters || !world.config || sock_set_abortive(listening) < 0)
        return -1;
    return sockets_adopt(&world.sockets, listening, false, false);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
    generation_free(world.generation);
    sockets_shut_down(&world.sockets);
    counters_free(world.counters);
    peers_free(world.peers);
    ev_loop_destroy(world.loop);
    return support_descriptors("") == world.descriptors ? 0 : -1;
}

static void start(int (*prepare)(const struct worker_spec *spec))
{
    static const struct generation_events events = { on_ready, on_failed, on_gone };
    struct process_start template = {
        .loop = world.loop,
        .leave = leave,
        .enter = enter,
        .spec.counters = world.counters,
        .spec.peers = world.peers,
        .spec.leash = -1,
        .prepare = prepare,
    };

    assert_int_equal(
        generation_new(&world.generation, world.config, &world.sockets, &template, &events), 0);
}

/* Turns the loop, and reaps, until condition holds. */
static void turn_until(bool (*condition)(void))
{
    int status;
    pid_t pid;

    while (!condition()) {
        ev_run(world.loop, EVRUN_NOWAIT);
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            assert_true(generation_reaped(world.generation, pid, status));
    }
}

static bool is_ready(void)
{
    return world.ready > 0;
}

static bool has_failed(void)
{
    return world.failed > 0;
}

static bool is_gone(void)
{
    return world.gone > 0;
}

static bool has_all_workers_serving(void)
{
    struct process *process;
    unsigned n = 0;

    TAILQ_FOREACH (process, &world.generation->processes, link)
        n += process->state == PROCESS_SERVING;
    return n == WORKERS;
}

static bool has_a_death(void)
{
    return world.generation->deaths_in_a_row > 0;
}

static bool has_answered(void)
{
    return generation_ping(world.generation);
}

static struct process *first_process(void)
{
    return TAILQ_FIRST(&world.generation->processes);
}

static void drain(void)
{
    generation_drain(world.generation);
    turn_until(is_gone);
    assert_int_equal(world.generation->n_processes, 0);
    assert_int_equal(world.gone, 1);
}

static void it_is_ready_when_all_workers_are_and_gone_when_they_are_drained(void **state)
{
    (void)state;
    start(no_jail);
    assert_int_equal(world.generation->state, GENERATION_STARTING);
    assert_int_equal(world.generation->n_processes, WORKERS);
    turn_until(is_ready);
    assert_int_equal(world.generation->state, GENERATION_SERVING);
    assert_true(has_all_workers_serving());
    assert_int_equal(generation_sessions(world.generation), 0);
    drain();
    assert_int_equal(world.ready, 1);
    assert_int_equal(world.failed, 0);
}

static void no_connection_is_served_before_the_owner_says_so(void **state)
{
    struct addr addr = support_name(world.sockets.all[0].fd);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    start(no_jail);
    turn_until(is_ready);
    assert_return_code(connect(fd, &addr.sa, addr_len(&addr)), errno);
    (void)has_answered();
    turn_until(has_answered); /* the loops of the workers have turned since */
    assert_true(support_is_ready(world.sockets.all[0].fd, POLLIN, 0));
    generation_serve(world.generation, true);
    assert_int_equal(send(fd, "no header", 9, MSG_NOSIGNAL), 9);
    support_wait(fd, POLLHUP); /* reset */
    close(fd);
    drain();
}

static void workers_that_can_t_start_are_a_failure_to_be_cleared_away(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        start(i == 0 ? no_start : only_the_first_start);
        turn_until(has_failed);
        assert_int_equal(world.ready, 0);
        generation_kill(world.generation);
        turn_until(is_gone);
        if (i == 0) {
            generation_free(world.generation);
            world.generation = NULL;
            world.failed = world.gone = 0;
            world.config = make_config(&world.sockets.all[0].addr);
        }
    }
}

static void a_start_without_room_for_its_workers_fails_and_says_why(void **state)
{
    (void)state;
    for (int i = 0; i < COUNTERS - 1; i++) /* of generations that drain */
        assert_int_equal(counters_claim_worker(world.counters), i);
    start(no_jail);
    turn_until(has_failed);
    assert_string_equal(world.generation->failure,
                        "generations that still have sessions leave no room for so many more "
                        "workers or listeners");
    generation_kill(world.generation);
    turn_until(is_gone);
}

static void a_worker_that_dies_is_replaced_by_another(void **state)
{
    (void)state;
    start(no_jail);
    turn_until(is_ready);
    generation_serve(world.generation, true);
    pid_t victim = first_process()->pid;
    unsigned id = first_process()->worker_id;
    atomic_store(&counters_worker(world.counters, id)->sessions, 7);
    assert_return_code(kill(victim, SIGKILL), errno);
    turn_until(has_a_death);
    turn_until(has_all_workers_serving);
    assert_int_equal(world.generation->n_processes, WORKERS);
    assert_int_equal(world.failed, 0);
    assert_int_equal(atomic_load(&counters_worker(world.counters, id)->sessions), 0);
    drain();
}

static void a_worker_that_dies_while_draining_is_not_replaced(void **state)
{
    (void)state;
    start(no_jail);
    turn_until(is_ready);
    assert_return_code(kill(first_process()->pid, SIGKILL), errno);
    drain();
}

static void a_worker_that_does_not_answer_is_noticed(void **state)
{
    (void)state;
    start(no_jail);
    turn_until(is_ready);
    turn_until(has_answered);
    pid_t stuck = first_process()->pid;
    assert_return_code(kill(stuck, SIGSTOP), errno);
    assert_int_equal(waitpid(stuck, NULL, WUNTRACED), stuck);
    ev_run(world.loop, EVRUN_NOWAIT); /* answers from before */
    (void)has_answered();
    ev_run(world.loop, EVRUN_NOWAIT);
    assert_false(has_answered());
    assert_return_code(kill(stuck, SIGCONT), errno);
    turn_until(has_answered);
    drain();
}

static void strangers_children_are_not_its_business(void **state)
{
    (void)state;
    start(no_jail);
    turn_until(is_ready);
    assert_false(generation_reaped(world.generation, world.first, 0));
    drain();
}

static void without_listeners_there_is_nothing_to_wait_for(void **state)
{
    (void)state;
    config_free(world.config);
    world.config = make_config(NULL);
    start(no_jail);
    assert_int_equal(world.generation->n_processes, 0);
    turn_until(is_ready);
    drain();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            it_is_ready_when_all_workers_are_and_gone_when_they_are_drained, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_connection_is_served_before_the_owner_says_so, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(workers_that_can_t_start_are_a_failure_to_be_cleared_away,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_without_room_for_its_workers_fails_and_says_why,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_dies_is_replaced_by_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_dies_while_draining_is_not_replaced, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_does_not_answer_is_noticed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(strangers_children_are_not_its_business, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_listeners_there_is_nothing_to_wait_for, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, open_log, NULL);
}
