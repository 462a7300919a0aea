/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/managed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/net/congestion.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/managed/claims.h"
#include "mmproxy/routing/managed/install.h"
#include "mmproxy/routing/managed/runtime_dir.h"
#include "mmproxy/routing/managed/watch.h"

#define ADDED  "[+] Return path:"
#define BACK   "[!] Return path: put back after another program removed it:"
#define BEFORE "[!] Return path: put before another program's rule that took the replies:"

enum {
    LOOK_EVERY_MS = 10000, /* sysctls have no notifications */
    /*
     * After a change of ours too: what another instance removed at the same moment, before it
     * saw our claim, comes back.
     */
    LOOK_SOON_MS = 1000,
    REPAIRS_AT_ONCE_MS = 10000, /* each repair spends a second */
    REPAIR_MS = 1000,
};

struct managed {
    struct rtnl *rtnl;
    struct watch watch;
    struct claim claim;
    struct originals originals; /* of sysctls that are not in a file yet */
    struct wanted wanted;       /* since the last managed_apply */
    struct wanted previous;     /* wanted before, until a sweep has removed it */
    int64_t repaired_ms;        /* up to when the limit is spent, see may_repair */
    bool is_first;              /* nothing was applied yet */
    bool has_failed;            /* the last time, and it was said */
    bool is_runtime_bad;        /* the last time, and it was said */
    bool is_due;                /* a repair waits for the limit */
    bool is_sweep_owed;         /* the last one was left out: what others need was not known */
};

static bool is_idle(const struct managed *managed)
{
    return managed->wanted.n_items == 0 && !managed->is_sweep_owed;
}

/* Until the next look; never where there is nothing to look after. */
static void set_timer(const struct managed *managed, bool has_changed)
{
    unsigned first_ms = managed->is_due || has_changed ? LOOK_SOON_MS : LOOK_EVERY_MS;

    if (is_idle(managed))
        watch_look_after(&managed->watch, 0, 0);
    else
        watch_look_after(&managed->watch, first_ms, LOOK_EVERY_MS);
}

struct managed *managed_new(void)
{
    struct managed *managed = calloc(1, sizeof *managed);

    if (!managed)
        return NULL;
    managed->claim.fd = -1;
    managed->is_first = true;
    int err = watch_open(&managed->watch);
    if (err == 0) {
        managed->rtnl = rtnl_new();
        err = managed->rtnl ? 0 : -errno;
    }
    if (err == 0)
        return managed;
    managed_free(managed);
    errno = -err;
    return NULL;
}

static void close_all(struct managed *managed)
{
    watch_close(&managed->watch);
    rtnl_free(managed->rtnl);
    originals_close(&managed->originals);
    wanted_close(&managed->wanted);
    wanted_close(&managed->previous);
    free(managed);
}

void managed_free(struct managed *managed)
{
    if (!managed)
        return;
    if (managed->is_sweep_owed)
        claims_abandon(&managed->claim);
    else
        claims_withdraw(&managed->claim);
    runtime_dir_remove();
    close_all(managed);
}

int managed_leave(struct managed *managed)
{
    if (!managed)
        return -1;
    int fd = managed->claim.fd;
    close_all(managed);
    return fd;
}

int managed_fd(const struct managed *managed)
{
    return managed->watch.fd;
}

/* A claim that was made stays: workers that inherited it are not to look like unseen ones. */
static int say_claim(struct managed *managed)
{
    if (managed->wanted.n_items == 0 && managed->claim.fd < 0)
        return 0;
    return claims_say(&managed->claim, &managed->wanted);
}

/* Removes what is in excess, now or, where what others need is not known, another time. */
static void sweep(struct managed *managed, struct install *install, const struct install_keep *keep)
{
    managed->is_sweep_owed = keep->incomplete;
    if (keep->incomplete)
        return;
    install_sweep(install, keep);
    wanted_close(&managed->previous);
}

static void bring_about(struct managed *managed, struct install *install,
                        const struct claims_view *view, bool is_repair)
{
    struct install_keep keep = {
        .own = &managed->wanted,
        .others = &view->others,
        .previous = &managed->previous,
        .has_unseen = view->has_unseen,
        .incomplete = view->is_incomplete,
        .leftovers = managed->is_first || managed->is_sweep_owed || view->n_dead > 0,
    };

    install_missing(install, &managed->wanted);
    /* Reading tables takes its time on a host that has many rules. */
    if (!is_repair || keep.leftovers || managed->has_failed || managed->watch.has_new_tables) {
        managed->watch.has_new_tables = false;
        install_marks(install, &keep);
    }
    /* Nothing of ours is in excess since the last time otherwise; looking costs. */
    if (keep.leftovers || !is_repair)
        sweep(managed, install, &keep);
    install_finish(install);
    if (!managed->is_sweep_owed)
        claims_bury(view);
}

/* Once, until it has worked in between; where nothing is set up nothing can be left behind. */
static void tell_runtime(struct managed *managed, int err, bool is_incomplete)
{
    bool was_bad = managed->is_runtime_bad;

    if (is_idle(managed))
        return;
    managed->is_runtime_bad = err < 0;
    if (was_bad || err == 0)
        return;
    if (is_incomplete)
        log_warning("return_path",
                    "[!] Return path: what other mmproxy need can't be read (%s): removing "
                    "nothing until it can",
                    strerror(-err));
    else
        log_warning("return_path",
                    "[!] Return path: the runtime directory can't be used (%s): after a crash "
                    "sysctls would not go back to what they were",
                    strerror(-err));
}

static int first_error(int a, int b)
{
    return a < 0 ? a : b;
}

/*
 * Brings the kernel to what is wanted now. The runtime directory is for crashes and for other
 * instances: sessions must not wait until it works.
 * returns: was anything changed?
 */
static bool reconcile(struct managed *managed, bool is_repair)
{
    struct claims_view view = { 0 };
    struct install install = {
        .rtnl = managed->rtnl,
        .originals = &managed->originals,
        /* It was not set up, so no other program has removed it. */
        .added = is_repair && !managed->has_failed ? BACK : ADDED,
        .moved = is_repair ? BEFORE : ADDED,
        .hush_failures = managed->has_failed,
    };

    int err = say_claim(managed);
    err = first_error(err, originals_save(&managed->originals));
    err = first_error(err, claims_read(&managed->claim, &view));
    bring_about(managed, &install, &view, is_repair);
    tell_runtime(managed, first_error(err, install.originals_error), view.is_incomplete);
    claims_view_close(&view);
    managed->has_failed = install.failed;
    set_timer(managed, install.n_lines > 0);
    return install.n_lines > 0;
}

/* The wanted items become previous ones, with those that a sweep has yet to remove. */
static int replace_wanted(struct managed *managed, struct wanted *wanted)
{
    for (size_t i = 0; i < managed->wanted.n_items; i++) {
        int err = wanted_add_item(&managed->previous, &managed->wanted.items[i]);

        if (err < 0)
            return err;
    }
    wanted_close(&managed->wanted);
    managed->wanted = *wanted;
    *wanted = (struct wanted){ 0 };
    return 0;
}

static int collect(struct managed *managed, const struct config *const *configs, size_t n_configs,
                   struct wanted *out)
{
    struct wanted_host host;
    int err = survey_host(managed->rtnl, &host);
    host.is_paced = congestion_is_paced();

    for (size_t i = 0; err == 0 && i < n_configs; i++) {
        if (configs[i]->routing == ROUTING_MANAGED)
            err = wanted_add(out, configs[i], &host);
    }
    return err;
}

bool managed_apply(struct managed *managed, const struct config *const *configs, size_t n_configs)
{
    struct wanted wanted = { 0 };
    int err = collect(managed, configs, n_configs, &wanted);

    if (err == 0)
        err = replace_wanted(managed, &wanted);
    if (err < 0) {
        log_error("return_path", "[!] Return path: %s", strerror(-err));
        wanted_close(&wanted);
        return false;
    }
    managed->has_failed = false;
    reconcile(managed, false);
    managed->is_first = false;
    return !managed->has_failed;
}

void managed_remove(struct managed *managed)
{
    /* A start that came to nothing may have been one after a crash, whose claim is there still. */
    if (!managed->is_first || claims_exist())
        (void)managed_apply(managed, NULL, 0);
}

/*
 * A bucket of ten repairs that fills by one a second, kept as the time up to which it is
 * spent.
 */
static bool may_repair(struct managed *managed)
{
    int64_t now = (int64_t)clock_now_ms();

    if (managed->repaired_ms < now - REPAIRS_AT_ONCE_MS)
        managed->repaired_ms = now - REPAIRS_AT_ONCE_MS;
    return managed->repaired_ms + REPAIR_MS <= now;
}

void managed_on_readable(struct managed *managed)
{
    if (watch_read(&managed->watch, &managed->wanted))
        managed->is_due = true;
    if (!managed->is_due || managed->is_first)
        return;
    if (is_idle(managed)) {
        managed->is_due = false;
        return;
    }
    if (!may_repair(managed)) {
        set_timer(managed, false);
        return;
    }
    managed->is_due = false;
    if (reconcile(managed, true))
        managed->repaired_ms += REPAIR_MS;
}

bool managed_is_in_use(void)
{
    const struct claim none = { .fd = -1 };
    struct claims_view view = { 0 };

    (void)claims_read(&none, &view);
    bool is_in_use = view.others.n_items > 0 || view.has_unseen;
    claims_view_close(&view);
    return is_in_use;
}
