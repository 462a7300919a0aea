/* SPDX-License-Identifier: BSD-2-Clause */
#include "claims_support.h"

#include <errno.h>
#include <sys/stat.h>

#include "mmproxy/routing/managed/originals.h"

#define REFLECT "net.ipv4.fwmark_reflect"
#define DOTTED  "net.ipv4.conf.eth0/1.route_localnet" /* of eth0.1 */

static int keep(struct originals *unsaved, const char *name, int value)
{
    assert_int_equal(originals_keep(unsaved, name, &value), 0);
    return value;
}

/* What a process that has none in memory finds; -1 = nothing. */
static int value_of(const char *name)
{
    const struct originals none = { 0 };
    struct originals all = { 0 };
    int value = -1;

    assert_int_equal(originals_list(&none, &all), 0);
    for (size_t i = 0; i < all.n_items; i++) {
        if (strcmp(all.items[i].name, name) == 0)
            value = all.items[i].value;
    }
    originals_close(&all);
    return value;
}

static void the_first_value_is_kept_over_a_crash(void **state)
{
    struct originals a = { 0 };
    struct originals b = { 0 };

    (void)state;
    assert_int_equal(keep(&a, REFLECT, 0), 0);
    assert_int_equal(keep(&a, REFLECT, 1), 0);
    assert_int_equal(keep(&a, DOTTED, 2), 2);
    assert_int_equal(a.n_items, 0); /* nothing is in memory alone */
    assert_int_equal(value_of(REFLECT), 0);
    assert_int_equal(value_of(DOTTED), 2);
    assert_int_equal(keep(&b, REFLECT, 1), 0);
    originals_drop(&b, REFLECT);
    originals_drop(&b, DOTTED);
    assert_int_equal(value_of(REFLECT), -1);
    assert_int_equal(value_of(DOTTED), -1);
}

static void a_value_that_could_not_be_saved_is_kept_and_saved_later(void **state)
{
    struct originals unsaved = { 0 };
    struct originals all = { 0 };
    char missing[PATH_LEN];
    int value = 0;

    (void)state;
    snprintf(missing, sizeof missing, "%s/missing/run", folder);
    setenv("RUNTIME_DIRECTORY", missing, 1);
    assert_int_equal(originals_keep(&unsaved, REFLECT, &value), -ENOENT);
    value = 1;
    assert_int_equal(originals_keep(&unsaved, REFLECT, &value), -ENOENT);
    assert_int_equal(value, 0);
    assert_int_equal(originals_save(&unsaved), -ENOENT);
    assert_int_equal(originals_list(&unsaved, &all), 0);
    assert_int_equal(all.n_items, 1);
    originals_close(&all);

    setenv("RUNTIME_DIRECTORY", folder, 1);
    assert_int_equal(value_of(REFLECT), -1);
    assert_int_equal(originals_save(&unsaved), 0);
    assert_int_equal(unsaved.n_items, 0);
    assert_int_equal(value_of(REFLECT), 0);
    originals_drop(&unsaved, REFLECT);
    originals_close(&unsaved);
}

/* Another instance, with a directory, came later and took the value that we had set for it. */
static void the_value_in_memory_is_older_than_the_one_in_a_file(void **state)
{
    struct originals unsaved = { 0 };
    struct originals other = { 0 };
    char obstacle[PATH_LEN];
    int value = 0;

    (void)state;
    assert_int_equal(keep(&other, DOTTED, 0), 0);
    in_folder("sysctl." REFLECT, obstacle);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    assert_int_equal(originals_keep(&unsaved, REFLECT, &value), -EISDIR);
    assert_int_equal(rmdir(obstacle), 0);
    assert_int_equal(keep(&other, REFLECT, 1), 1);
    assert_int_equal(originals_save(&unsaved), 0);
    assert_int_equal(value_of(REFLECT), 0);
    originals_drop(&other, REFLECT);
    originals_drop(&other, DOTTED);
    originals_close(&unsaved);
    originals_close(&other);
}

/* Killed between making the file and writing to it: nothing was changed yet. */
static void an_empty_file_says_nothing(void **state)
{
    struct originals unsaved = { 0 };
    char path[PATH_LEN];

    (void)state;
    assert_int_equal(keep(&unsaved, DOTTED, 0), 0);
    in_folder("sysctl." REFLECT, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(value_of(REFLECT), 1); /* nothing is to be put back */
    assert_int_equal(keep(&unsaved, REFLECT, 0), 0);
    assert_int_equal(value_of(REFLECT), 0);
    originals_drop(&unsaved, REFLECT);
    originals_drop(&unsaved, DOTTED);
}

static void many_are_kept_in_memory(void **state)
{
    enum { MANY = 1000 };
    struct originals unsaved = { 0 };
    char name[WANTED_SYSCTL_MAX];

    (void)state;
    setenv("RUNTIME_DIRECTORY", "/proc/no/such/place", 1);
    for (int i = 0; i < MANY; i++) {
        int value = 0;
        snprintf(name, sizeof name, "net.ipv4.conf.eth%d.route_localnet", i);
        assert_true(originals_keep(&unsaved, name, &value) < 0);
    }
    assert_int_equal(unsaved.n_items, MANY);
    originals_close(&unsaved);
    setenv("RUNTIME_DIRECTORY", folder, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_value_is_kept_over_a_crash),
        TEST(a_value_that_could_not_be_saved_is_kept_and_saved_later),
        TEST(the_value_in_memory_is_older_than_the_one_in_a_file),
        TEST(an_empty_file_says_nothing),
        TEST(many_are_kept_in_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
