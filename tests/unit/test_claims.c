/* SPDX-License-Identifier: BSD-2-Clause */
#include "claims_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "mmproxy/routing/managed/claims.h"

static const struct claim nobody = { .fd = -1 };

static int say(struct claim *claim, uint32_t mark)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET6, mark, 100);
    struct wanted wanted = { .items = &item, .n_items = 1 };

    return claims_say(claim, &wanted);
}

static struct claim make(uint32_t mark)
{
    struct claim claim = { .fd = -1 };

    assert_int_equal(say(&claim, mark), 0);
    return claim;
}

static bool says(const struct claims_view *view, uint32_t mark)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET6, mark, 100);

    return wanted_has(&view->others, &item);
}

static bool sees(const struct claim *claim, uint32_t mark)
{
    struct claims_view view = { 0 };

    assert_int_equal(claims_read(claim, &view), 0);
    assert_false(view.is_incomplete);
    bool has = says(&view, mark);
    claims_view_close(&view);
    return has;
}

static bool sees_unseen(const struct claim *claim)
{
    struct claims_view view = { 0 };

    assert_int_equal(claims_read(claim, &view), 0);
    bool has_unseen = view.has_unseen;
    claims_view_close(&view);
    return has_unseen;
}

/* returns: how many dead ones there were; they are removed. */
static size_t bury(void)
{
    struct claims_view view = { 0 };

    assert_int_equal(claims_read(&nobody, &view), 0);
    claims_bury(&view);
    size_t n = view.n_dead;
    claims_view_close(&view);
    return n;
}

static void file_of(const struct claim *claim, char out[PATH_LEN])
{
    char name[CLAIMS_ID_LEN + 8];

    snprintf(name, sizeof name, "claim.%s", claim->id);
    in_folder(name, out);
}

static void instances_see_each_others_claims_and_not_their_own(void **state)
{
    struct claim a = make(1);
    struct claim b = make(2);

    (void)state;
    assert_true(sees(&a, 2));
    assert_false(sees(&a, 1));
    assert_true(sees(&b, 1));
    assert_int_equal(say(&a, 3), 0);
    assert_true(sees(&b, 3));
    assert_false(sees(&b, 1));
    assert_false(sees_unseen(&b));
    claims_withdraw(&a);
    assert_false(sees(&b, 3));
    assert_int_equal(bury(), 0);
    claims_withdraw(&b);
    assert_false(claims_exist());
}

static void the_claim_of_a_killed_process_is_dead(void **state)
{
    int ready[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)make(7);
        _exit(write(ready[1], "x", 1) == 1 && pause() ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(sees(&nobody, 7));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(sees(&nobody, 7));
    assert_true(claims_exist());
    assert_int_equal(bury(), 1);
    assert_false(claims_exist());
    close(ready[0]);
    close(ready[1]);
}

static void a_child_that_inherited_it_keeps_the_claim_alive(void **state)
{
    struct claim claim = make(7);
    int hold[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(hold), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    claims_abandon(&claim); /* all that is left of a crash */
    assert_true(sees(&nobody, 7));
    close(hold[1]);
    waitpid(pid, NULL, 0);
    close(hold[0]);
    assert_false(sees(&nobody, 7));
    assert_int_equal(bury(), 1);
}

static void a_claim_whose_file_was_removed_is_unseen_and_made_again(void **state)
{
    struct claim claim = make(1);
    char path[PATH_LEN];

    (void)state;
    file_of(&claim, path);
    assert_int_equal(unlink(path), 0);
    assert_false(sees(&nobody, 1));
    assert_true(sees_unseen(&nobody));
    assert_false(sees_unseen(&claim));
    assert_int_equal(say(&claim, 1), 0);
    assert_true(sees(&nobody, 1));
    assert_false(sees_unseen(&nobody));
    claims_withdraw(&claim);
}

static void a_claim_in_another_directory_is_unseen(void **state)
{
    char elsewhere[] = "/tmp/mmproxy-claims-other-XXXXXX";
    struct claim here = make(1);

    (void)state;
    assert_false(sees_unseen(&here));
    assert_non_null(mkdtemp(elsewhere));
    setenv("RUNTIME_DIRECTORY", elsewhere, 1);
    struct claim other = make(2);
    assert_true(sees_unseen(&other));
    setenv("RUNTIME_DIRECTORY", folder, 1);
    assert_true(sees_unseen(&here));
    setenv("RUNTIME_DIRECTORY", elsewhere, 1);
    claims_withdraw(&other);
    runtime_dir_remove();
    setenv("RUNTIME_DIRECTORY", folder, 1);
    assert_false(sees_unseen(&here));
    claims_withdraw(&here);
    assert_int_equal(rmdir(elsewhere), 0);
}

static void a_claim_without_any_directory_lives_and_gets_its_file_later(void **state)
{
    struct claim claim = { .fd = -1 };
    char missing[PATH_LEN];

    (void)state;
    snprintf(missing, sizeof missing, "%s/missing/run", folder);
    setenv("RUNTIME_DIRECTORY", missing, 1);
    assert_int_equal(say(&claim, 5), -ENOENT);
    setenv("RUNTIME_DIRECTORY", folder, 1);
    assert_true(sees_unseen(&nobody));
    assert_int_equal(say(&claim, 5), 0);
    assert_true(sees(&nobody, 5));
    assert_false(sees_unseen(&nobody));
    claims_withdraw(&claim);
}

/* The last instance to leave removes the folder, whatever another one is about to do in it. */
static void a_folder_that_another_instance_removes_at_that_moment(void **state)
{
    enum { TIMES = 300 };
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < TIMES; i++) {
            struct claim claim = make(1);
            claims_withdraw(&claim);
            runtime_dir_remove();
        }
        _exit(0);
    }
    for (int i = 0; i < TIMES; i++) {
        struct claim claim = make(2);
        claims_withdraw(&claim);
        runtime_dir_remove();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Leaves that many descriptors to be opened. */
static void limit_descriptors(struct rlimit *before, unsigned n_free)
{
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit limit = *before;
    limit.rlim_cur = (rlim_t)next + n_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void claims_that_descriptors_are_too_few_for_are_reported(void **state)
{
    (void)state;
    struct claim a = make(1);
    /* None for the list of sockets; one for it, none for the claim. */
    for (unsigned n_free = 0; n_free <= 1; n_free++) {
        struct claims_view view = { 0 };
        struct rlimit before;

        limit_descriptors(&before, n_free);
        assert_int_equal(claims_read(&nobody, &view), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_true(view.is_incomplete);
        assert_int_equal(view.n_dead, 0);
        assert_int_equal(view.others.n_items, 0);
        claims_view_close(&view);
    }
    assert_true(sees(&nobody, 1));
    claims_withdraw(&a);
}

static void a_claim_that_makes_no_sense_is_reported_and_the_others_are_read(void **state)
{
    struct claim a = make(1);
    struct claim b = make(2);
    struct claims_view view = { 0 };
    char path[PATH_LEN];

    (void)state;
    file_of(&a, path);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "what is this\n");
    fclose(file);
    assert_int_equal(claims_read(&nobody, &view), -EBADMSG);
    assert_true(view.is_incomplete);
    assert_true(says(&view, 1) && says(&view, 2));
    claims_view_close(&view);
    claims_withdraw(&a);
    claims_withdraw(&b);
}

/* What a file system that is full by now does to it: nothing can be written. */
static void a_claim_that_has_not_changed_is_not_written(void **state)
{
    struct claim claim = make(1);
    struct rlimit before;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = before;
    limit.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(say(&claim, 1), 0);
    assert_true(sees(&nobody, 1));
    /* What it says now is too little: others are to leave alone all that may be ours. */
    assert_int_equal(say(&claim, 12), -EFBIG);
    assert_true(sees_unseen(&nobody));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(say(&claim, 12), 0);
    assert_true(sees(&nobody, 12));
    assert_int_equal(say(&claim, 2), 0); /* shorter again */
    assert_true(sees(&nobody, 2));
    assert_false(sees(&nobody, 12));
    claims_withdraw(&claim);
}

static void what_a_killed_writer_left_goes_with_its_claim(void **state)
{
    struct claim claim = make(1);
    char path[PATH_LEN];
    char aside[PATH_LEN + 8];

    (void)state;
    file_of(&claim, path);
    snprintf(aside, sizeof aside, "%s.new", path);
    FILE *file = fopen(aside, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(bury(), 0); /* it is being written */
    assert_true(sees(&nobody, 1));
    claims_abandon(&claim);
    assert_true(bury() > 0);
    assert_false(claims_exist());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(instances_see_each_others_claims_and_not_their_own),
        TEST(the_claim_of_a_killed_process_is_dead),
        TEST(a_child_that_inherited_it_keeps_the_claim_alive),
        TEST(a_claim_whose_file_was_removed_is_unseen_and_made_again),
        TEST(a_claim_in_another_directory_is_unseen),
        TEST(a_claim_without_any_directory_lives_and_gets_its_file_later),
        TEST(a_folder_that_another_instance_removes_at_that_moment),
        TEST(claims_that_descriptors_are_too_few_for_are_reported),
        TEST(a_claim_that_makes_no_sense_is_reported_and_the_others_are_read),
        TEST(a_claim_that_has_not_changed_is_not_written),
        TEST(what_a_killed_writer_left_goes_with_its_claim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
