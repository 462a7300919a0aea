/* SPDX-License-Identifier: BSD-2-Clause */
/* runtime_support: a runtime directory for each test, and looks into it. */
#ifndef RUNTIME_SUPPORT_H
#define RUNTIME_SUPPORT_H

#include <unistd.h>

#include "mmproxy/routing/managed/presence.h"
#include "mmproxy/routing/managed/runtime.h"
#include "routing_support.h"

static char folder[64];

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/mmproxy-runtime-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    return setenv("RUNTIME_DIRECTORY", folder, 1);
}

/* Fails where something is left. */
static inline int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static inline void claim(struct runtime *runtime, uint32_t mark)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET6, mark, 100);
    struct wanted wanted = { .items = &item, .n_items = 1 };

    assert_int_equal(runtime_lock(runtime), 0);
    assert_int_equal(runtime_claim(runtime, &wanted), 0);
    runtime_unlock(runtime);
}

static inline bool sees(struct runtime *runtime, uint32_t mark)
{
    struct wanted_item item = support_item(WANTED_RULE, AF_INET6, mark, 100);
    struct wanted others = { 0 };
    struct runtime_view view;
    bool has;

    assert_int_equal(runtime_lock(runtime), 0);
    assert_int_equal(runtime_others(runtime, &others, &view), 0);
    runtime_unlock(runtime);
    assert_false(view.incomplete);
    has = wanted_has(&others, &item);
    wanted_close(&others);
    return has;
}

static inline int value_of(const struct runtime_sysctl *sysctls, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(sysctls[i].name, name) == 0)
            return sysctls[i].value;
    }
    return -1;
}

/* A file of this network namespace. */
static inline void in_folder(const char *name, char out[192])
{
    char namespace[PRESENCE_NAME_LEN];

    presence_namespace(namespace);
    snprintf(out, 192, "%s/%s/%.60s", folder, namespace, name);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
