/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_support.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "mmproxy/worker/clients.h"

enum { WORKERS = 4, SSH = 0, WEB = 1, ROUNDS = 5000, MAX = 3, MANY = 20 * 1000 };

static struct addr numbered(uint32_t number)
{
    uint8_t bytes[16] = { 0x20, 0x01, 0x0d, 0xb8 };
    struct addr addr = { 0 };

    memcpy(bytes + 12, &number, sizeof number);
    addr_from_bytes(&addr, AF_INET6, bytes, 0);
    return addr;
}

static struct clients *new_clients(unsigned workers)
{
    struct clients *clients = clients_new(workers);

    assert_non_null(clients);
    clients_look_at(clients, workers);
    return clients;
}

static void the_limit_is_one_client_s_at_one_listener_over_all_workers(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr a = support_addr("198.51.100.7:1000");
    struct addr b = support_addr("198.51.100.8:1000");

    (void)state;
    assert_int_equal(clients_begin(clients, 0, SSH, &a, 2), 0);
    assert_int_equal(clients_begin(clients, 3, SSH, &a, 2), 0);
    assert_int_equal(clients_begin(clients, 0, SSH, &a, 2), -EDQUOT);
    assert_int_equal(clients_begin(clients, 1, SSH, &a, 2), -EDQUOT);
    assert_int_equal(clients_begin(clients, 1, SSH, &a, 1), -EDQUOT); /* lowered by a reload */
    assert_int_equal(clients_begin(clients, 1, SSH, &b, 1), 0);
    assert_int_equal(clients_begin(clients, 1, WEB, &a, 1), 0);
    clients_end(clients, 3, SSH, &a);
    assert_int_equal(clients_begin(clients, 2, SSH, &a, 2), 0);
    assert_int_equal(clients_begin(clients, 2, SSH, &a, 2), -EDQUOT);
    assert_int_equal(clients_begin(clients, 2, SSH, &a, 3), 0); /* raised by one */
    clients_free(clients);
}

static void a_client_s_port_does_not_matter_its_family_does(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr v4 = support_addr("198.51.100.7:1000");
    struct addr other_port = support_addr("198.51.100.7:1001");
    struct addr v6 = support_addr("[::c633:6407]:1000"); /* the same 32 bits */

    (void)state;
    assert_int_equal(clients_begin(clients, 0, SSH, &v4, 1), 0);
    assert_int_equal(clients_begin(clients, 0, SSH, &other_port, 1), -EDQUOT);
    assert_int_equal(clients_begin(clients, 0, SSH, &v6, 1), 0);
    clients_end(clients, 0, SSH, &other_port);
    assert_int_equal(clients_begin(clients, 0, SSH, &v4, 1), 0);
    clients_free(clients);
}

static void many_clients_come_and_go_in_any_order_and_all_counts_are_right(void **state)
{
    struct clients *clients = new_clients(WORKERS);

    (void)state;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            struct addr addr = numbered(i);
            assert_int_equal(clients_begin(clients, i % WORKERS, SSH, &addr, 2), 0);
        }
        for (uint32_t i = 0; i < MANY; i += 2) {
            struct addr addr = numbered(i);
            clients_end(clients, i % WORKERS, SSH, &addr);
        }
        for (uint32_t i = 0; i < MANY; i++) {
            struct addr addr = numbered(i);
            int wanted = i % 2 == 0 ? 0 : -EDQUOT;
            assert_int_equal(clients_begin(clients, 1, SSH, &addr, 1), wanted);
            if (wanted == 0)
                clients_end(clients, 1, SSH, &addr);
        }
        for (uint32_t i = 1; i < MANY; i += 2) {
            struct addr addr = numbered(i);
            clients_end(clients, i % WORKERS, SSH, &addr);
        }
    }
    clients_free(clients);
}

static void a_full_table_is_an_error_and_forgets_nobody(void **state)
{
    struct clients *clients = new_clients(2);
    struct addr more = numbered(CLIENTS_MAX);
    struct addr first = numbered(0);

    (void)state;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct addr addr = numbered(i);
        assert_int_equal(clients_begin(clients, 1, SSH, &addr, 1), 0);
    }
    assert_int_equal(clients_begin(clients, 1, SSH, &more, 1), -ENOSPC);
    assert_int_equal(clients_begin(clients, 1, SSH, &first, 2), 0);
    assert_int_equal(clients_begin(clients, 0, SSH, &more, 1), 0);
    clients_end(clients, 0, SSH, &more);
    for (uint32_t i = 1; i < CLIENTS_MAX; i++) {
        struct addr addr = numbered(i);
        assert_int_equal(clients_begin(clients, 0, SSH, &addr, 1), -EDQUOT);
        clients_end(clients, 1, SSH, &addr);
    }
    /* Whoever comes after such a rush finds room again, but for places that lead to the first. */
    for (uint32_t i = 1; i < CLIENTS_MAX - 1000; i++) {
        struct addr addr = numbered(CLIENTS_MAX + i);
        assert_int_equal(clients_begin(clients, 1, SSH, &addr, 1), 0);
    }
    clients_free(clients);
}

static void a_killed_worker_s_sessions_are_forgotten(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr addr = support_addr("198.51.100.7:1000");
    int status;

    (void)state;
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 3), 0);
    pid_t pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        for (int i = 0; i < 2; i++)
            (void)clients_begin(clients, 2, SSH, &addr, 3);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(clients_begin(clients, 1, SSH, &addr, 3), -EDQUOT);
    clients_forget(clients, 2);
    clients_forget(clients, 3); /* who has never counted anybody */
    assert_int_equal(clients_begin(clients, 3, SSH, &addr, 1), -EDQUOT); /* worker 0's */
    assert_int_equal(clients_begin(clients, 1, SSH, &addr, 3), 0);
    assert_int_equal(clients_begin(clients, 2, SSH, &addr, 3), 0);
    assert_int_equal(clients_begin(clients, 2, SSH, &addr, 3), -EDQUOT);
    clients_free(clients);
}

/* returns: the signal that ends a process which has this worker's table and counts in another's. */
static int end_of_intruder(struct clients *clients, unsigned own, unsigned other)
{
    struct addr addr = support_addr("198.51.100.7:1000");
    int status;

    pid_t pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would tell of it */
        if (clients_own(clients, own) < 0 || clients_begin(clients, own, SSH, &addr, 9) < 0)
            _exit(1);
        _exit(clients_begin(clients, other, SSH, &addr, 9));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void a_worker_can_write_no_other_one_s_table(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr addr = support_addr("198.51.100.7:1000");

    (void)state;
    assert_int_equal(end_of_intruder(clients, 1, 0), SIGSEGV);
    assert_int_equal(end_of_intruder(clients, 1, 2), SIGSEGV);
    assert_int_equal(end_of_intruder(clients, WORKERS - 1, WORKERS - 1), 0);
    /* All others see what each of them counted in its own. */
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 4), -EDQUOT);
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 5), 0);
    clients_free(clients);
}

static void workers_that_are_gone_are_not_looked_at(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr addr = support_addr("198.51.100.7:1000");

    (void)state;
    assert_int_equal(clients_begin(clients, 3, SSH, &addr, 1), 0);
    clients_look_at(clients, 3);
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 1), 0);
    clients_look_at(clients, 4);
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 1), -EDQUOT);
    clients_free(clients);
}

/* What the processes see of each other, apart from the tables. */
struct witness {
    _Atomic int32_t open;
    _Atomic int32_t most;
};

static void hammer(struct clients *clients, unsigned worker, struct witness *witness)
{
    struct addr addr = support_addr("198.51.100.7:1000");

    for (int i = 0; i < ROUNDS; i++) {
        struct addr passer_by = numbered((uint32_t)i);
        (void)clients_begin(clients, worker, SSH, &passer_by, MAX);
        if (clients_begin(clients, worker, SSH, &addr, MAX) == 0) {
            int32_t open = atomic_fetch_add(&witness->open, 1) + 1;
            int32_t most = atomic_load(&witness->most);
            while (open > most && !atomic_compare_exchange_weak(&witness->most, &most, open))
                ;
            atomic_fetch_sub(&witness->open, 1);
            clients_end(clients, worker, SSH, &addr);
        }
        clients_end(clients, worker, SSH, &passer_by);
    }
}

static void workers_that_hammer_it_never_get_past_the_limit(void **state)
{
    struct clients *clients = new_clients(WORKERS);
    struct addr addr = support_addr("198.51.100.7:1000");
    struct witness *witness =
        mmap(NULL, sizeof *witness, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;

    (void)state;
    assert_ptr_not_equal(witness, MAP_FAILED);
    for (unsigned i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        assert_return_code(pid, errno);
        if (pid == 0) {
            hammer(clients, i, witness);
            clients_free(clients);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_return_code(wait(&status), errno);
        assert_int_equal(status, 0);
    }
    assert_true(witness->most > 0);
    assert_true(witness->most <= MAX);
    assert_int_equal(clients_begin(clients, 0, SSH, &addr, 1), 0);
    munmap(witness, sizeof *witness);
    clients_free(clients);
}

static void freeing_nothing_is_harmless(void **state)
{
    (void)state;
    clients_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_one_client_s_at_one_listener_over_all_workers),
        cmocka_unit_test(a_client_s_port_does_not_matter_its_family_does),
        cmocka_unit_test(many_clients_come_and_go_in_any_order_and_all_counts_are_right),
        cmocka_unit_test(a_full_table_is_an_error_and_forgets_nobody),
        cmocka_unit_test(a_killed_worker_s_sessions_are_forgotten),
        cmocka_unit_test(a_worker_can_write_no_other_one_s_table),
        cmocka_unit_test(workers_that_are_gone_are_not_looked_at),
        cmocka_unit_test(workers_that_hammer_it_never_get_past_the_limit),
        cmocka_unit_test(freeing_nothing_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
