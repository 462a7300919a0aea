/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/confine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "mmproxy/base/log.h"
#include "mmproxy/jail/caps.h"

enum { PLAN_TEXT_MAX = CAPS_TEXT_MAX + 256 };

int confine_supervisor(void)
{
    struct jail_failure failure;

    int err = jail_confine(&failure);
    if (err == 0)
        return EX_OK;
    log_error("jail", "mmproxy: can't %s: %s", failure.what, strerror(-err));
    return EX_OSERR;
}

static const char *users_name(const struct jail *jail, const struct config *config)
{
    return jail->user.is_switched ? config->user : "the user that started it";
}

int confine_plan(struct jail *out, const struct config *config, char reason[CONFINE_REASON_MAX])
{
    struct jail_failure failure = { 0 };
    const char *remedy = "";
    int status = EX_OK;

    int err = jail_plan(out, config, &failure);
    if (err < 0) {
        status = err == -EPERM ? EX_NOPERM : EX_OSERR;
    } else if (out->has_filter) {
        err = jail_confine_calls(&failure);
        status = err < 0 ? EX_OSERR : EX_OK;
        remedy = "; only sandbox = false runs without";
    }
    if (err < 0)
        (void)snprintf(reason, CONFINE_REASON_MAX, "can't %s: %s%s", failure.what, strerror(-err),
                       remedy);
    return status;
}

void confine_tell(const struct worker_spec *spec)
{
    const struct jail *jail = &spec->jail;
    const struct config *config = spec->config;
    static char last[PLAN_TEXT_MAX];
    char caps[CAPS_TEXT_MAX];
    char text[PLAN_TEXT_MAX];

    (void)snprintf(text, sizeof text, "user %s, capabilities %s, seccomp %s",
                   users_name(jail, config), caps_format(jail->caps, caps),
                   !jail->has_filter        ? "off"
                   : jail_is_instrumented() ? "on, but wide open for this test build's reports"
                                            : "on");
    if (config->n_listeners == 0 || strcmp(text, last) == 0)
        return;
    (void)snprintf(last, sizeof last, "%s", text);
    log_info("jail", "[ ] jail of the workers: %s", text);
    if (jail->user.is_unmapped)
        log_warning("jail", "[!] this user namespace has no user %s: workers stay user 0 of it",
                    config->user);
    if (!jail->has_filter)
        log_warning("jail",
                    "[!] THE SANDBOX IS OFF (sandbox = false or --do-not-sandbox): nothing limits "
                    "the system calls of processes that strangers talk to; for debugging only. "
                    "User and capabilities are still given up");
}

void confine_give_up_namespaces(const struct config *config)
{
    struct jail_failure failure;

    int err = jail_give_up_namespaces(config->sandbox, &failure);
    if (err < 0)
        log_warning("jail", "[!] can't %s: %s", failure.what, strerror(-err));
}

void confine_begin_routing(void)
{
    (void)caps_raise(CAPS_BIT(CAP_NET_ADMIN));
}

void confine_end_routing(void)
{
    (void)caps_lower(CAPS_BIT(CAP_NET_ADMIN));
}

int confine_worker(const struct worker_spec *spec)
{
    struct counters_worker *counters = counters_worker(spec->counters, spec->worker_id);
    struct jail_failure failure = { 0 };

    int err = jail_close(&spec->jail, &counters->forbidden, &failure);
    if (err < 0)
        log_error("jail", "[!] a worker can't %s: %s", failure.what, strerror(-err));
    return err;
}
