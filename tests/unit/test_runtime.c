/* SPDX-License-Identifier: BSD-2-Clause */
#include "runtime_support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void instances_see_each_others_claims_and_not_their_own(void **state)
{
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();

    (void)state;
    assert_int_equal(runtime_error(a), 0);
    claim(a, 1);
    claim(b, 2);
    assert_true(sees(a, 2));
    assert_false(sees(a, 1));
    assert_true(sees(b, 1));
    claim(a, 3);
    assert_true(sees(b, 3));
    assert_false(sees(b, 1));
    runtime_free(a);
    assert_false(sees(b, 3));
    runtime_free(b);
}

static void the_claim_of_a_killed_process_is_gone(void **state)
{
    struct runtime *here = runtime_new();
    int ready[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        claim(runtime_new(), 7);
        _exit(write(ready[1], "x", 1) == 1 && pause() ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(sees(here, 7));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(sees(here, 7));
    close(ready[0]);
    close(ready[1]);
    runtime_free(here);
}

static void a_child_that_left_keeps_the_claim_alive(void **state)
{
    struct runtime *here = runtime_new();
    struct runtime *other = runtime_new();
    int hold[2];
    char byte;
    pid_t pid;

    (void)state;
    claim(other, 7);
    assert_int_equal(pipe(hold), 0);
    pid = fork();
    if (pid == 0) {
        runtime_leave(other);
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    runtime_leave(other); /* what is left of a crash: descriptors closed, nothing withdrawn */
    assert_true(sees(here, 7));
    close(hold[1]);
    waitpid(pid, NULL, 0);
    close(hold[0]);
    /* runtime_leave above kept our own descriptor of the claim: it lives as long as we do. */
    assert_true(sees(here, 7));
    for (int fd = 3; fd < 64; fd++) {
        char path[64];
        char link[256] = "";

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "/claim."))
            close(fd);
    }
    assert_false(sees(here, 7));
    runtime_free(here);
}

static void a_sysctl_is_remembered_once_and_over_a_crash(void **state)
{
    struct runtime *a = runtime_new();
    struct runtime *b;
    const struct runtime_sysctl *sysctls;
    struct runtime_view view;
    struct wanted others = { 0 };
    size_t n;

    (void)state;
    assert_int_equal(runtime_lock(a), 0);
    assert_int_equal(runtime_remember(a, "net.ipv4.fwmark_reflect", 0), 0);
    assert_int_equal(runtime_remember(a, "net.ipv4.fwmark_reflect", 1), 0);
    assert_int_equal(runtime_remember(a, "net.ipv4.conf.eth0/1.route_localnet", 2), 0);
    runtime_unlock(a);
    runtime_leave(a); /* as a crash would */
    b = runtime_new();
    assert_int_equal(runtime_lock(b), 0);
    assert_int_equal(runtime_others(b, &others, &view), 0);
    sysctls = runtime_sysctls(b, &n);
    assert_int_equal(n, 2);
    assert_int_equal(value_of(sysctls, n, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(value_of(sysctls, n, "net.ipv4.conf.eth0/1.route_localnet"), 2);
    assert_int_equal(runtime_forget(b, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(runtime_forget(b, "net.ipv4.conf.eth0/1.route_localnet"), 0);
    runtime_unlock(b);
    runtime_free(b);
}

static void remove_claims(const char *path)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, "claim.", 6) == 0)
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    }
    closedir(dir);
}

static void a_sysctl_that_could_not_be_saved_is_kept_and_saved_later(void **state)
{
    struct wanted none = { 0 };
    struct wanted others = { 0 };
    struct runtime *a = runtime_new();
    struct runtime *b;
    const struct runtime_sysctl *sysctls;
    char obstacle[192];
    struct runtime_view view;
    size_t n;

    (void)state;
    assert_int_equal(runtime_lock(a), 0);
    assert_int_equal(runtime_remember(a, "net.ipv4.tcp_fwmark_accept", 0), 0);
    in_folder("sysctls.new", obstacle);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    assert_true(runtime_remember(a, "net.ipv4.fwmark_reflect", 0) < 0);
    assert_true(runtime_claim(a, &none) < 0);
    assert_int_equal(runtime_others(a, &others, &view), 0);
    runtime_sysctls(a, &n);
    assert_int_equal(n, 2);
    assert_int_equal(rmdir(obstacle), 0);
    assert_int_equal(runtime_claim(a, &none), 0);
    runtime_unlock(a);
    runtime_free(a); /* the file stays as long as there is something in it */

    b = runtime_new();
    assert_int_equal(runtime_lock(b), 0);
    assert_int_equal(runtime_others(b, &others, &view), 0);
    sysctls = runtime_sysctls(b, &n);
    assert_int_equal(n, 2);
    for (size_t i = n; i-- > 0;) {
        struct runtime_sysctl sysctl = sysctls[i];

        assert_int_equal(sysctl.value, 0);
        assert_int_equal(runtime_forget(b, sysctl.name), 0);
    }
    runtime_unlock(b);
    runtime_free(b);
}

static void a_claim_whose_file_was_removed_is_made_again(void **state)
{
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();
    char path[192];

    (void)state;
    claim(a, 1);
    in_folder("", path);
    remove_claims(path);
    assert_false(sees(b, 1));
    claim(a, 1);
    assert_true(sees(b, 1));
    runtime_free(a);
    runtime_free(b);
}

static void an_instance_with_another_directory_is_a_stranger(void **state)
{
    char other_folder[] = "/tmp/mmproxy-runtime-other-XXXXXX";
    struct wanted others = { 0 };
    struct runtime *here = runtime_new();
    struct runtime *other;
    struct runtime_view view;

    (void)state;
    assert_int_equal(runtime_others(here, &others, &view), 0);
    assert_false(view.strangers);
    assert_non_null(mkdtemp(other_folder));
    setenv("RUNTIME_DIRECTORY", other_folder, 1);
    other = runtime_new();
    assert_int_equal(runtime_others(here, &others, &view), 0);
    assert_true(view.strangers);
    runtime_free(other);
    assert_int_equal(runtime_others(here, &others, &view), 0);
    assert_false(view.strangers);
    runtime_free(here);
    setenv("RUNTIME_DIRECTORY", folder, 1);
    assert_int_equal(rmdir(other_folder), 0);
}

static void without_a_directory_it_works_in_memory(void **state)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET, 1, 100);
    struct wanted wanted = { .items = &item, .n_items = 1 };
    struct runtime *runtime;
    size_t n;

    (void)state;
    setenv("RUNTIME_DIRECTORY", "/proc/no/such/place", 1);
    runtime = runtime_new();
    assert_true(runtime_error(runtime) < 0);
    assert_int_equal(runtime_lock(runtime), 0);
    assert_int_equal(runtime_claim(runtime, &wanted), 0);
    assert_int_equal(runtime_remember(runtime, "net.ipv4.fwmark_reflect", 0), 0);
    runtime_sysctls(runtime, &n);
    assert_int_equal(n, 1);
    runtime_unlock(runtime);
    runtime_free(runtime);
}

/* The last instance to leave removes the folder, whatever another one is about to do in it. */
static void a_folder_that_another_instance_removes_at_that_moment(void **state)
{
    enum { TIMES = 1000 };
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < TIMES; i++)
            runtime_free(runtime_new());
        _exit(0);
    }
    for (int i = 0; i < TIMES; i++) {
        struct runtime *runtime = runtime_new();

        assert_int_equal(runtime_error(runtime), 0);
        assert_int_equal(runtime_lock(runtime), 0);
        runtime_unlock(runtime);
        runtime_free(runtime);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(instances_see_each_others_claims_and_not_their_own),
        TEST(the_claim_of_a_killed_process_is_gone),
        TEST(a_child_that_left_keeps_the_claim_alive),
        TEST(a_sysctl_is_remembered_once_and_over_a_crash),
        TEST(a_sysctl_that_could_not_be_saved_is_kept_and_saved_later),
        TEST(a_claim_whose_file_was_removed_is_made_again),
        TEST(an_instance_with_another_directory_is_a_stranger),
        TEST(without_a_directory_it_works_in_memory),
        TEST(a_folder_that_another_instance_removes_at_that_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
