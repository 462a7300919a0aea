/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runtime directory does not give, or another instance does not let go of. */
#include "runtime_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* The path of the one claim there is. */
static void find_claim(char out[192])
{
    const struct dirent *entry;
    char path[192];
    DIR *dir;

    in_folder("", path);
    out[0] = '\0';
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, "claim.", 6) == 0)
            in_folder(entry->d_name, out);
    }
    closedir(dir);
    assert_int_not_equal(out[0], '\0');
}

/* Leaves that many descriptors to be opened, and that many less by the next call. */
static void limit_descriptors(struct rlimit *before, unsigned n_free)
{
    struct rlimit limit;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    limit = *before;
    limit.rlim_cur = (rlim_t)next + n_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void claims_that_descriptors_are_too_few_for_are_told(void **state)
{
    struct wanted others = { 0 };
    struct runtime_view view;
    struct rlimit before;
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();

    (void)state;
    claim(a, 1);
    assert_int_equal(runtime_lock(b), 0);
    /* None for the listing; one for the listing, none for the claim. */
    for (unsigned n_free = 0; n_free <= 1; n_free++) {
        limit_descriptors(&before, n_free);
        assert_int_equal(runtime_others(b, &others, &view), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_true(view.incomplete);
        assert_false(view.died);
        assert_int_equal(others.n_items, 0);
    }
    runtime_unlock(b);
    assert_true(sees(b, 1));
    runtime_free(a);
    runtime_free(b);
}

static void a_claim_that_makes_no_sense_is_told_and_the_others_are_read(void **state)
{
    struct wanted_item first = support_item(WANTED_RULE, AF_INET6, 1, 100);
    struct wanted_item second = support_item(WANTED_RULE, AF_INET6, 2, 100);
    struct wanted others = { 0 };
    struct runtime_view view;
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();
    struct runtime *c = runtime_new();
    char path[192];
    FILE *file;

    (void)state;
    claim(a, 1);
    find_claim(path);
    claim(b, 2);
    file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "what is this\n");
    fclose(file);
    assert_int_equal(runtime_lock(c), 0);
    assert_int_equal(runtime_others(c, &others, &view), -EBADMSG);
    runtime_unlock(c);
    assert_true(view.incomplete);
    assert_true(wanted_has(&others, &first));
    assert_true(wanted_has(&others, &second));
    wanted_close(&others);
    runtime_free(a);
    runtime_free(b);
    runtime_free(c);
}

static void without_the_lock_nothing_of_others_is_touched(void **state)
{
    struct wanted none = { 0 };
    struct wanted others = { 0 };
    struct runtime_view view;
    struct runtime *holder = runtime_new();
    struct runtime *other = runtime_new();
    const struct runtime_sysctl *sysctls;
    size_t n;

    (void)state;
    assert_int_equal(runtime_lock(holder), 0);
    assert_int_equal(runtime_lock(other), -EBUSY);
    assert_int_equal(runtime_claim(other, &none), 0);
    assert_int_equal(runtime_others(other, &others, &view), 0);
    assert_true(view.incomplete);
    /* Between the reading and the renaming of the one who has the lock. */
    assert_int_equal(runtime_remember(other, "net.ipv4.fwmark_reflect", 0), -EBUSY);
    assert_int_equal(runtime_remember(holder, "net.ipv4.tcp_fwmark_accept", 0), 0);
    assert_int_equal(runtime_others(holder, &others, &view), 0);
    runtime_sysctls(holder, &n);
    assert_int_equal(n, 1);
    runtime_unlock(holder);

    assert_int_equal(runtime_lock(other), 0);
    assert_int_equal(runtime_claim(other, &none), 0);
    runtime_unlock(other);
    assert_int_equal(runtime_lock(holder), 0);
    assert_int_equal(runtime_others(holder, &others, &view), 0);
    assert_false(view.incomplete);
    sysctls = runtime_sysctls(holder, &n);
    assert_int_equal(n, 2);
    assert_int_equal(value_of(sysctls, n, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(runtime_forget(holder, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(runtime_forget(holder, "net.ipv4.tcp_fwmark_accept"), 0);
    runtime_unlock(holder);
    runtime_free(other);
    runtime_free(holder);
}

/* What a file system that is full by now does to it: nothing can be written. */
static void a_claim_that_has_not_changed_is_not_written(void **state)
{
    struct wanted_item items[] = {
        support_item(WANTED_RULE, AF_INET6, 1, 100),
        support_item(WANTED_ROUTE, AF_INET6, 0, 100),
    };
    struct wanted wanted = { .items = items, .n_items = 2 };
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();
    struct rlimit before;
    struct rlimit limit;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    claim(a, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    claim(a, 1);
    assert_true(sees(b, 1));
    assert_int_equal(runtime_lock(a), 0);
    assert_true(runtime_claim(a, &wanted) < 0);
    runtime_unlock(a);
    assert_true(sees(b, 1));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(runtime_lock(a), 0);
    assert_int_equal(runtime_claim(a, &wanted), 0);
    runtime_unlock(a);
    claim(a, 2); /* shorter again */
    assert_true(sees(b, 2));
    assert_false(sees(b, 1));
    runtime_free(a);
    runtime_free(b);
}

static void a_directory_that_comes_later_is_used_from_then_on(void **state)
{
    struct runtime *here = runtime_new();
    struct runtime *late;
    struct runtime_view view;
    struct wanted others = { 0 };
    struct wanted none = { 0 };
    const struct runtime_sysctl *sysctls;
    char missing[192];
    size_t n;

    (void)state;
    snprintf(missing, sizeof(missing), "%s/missing/run", folder);
    setenv("RUNTIME_DIRECTORY", missing, 1);
    late = runtime_new();
    assert_int_equal(runtime_lock(late), 0);
    assert_int_equal(runtime_error(late), -ENOENT);
    assert_int_equal(runtime_remember(late, "net.ipv4.fwmark_reflect", 0), 0);
    runtime_unlock(late);
    assert_int_equal(runtime_others(here, &others, &view), 0);
    assert_true(view.strangers);

    setenv("RUNTIME_DIRECTORY", folder, 1);
    claim(late, 5);
    assert_int_equal(runtime_error(late), 0);
    assert_true(sees(here, 5));
    assert_int_equal(runtime_others(here, &others, &view), 0);
    assert_false(view.strangers);
    sysctls = runtime_sysctls(here, &n);
    assert_int_equal(value_of(sysctls, n, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(runtime_lock(late), 0);
    assert_int_equal(runtime_forget(late, "net.ipv4.fwmark_reflect"), 0);
    assert_int_equal(runtime_claim(late, &none), 0);
    runtime_unlock(late);
    wanted_close(&others);
    runtime_free(late);
    runtime_free(here);
}

static void more_sysctls_than_can_be_remembered_are_refused(void **state)
{
    struct remembered_place memory = { .folder = -1 };
    struct remembered *remembered = calloc(1, sizeof(*remembered));
    char name[WANTED_SYSCTL_MAX];

    (void)state;
    assert_non_null(remembered);
    for (int i = 0; i < REMEMBERED_MAX; i++) {
        snprintf(name, sizeof(name), "net.ipv4.conf.eth%d.route_localnet", i);
        assert_int_equal(remembered_add(remembered, memory, name, 0), 0);
    }
    assert_int_equal(remembered_add(remembered, memory, "net.ipv4.fwmark_reflect", 0), -ENOBUFS);
    assert_int_equal(remembered_add(remembered, memory, name, 1), 0); /* has its value */
    assert_int_equal(remembered->n, REMEMBERED_MAX);
    free(remembered);
}

static void an_abandoned_claim_is_found_dead(void **state)
{
    struct runtime *a = runtime_new();
    struct runtime *b = runtime_new();
    struct runtime_view view;
    struct wanted others = { 0 };

    (void)state;
    claim(a, 1);
    runtime_abandon(a);
    assert_true(runtime_has_claims(b));
    assert_int_equal(runtime_lock(b), 0);
    assert_int_equal(runtime_others(b, &others, &view), 0);
    runtime_unlock(b);
    assert_true(view.died);
    assert_int_equal(others.n_items, 0);
    assert_false(runtime_has_claims(b));
    runtime_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(claims_that_descriptors_are_too_few_for_are_told),
        TEST(a_claim_that_makes_no_sense_is_told_and_the_others_are_read),
        TEST(without_the_lock_nothing_of_others_is_touched),
        TEST(a_claim_that_has_not_changed_is_not_written),
        TEST(a_directory_that_comes_later_is_used_from_then_on),
        TEST(more_sysctls_than_can_be_remembered_are_refused),
        TEST(an_abandoned_claim_is_found_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
