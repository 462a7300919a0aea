/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "mmproxy/base/clock.h"
#include "mmproxy/base/log.h"
#include "mmproxy/base/shared.h"
#include "mmproxy/worker/datagram/peers.h"
#include "mmproxy/worker/inspection.h"

/* Until a message is sent again that the channel had no room or the system no memory for. */
#define RETRY_S 0.05

/* A worker sends nothing unasked. If it does, it was taken over, and may never stop. */
static void cut_off(struct process *process)
{
    log_error("worker", "[!] worker %d is killed: it sent a message that nothing asked for",
              (int)process->pid);
    reader_close(&process->reader, process->loop);
    (void)kill(process->pid, SIGKILL);
}

static void tell_inspected(struct process *process, const struct inspection *answer)
{
    void (*inspected)(void *, const struct inspection *) = process->inspected;

    process->inspected = NULL;
    if (inspected)
        inspected(process->inspected_context, answer);
}

/* A copy: nothing in it changes any more. */
static void take_answer(struct process *process)
{
    struct inspection answer = *process->inspection;

    if (answer.n > INSPECTION_RECORDS)
        answer.n = INSPECTION_RECORDS;
    for (uint32_t i = 0; i < answer.n; i++)
        answer.records[i].listener[LISTENER_NAME_MAX] = '\0';
    tell_inspected(process, &answer);
}

static void take_message(struct process *process, enum worker_message message)
{
    bool is_known = message == WORKER_READY || message == WORKER_ALIVE;

    if (message == WORKER_INSPECTED && process->inspected) {
        take_answer(process);
        return;
    }

    if (process->due == 0 || !is_known) {
        cut_off(process);
        return;
    }
    process->due--;
    process->on_message(process, message);
}

static void on_channel(void *context)
{
    struct process *process = context;
    char message;

    ssize_t n = recv(process->channel, &message, 1, MSG_DONTWAIT);
    if (n == 1)
        take_message(process, (enum worker_message)message);
    else if (n == 0 || errno == ECONNRESET)
        reader_close(&process->reader, process->loop); /* it is dying: SIGCHLD tells the rest */
}

/* No handler of the supervisor's may run in the child. */
static pid_t fork_blocked(pid_t (*make)(void))
{
    sigset_t all;
    sigset_t old;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    pid_t pid = make();
    if (pid != 0) {
        int err = errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        errno = err;
    }
    return pid;
}

static pid_t make_sibling(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

pid_t process_fork(void)
{
    return fork_blocked(fork);
}

pid_t process_fork_beside(void)
{
    return fork_blocked(make_sibling);
}

/* It has nothing to do with those of listeners whose targets are elsewhere. */
static void keep_sockets(struct worker_spec *spec, uint64_t namespace_id)
{
    struct worker_socket *sockets = spec->sockets; /* of this process: it was forked for it */
    size_t n = 0;

    for (size_t i = 0; i < spec->n_sockets; i++) {
        if (spec->config->listeners[sockets[i].listener].namespace_id == namespace_id)
            sockets[n++] = sockets[i];
        else
            close(sockets[i].fd);
    }
    spec->n_sockets = n;
}

static _Noreturn void be_worker(const struct process_start *start, struct worker_spec *spec,
                                uint64_t namespace_id)
{
    start->leave(start->context);
    keep_sockets(spec, namespace_id);
    /* What a header says is judged by the addresses of both namespaces. */
    int err = namespace_id != 0 ? locals_new(&spec->outside) : 0;
    if (err == 0)
        err = start->enter(start->context, namespace_id);
    if (err < 0)
        log_error("worker", "[!] a worker can't enter its network namespace: %s", strerror(-err));
    exit(err < 0 ? EX_OSERR : worker_run(spec, start->prepare));
}

static int start_process(struct process *process, const struct process_start *start)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;

    struct worker_spec spec = start->spec;
    spec.worker_id = process->worker_id;
    spec.index = process->index;
    spec.region = process->region;
    spec.channel = ends[1];
    spec.inspection = process->inspection;
    process->pid = process_fork();
    if (process->pid == 0) {
        close(ends[0]);
        be_worker(start, &spec, process->namespace_id);
    }
    int err = errno;
    close(ends[1]);
    if (process->pid < 0) {
        close(ends[0]);
        return -err;
    }
    process->channel = ends[0];
    peers_set_owner(spec.peers, process->region, process->pid);
    /* No other worker sees whom this one serves. */
    if (process->inspection)
        (void)madvise(process->inspection, shared_whole_pages(sizeof *process->inspection),
                      MADV_DONTFORK);
    return 0;
}

/* Its places in what all workers share. returns: 0 or -errno. */
static int claim(struct process *process, const struct process_start *start)
{
    int id = counters_claim_worker(start->spec.counters);
    if (id < 0)
        return id;
    int region = peers_claim(start->spec.peers);
    if (region < 0) {
        counters_release_worker(start->spec.counters, (unsigned)id);
        return region;
    }
    process->worker_id = (unsigned)id;
    process->region = (unsigned)region;
    return 0;
}

static void release(const struct process *process, const struct process_start *start)
{
    peers_release(start->spec.peers, process->region);
    counters_release_worker(start->spec.counters, process->worker_id);
}

static int try_to_send(struct process *process, enum worker_message message)
{
    char byte = (char)message;

    return send(process->channel, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void send_owed(struct process *process)
{
    int err = try_to_send(process, process->owed);

    /* A channel that is closed is a worker's that is dying: SIGCHLD tells. */
    if (err == 0 || err == -EPIPE || err == -ECONNRESET)
        return;
    ev_timer_stop(process->loop, &process->retry);
    ev_timer_set(&process->retry, RETRY_S, 0.);
    ev_timer_start(process->loop, &process->retry);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    send_owed(timer->data);
}

int process_new(struct process **out, const struct process_start *start, uint64_t namespace_id,
                unsigned index)
{
    struct process *process = calloc(1, sizeof *process);
    if (!process)
        return -ENOMEM;

    int err = claim(process, start);
    if (err < 0) {
        free(process);
        return err;
    }
    process->namespace_id = namespace_id;
    process->index = index;
    process->on_message = start->on_message;
    process->started_ms = clock_now_ms();
    process->due = 1;
    process->inspection = shared_new(shared_whole_pages(sizeof *process->inspection));
    err = start_process(process, start);
    if (err < 0) {
        shared_free(process->inspection, shared_whole_pages(sizeof *process->inspection));
        release(process, start);
        free(process);
        return err;
    }
    process->loop = start->loop;
    reader_open(&process->reader, process->loop, process->channel, on_channel, process);
    ev_timer_init(&process->retry, on_retry, 0., 0.);
    process->retry.data = process;
    *out = process;
    return 0;
}

void process_forget(struct process *process)
{
    reader_close(&process->reader, process->loop);
    ev_timer_stop(process->loop, &process->retry);
    close(process->channel);
    shared_free(process->inspection, shared_whole_pages(sizeof *process->inspection));
    free(process);
}

/* A worker that drains ends with its last session: its answer, which closed that, may lie here. */
static void take_last_answer(struct process *process)
{
    char message;

    while (process->inspected) {
        ssize_t n = recv(process->channel, &message, 1, MSG_DONTWAIT);
        if (n == 1 && message == WORKER_INSPECTED)
            take_answer(process);
        else if (n == 0 || (n < 0 && errno != ECONNRESET && errno != EINTR))
            return;
    }
}

void process_free(struct process *process, const struct process_start *start)
{
    if (!process)
        return;
    release(process, start);
    take_last_answer(process);
    tell_inspected(process, NULL);
    process_forget(process);
}

static void ignore_answer(void *context, const struct inspection *answer)
{
    (void)context;
    (void)answer;
}

void process_forget_question(struct process *process)
{
    if (process->inspected)
        process->inspected = ignore_answer;
}

int process_inspect(struct process *process, const struct inspection *question,
                    void (*inspected)(void *context, const struct inspection *answer),
                    void *context)
{
    if (process->inspected)
        return -EBUSY;
    if (!process->inspection)
        return -ENOMEM;
    process->inspection->filter = question->filter;
    process->inspection->is_first = question->is_first;
    process->inspection->is_ending = question->is_ending;
    int err = try_to_send(process, WORKER_INSPECT);
    if (err < 0)
        return err;
    process->inspected = inspected;
    process->inspected_context = context;
    return 0;
}

void process_send(struct process *process, enum worker_message message)
{
    if (message == WORKER_PING) {
        process->due += try_to_send(process, message) == 0;
        return;
    }
    if (message == WORKER_DRAIN || message == WORKER_STOP || message == WORKER_LEAVE_ALONE)
        process->state = PROCESS_DRAINING;
    process->owed = message;
    send_owed(process);
}
