/* SPDX-License-Identifier: BSD-2-Clause */
/* nft: the nftables of this program's own network namespace. Needs root, nft and iptables. */
#include "routing_support.h"

#include <errno.h>
#include <malloc.h>
#include <unistd.h>

#include "mmproxy/routing/kernel/nft.h"

enum { READS = 20, LOST_IN_ONE = 20000 };

extern bool support_has_own_network;

static void run(const char *command)
{
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

/* In one of them libnftables 1.0.6 loses 20 kB at each read. */
static void make_rules(void)
{
    run("iptables-nft -t nat -A POSTROUTING -s 172.18.0.0/24 ! -o br0 -j MASQUERADE");
    run("nft add table inet mine");
    run("nft 'add chain inet mine out { type route hook output priority mangle; }'");
    run("nft add rule inet mine out ct mark 123 meta mark set ct mark");
}

static void reading_finds_the_rules_and_takes_no_memory_that_stays(void **state)
{
    struct wanted_item item = support_item(WANTED_RESTORE_MARK, AF_INET, 123, 0);
    size_t before = 0;

    (void)state;
    make_rules();
    for (int i = 0; i <= READS; i++) {
        struct nftlist list = { 0 };
        assert_int_equal(nft_read(&list, false), 0);
        assert_true(nftlist_has(&list, &item));
        nftlist_close(&list);
        if (i == 0)
            before = mallinfo2().uordblks;
    }
    /* Under AddressSanitizer both are 0; its own leak checker speaks then. */
    assert_in_range(mallinfo2().uordblks, 0, before + LOST_IN_ONE);
}

static void a_table_that_is_not_there_is_no_mistake(void **state)
{
    struct nftlist list = { 0 };

    (void)state;
    assert_int_equal(nft_read(&list, true), 0);
    assert_int_equal(list.n_items, 0);
}

static void what_is_written_is_read_and_goes_again(void **state)
{
    struct wanted_item items[] = { support_item(WANTED_SAVE_MARK, AF_INET, 5, 0),
                                   support_item(WANTED_RESTORE_MARK, AF_INET6, 6, 0) };
    struct wanted wanted = { .items = items, .n_items = COUNT(items) };
    const struct wanted none = { 0 };
    struct nftlist list = { 0 };

    (void)state;
    assert_int_equal(nft_write(&wanted, &list), 0);
    assert_int_equal(nft_read(&list, true), 0);
    for (size_t i = 0; i < COUNT(items); i++)
        assert_true(nftlist_has_of(&list, true, &items[i]));
    assert_int_equal(nft_write(&none, &list), 0);
    nftlist_close(&list);
    char *text = nft_text(false);
    assert_non_null(text);
    assert_null(strstr(text, "table inet " NFTLIST_OWN_TABLE));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_finds_the_rules_and_takes_no_memory_that_stays),
        cmocka_unit_test(a_table_that_is_not_there_is_no_mistake),
        cmocka_unit_test(what_is_written_is_read_and_goes_again),
    };

    if (geteuid() != 0 || !support_has_own_network)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
