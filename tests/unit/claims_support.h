/* SPDX-License-Identifier: BSD-2-Clause */
/* claims_support: a runtime directory for each test, and looks into it. */
#ifndef CLAIMS_SUPPORT_H
#define CLAIMS_SUPPORT_H

#include <unistd.h>

#include "mmproxy/routing/managed/runtime_dir.h"
#include "routing_support.h"

enum { PATH_LEN = 192 };

static char folder[64];

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mmproxy-claims-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    return setenv("RUNTIME_DIRECTORY", folder, 1);
}

/* Fails where something is left. */
static inline int tear_down(void **state)
{
    (void)state;
    runtime_dir_remove();
    return rmdir(folder);
}

/* A file of this network namespace. */
static inline void in_folder(const char *name, char out[PATH_LEN])
{
    char namespace[RUNTIME_DIR_NAME_LEN];

    runtime_dir_name(namespace);
    snprintf(out, PATH_LEN, "%s/%s/%.60s", folder, namespace, name);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
