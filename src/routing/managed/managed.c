/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/managed/managed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/routing/kernel/survey.h"
#include "mmproxy/routing/managed/install.h"
#include "mmproxy/routing/managed/watch.h"

#define ADDED  "[+] Return path:"
#define BACK   "[!] Return path: put back what somebody took away:"
#define BEFORE "[!] Return path: put before a rule of somebody's that took the replies:"

enum {
    LOOK_EVERY_S = 10,          /* sysctls have no notifications */
    REPAIRS_AT_ONCE_MS = 10000, /* each repair spends a second */
    MS = 1000,
};

struct managed {
    struct rtnl *rtnl;
    struct runtime *runtime;
    struct watch watch;
    struct wanted wanted;   /* since the last managed_apply */
    struct wanted previous; /* wanted before, until a sweep has removed it */
    int epoll_fd;
    int timer_fd;
    int64_t repaired_ms; /* up to when the limit is spent, see may_repair */
    bool is_first;       /* nothing was applied yet */
    bool has_failed;     /* the last time, and it was said */
    bool is_runtime_bad; /* the last time, and it was said */
    bool is_due;         /* a repair waits for the limit */
    bool is_blind;       /* the last time: what others need could not be read */
    bool is_sweep_owed;  /* the last one was left out, being blind */
};

static int watch_fd(const struct managed *managed, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    if (fd < 0)
        return 0;
    return epoll_ctl(managed->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static bool is_idle(const struct managed *managed)
{
    return managed->wanted.n_items == 0 && !managed->is_sweep_owed;
}

/* Until the next look; never where there is nothing to look after. */
static void set_timer(const struct managed *managed)
{
    int first_s = managed->is_due ? 1 : LOOK_EVERY_S;
    struct itimerspec when = { .it_interval.tv_sec = LOOK_EVERY_S, .it_value.tv_sec = first_s };

    if (is_idle(managed))
        when = (struct itimerspec){ 0 };
    timerfd_settime(managed->timer_fd, 0, &when, NULL);
}

static int open_all(struct managed *managed)
{
    int r;

    managed->rtnl = rtnl_new();
    if (!managed->rtnl)
        return -errno;
    managed->runtime = runtime_new();
    if (!managed->runtime)
        return -ENOMEM;
    managed->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    managed->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (managed->epoll_fd < 0 || managed->timer_fd < 0)
        return -errno;
    r = watch_open(&managed->watch);
    if (r == 0)
        r = watch_fd(managed, managed->watch.rtnl_fd);
    if (r == 0)
        r = watch_fd(managed, managed->watch.nft_fd);
    if (r == 0)
        r = watch_fd(managed, managed->timer_fd);
    return r;
}

struct managed *managed_new(void)
{
    struct managed *managed = calloc(1, sizeof(*managed));
    int r;

    if (!managed)
        return NULL;
    managed->watch.rtnl_fd = managed->watch.nft_fd = -1;
    managed->epoll_fd = managed->timer_fd = -1;
    managed->is_first = true;
    r = open_all(managed);
    if (r == 0)
        return managed;
    managed_free(managed);
    errno = -r;
    return NULL;
}

static void close_all(struct managed *managed)
{
    watch_close(&managed->watch);
    if (managed->epoll_fd >= 0)
        close(managed->epoll_fd);
    if (managed->timer_fd >= 0)
        close(managed->timer_fd);
    rtnl_free(managed->rtnl);
    wanted_close(&managed->wanted);
    wanted_close(&managed->previous);
    free(managed);
}

void managed_free(struct managed *managed)
{
    if (!managed)
        return;
    if (managed->is_sweep_owed)
        runtime_abandon(managed->runtime); /* who finds the dead claim does the sweep */
    else
        runtime_free(managed->runtime);
    close_all(managed);
}

void managed_leave(struct managed *managed)
{
    if (!managed)
        return;
    runtime_leave(managed->runtime);
    close_all(managed);
}

int managed_fd(const struct managed *managed)
{
    return managed->epoll_fd;
}

static int first_error(int a, int b)
{
    return a < 0 ? a : b;
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

/*
 * Brings the kernel to what is wanted now. The runtime directory is for crashes and for other
 * instances: sessions must not wait until it works.
 * returns: its first error, or 0.
 */
static int reconcile_kernel(struct managed *managed, struct install *install, bool is_repair)
{
    struct wanted others = { 0 };
    struct runtime_view view;
    int r = runtime_claim(managed->runtime, &managed->wanted);

    r = first_error(r, runtime_others(managed->runtime, &others, &view));
    struct install_keep keep = {
        .own = &managed->wanted,
        .others = &others,
        .previous = &managed->previous,
        .strangers = view.strangers,
        .incomplete = view.incomplete,
        .leftovers = managed->is_first || managed->is_sweep_owed || view.died,
    };
    managed->is_blind = view.incomplete;
    install_missing(install, &managed->wanted);
    install_marks(install, &keep);
    /* Nothing of ours is in excess since the last time otherwise; looking costs. */
    if (keep.leftovers || !is_repair)
        sweep(managed, install, &keep);
    install_finish(install);
    wanted_close(&others);
    return first_error(r, install->runtime_error);
}

/* Once, until it has worked in between; where nothing is set up nothing can be left behind. */
static void tell_runtime(struct managed *managed, int r)
{
    bool was_bad = managed->is_runtime_bad;

    if (is_idle(managed))
        return;
    managed->is_runtime_bad = r < 0;
    if (was_bad || r == 0)
        return;
    if (r == -EBUSY)
        log_warning("return_path", "[!] Return path: another mmproxy holds the lock of the runtime "
                                   "directory: going on without it, and removing nothing");
    else if (managed->is_blind)
        log_warning("return_path",
                    "[!] Return path: what other mmproxy need can't be read (%s): removing "
                    "nothing until it can",
                    strerror(-r));
    else
        log_warning("return_path",
                    "[!] Return path: the runtime directory can't be used (%s): after a crash "
                    "sysctls would not go back to what they were",
                    strerror(-r));
}

/* returns: was anything changed? */
static bool reconcile(struct managed *managed, bool is_repair)
{
    struct install install = {
        .rtnl = managed->rtnl,
        .runtime = managed->runtime,
        /* What could not be set up before was nobody's to take away. */
        .added = is_repair && !managed->has_failed ? BACK : ADDED,
        .moved = is_repair ? BEFORE : ADDED,
        .hush_failures = managed->has_failed,
    };
    int r = runtime_lock(managed->runtime); /* tries to mend what runtime_error tells */

    r = first_error(runtime_error(managed->runtime), r);
    r = first_error(r, reconcile_kernel(managed, &install, is_repair));
    runtime_unlock(managed->runtime);
    tell_runtime(managed, r);
    managed->has_failed = install.failed;
    if (is_idle(managed))
        runtime_withdraw(managed->runtime);
    set_timer(managed);
    return install.n_lines > 0;
}

/* What was wanted becomes previous, besides what a sweep has yet to remove. */
static int replace_wanted(struct managed *managed, struct wanted *wanted)
{
    for (size_t i = 0; i < managed->wanted.n_items; i++) {
        int r = wanted_add_item(&managed->previous, &managed->wanted.items[i]);

        if (r < 0)
            return r;
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
    int r = survey_host(managed->rtnl, &host);

    for (size_t i = 0; r == 0 && i < n_configs; i++) {
        if (configs[i]->routing == ROUTING_MANAGED)
            r = wanted_add(out, configs[i], &host);
    }
    return r;
}

bool managed_apply(struct managed *managed, const struct config *const *configs, size_t n_configs)
{
    struct wanted wanted = { 0 };
    int r = collect(managed, configs, n_configs, &wanted);

    if (r == 0)
        r = replace_wanted(managed, &wanted);
    if (r < 0) {
        log_error("return_path", "[!] Return path: %s", strerror(-r));
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
    if (!managed->is_first || runtime_has_claims(managed->runtime))
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
    return managed->repaired_ms + MS <= now;
}

void managed_on_readable(struct managed *managed)
{
    uint64_t ticks;
    bool is_time = read(managed->timer_fd, &ticks, sizeof(ticks)) > 0;

    if (watch_read(&managed->watch, &managed->wanted) || is_time)
        managed->is_due = true;
    if (!managed->is_due || managed->is_first)
        return;
    if (is_idle(managed)) {
        managed->is_due = false;
        return;
    }
    if (!may_repair(managed)) {
        set_timer(managed);
        return;
    }
    managed->is_due = false;
    if (reconcile(managed, true))
        managed->repaired_ms += MS;
}
