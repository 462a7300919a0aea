/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/foreground.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "mmproxy/routing/managed.h"
#include "mmproxy/routing/rules.h"
#include "mmproxy/supervisor/preflight.h"

enum { EX_CHECK_FAILED = 1 };

static void print_line(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

int foreground_check(const struct config *config)
{
    static const struct report_sink sink = { .line = print_line };
    struct managed *managed = NULL;

    if (config->routing == ROUTING_MANAGED) {
        managed = managed_new();
        if (!managed) {
            fprintf(stderr, "mmproxy: the return path can't be managed: %s\n", strerror(errno));
            return EX_OSERR;
        }
        (void)managed_apply(managed, &config, 1); /* what is missing is in the report */
    }
    bool holds = preflight_run(config, true, &sink);
    if (managed)
        managed_remove(managed);
    managed_free(managed);
    return holds ? EX_OK : EX_CHECK_FAILED;
}

int foreground_rules(const struct config *config, enum rules_form form)
{
    int err = rules_print(stdout, config, form);
    if (err == 0 && fflush(stdout) != 0)
        err = -errno;
    if (err < 0)
        fprintf(stderr, "mmproxy: the rules can't be printed: %s\n", strerror(-err));
    return err < 0 ? EX_OSERR : EX_OK;
}
