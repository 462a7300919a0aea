/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of the control socket. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands.h"
#include "earlier.h"
#include "mmproxy/base/log.h"
#include "mmproxy/routing/report/report_sink.h"
#include "mmproxy/supervisor/preflight.h"
#include "mmproxy/worker/inspection.h"
#include "mmproxy/worker/stream/session.h"

/* ---- sessions, close ------------------------------------------------------------------ */

static size_t list_pids(const struct generation *generation, pid_t *out)
{
    const struct process *process;
    size_t n = 0;

    TAILQ_FOREACH (process, &generation->processes, link) {
        if (out)
            out[n] = process->pid;
        n++;
    }
    return n;
}

static size_t list_all_pids(const struct supervisor *supervisor, pid_t *out)
{
    const struct generation *generation;
    size_t n = supervisor->current ? list_pids(supervisor->current, out) : 0;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        n += list_pids(generation, out ? out + n : NULL);
    return n;
}

static struct process *find_in(const struct generation *generation, pid_t pid)
{
    struct process *process;

    TAILQ_FOREACH (process, &generation->processes, link)
        if (process->pid == pid)
            return process;
    return NULL;
}

static struct process *find_process(const struct supervisor *supervisor, pid_t pid)
{
    const struct generation *generation;
    struct process *found = supervisor->current ? find_in(supervisor->current, pid) : NULL;

    TAILQ_FOREACH (generation, &supervisor->draining, link)
        if (!found)
            found = find_in(generation, pid);
    return found;
}

static void add_session(struct control_client *client, pid_t pid,
                        const struct session_record *record)
{
    static const char *const states[] = { [SESSION_HEADER] = "header",
                                          [SESSION_CONNECT] = "connect",
                                          [SESSION_RELAY] = "relay",
                                          [SESSION_RESET] = "reset" };
    bool is_known = record->state < sizeof states / sizeof *states;
    char text[ADDR_STRLEN];
    char id[40];
    struct control_line line;
    struct json *json = control_line_begin(&line, "session");

    (void)snprintf(id, sizeof id, "%d-%" PRIu64, (int)pid, record->number);
    json_text(json, "id", id);
    json_text(json, "listener", record->listener);
    json_text(json, "peer", addr_format(&record->peer, text));
    json_text(json, "client", addr_format(&record->client, text));
    if (addr_is_set(&record->mapped))
        json_text(json, "mapped", addr_format(&record->mapped, text));
    json_text(json, "target", addr_format(&record->target, text));
    json_number(json, "age_ms", record->age_ms);
    json_number(json, "idle_ms", record->idle_ms);
    json_number(json, "bytes_in", record->bytes_in);
    json_number(json, "bytes_out", record->bytes_out);
    json_text(json, "state", is_known ? states[record->state] : "?");
    control_client_add(client, json);
}

static void next_worker(struct control_client *client)
{
    client->next++;
    client->is_first = true;
}

static void on_inspected(void *context, const struct inspection *answer)
{
    struct control_client *client = context;
    pid_t pid = client->pids[client->next];
    bool is_ending = client->request.command == REQUEST_CLOSE;

    client->is_inspecting = false;
    client->is_first = false;
    if (answer && is_ending)
        client->n_closed += answer->n;
    for (uint32_t i = 0; answer && !is_ending && i < answer->n; i++)
        add_session(client, pid, &answer->records[i]);
    if (!answer || answer->is_done)
        next_worker(client);
    if (!control_client_is_behind(client))
        command_run(client);
}

static void ask(struct control_client *client, struct process *process, uint64_t number)
{
    const struct request *request = &client->request;
    struct inspection question = { .is_first = client->is_first,
                                   .is_ending = request->command == REQUEST_CLOSE };

    memcpy(question.filter.listener, request->listener, sizeof question.filter.listener);
    question.filter.client = request->client;
    question.filter.peer = request->peer;
    question.filter.number = number;
    int err = process ? process_inspect(process, &question, on_inspected, client) : -ESRCH;
    if (err == 0) {
        client->is_inspecting = true;
        control_client_watch(
            client); /* each worker has its time, also of a client that had to wait */
        return;
    }
    client->n_silent += err != -ESRCH;
    next_worker(client);
}

static void end_sessions(struct control_client *client)
{
    bool is_closing = client->request.command == REQUEST_CLOSE;
    bool is_partial = client->earlier.is_partial;
    char text[128];
    struct control_line line;

    if (is_closing) {
        struct json *json = control_line_begin(&line, "closed");
        json_number(json, "sessions", client->n_closed);
        control_client_add(client, json);
    }
    if (client->n_silent > 0)
        (void)snprintf(text, sizeof text, "%u worker%s did not answer", client->n_silent,
                       client->n_silent == 1 ? "" : "s");
    else
        (void)snprintf(text, sizeof text,
                       "sessions of a process before an upgrade are not among them");
    control_client_end(client, is_closing && client->n_closed == 0 ? 1 : EX_OK,
                       client->n_silent > 0 || is_partial ? text : NULL);
}

/* One list at a time: a worker remembers one place. */
static bool is_turn(const struct control_client *client)
{
    const struct control_client *other;

    LIST_FOREACH (other, &client->supervisor->control.clients, link)
        if (other != client && other->pids && !other->is_answered)
            return false;
    return true;
}

static void wake_next(struct supervisor *supervisor)
{
    struct control_client *client;

    LIST_FOREACH (client, &supervisor->control.clients, link) {
        bool is_waiting =
            client->is_asked && !client->is_answered && !client->pids &&
            (client->request.command == REQUEST_SESSIONS ||
             client->request.command == REQUEST_MAP || client->request.command == REQUEST_CLOSE);
        if (is_waiting) {
            command_run(client);
            return;
        }
    }
}

static void run_sessions(struct control_client *client)
{
    struct supervisor *supervisor = client->supervisor;
    const struct request *request = &client->request;

    if (client->is_inspecting || (!client->pids && !is_turn(client)))
        return;
    if (!client->pids) {
        size_t n = request->n_ids > 0 ? request->n_ids : list_all_pids(supervisor, NULL);
        client->pids = calloc(n + 1, sizeof *client->pids);
        if (!client->pids) {
            control_client_end(client, EX_OSERR, "out of memory");
            return;
        }
        for (size_t i = 0; i < request->n_ids; i++)
            client->pids[i] = (pid_t)request->ids[i].pid;
        if (request->n_ids == 0)
            (void)list_all_pids(supervisor, client->pids);
        client->n_pids = n;
        client->is_first = true;
    }
    while (client->next < client->n_pids && !client->is_inspecting &&
           !control_client_is_behind(client)) {
        size_t i = client->next;
        ask(client, find_process(supervisor, client->pids[i]),
            request->n_ids > 0 ? request->ids[i].number : 0);
    }
    if (client->next < client->n_pids || !earlier_has_told(client))
        return;
    end_sessions(client);
    wake_next(supervisor);
}

/* ---- reload, drain, resume ------------------------------------------------------------ */

static const char *busy(const struct supervisor *supervisor)
{
    enum life_state state = supervisor->life.state;

    return state == LIFE_SERVING || state == LIFE_LOADING ? NULL
           : state == LIFE_REPLACING ? "another binary is starting: ask again when it serves"
                                     : "mmproxy is starting or stopping";
}

/* A load that is under way has read the files already: the next one is the answer. */
static void load(struct control_client *client)
{
    struct supervisor *supervisor = client->supervisor;
    const char *why = busy(supervisor);

    if (why) {
        control_client_end(client, 1, why);
        return;
    }
    client->loads = supervisor->life.state == LIFE_LOADING ? 2 : 1;
    lifecycle_report(&supervisor->life, ON_HUP);
}

static void run_drain(struct control_client *client)
{
    struct supervisor *supervisor = client->supervisor;
    const struct config *config = supervisor->current->config;
    bool is_draining = client->request.command == REQUEST_DRAIN;
    const char *name = client->request.listener;
    size_t i;

    for (i = 0; i < config->n_listeners && strcmp(config->listeners[i].name, name) != 0; i++)
        ;
    if (i == config->n_listeners) {
        control_client_end(client, 1, "there is no listener of that name");
        return;
    }
    const char *why = busy(supervisor);
    if (why) {
        control_client_end(client, 1, why);
        return;
    }
    if (control_is_drained(supervisor, name) == is_draining) {
        control_client_end(client, EX_OK,
                           is_draining ? "it was drained before" : "it was not drained");
        return;
    }
    if (control_mark_drained(supervisor, name, is_draining) < 0) {
        control_client_end(client, EX_OSERR, "out of memory");
        return;
    }
    client->has_marked = true;
    load(client);
}

static void end_load(struct control_client *client, bool is_good)
{
    struct supervisor *supervisor = client->supervisor;
    char text[160];
    struct control_line line;
    struct json *json;

    if (!is_good && client->has_marked)
        (void)control_mark_drained(supervisor, client->request.listener,
                                   client->request.command == REQUEST_RESUME);
    if (!is_good) {
        command_add_mistakes(client);
        (void)snprintf(text, sizeof text, "generation %u keeps its configuration",
                       supervisor->current->number);
        control_client_end(client, supervisor->load.exit_status == EX_CONFIG ? EX_CONFIG : 1, text);
        return;
    }
    json = control_line_begin(&line, "serves");
    json_number(json, "generation", supervisor->current->number);
    control_client_add(client, json);
    control_client_end(client, EX_OK, NULL);
}

void command_load_ended(struct control_client *client, bool is_good)
{
    if (client->loads > 0 && --client->loads == 0)
        end_load(client, is_good);
}

/* ---- check ---------------------------------------------------------------------------- */

static void end_check(struct control_client *client)
{
    control_client_end(client, client->check_holds ? EX_OK : 1, NULL);
}

static void on_report(struct ev_loop *loop, ev_io *io, int revents)
{
    struct control_client *client = io->data;
    char text[4096];
    ssize_t n = read(client->check_fd, text, sizeof text);

    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        control_client_add_text(client, text, (size_t)n);
        return;
    }
    ev_io_stop(loop, io);
    close(client->check_fd);
    client->check_fd = -1;
    if (client->check_ended)
        end_check(client);
}

void command_checked(struct control_client *client, bool holds)
{
    client->checker = 0;
    client->check_ended = true;
    client->check_holds = holds;
    if (client->check_fd < 0)
        end_check(client);
}

static void write_line(void *context, enum log_level level, const char *text)
{
    static const char *const words[] = { "error", "warning", "notice", "info", "debug" };
    struct control_line line;
    struct json *json = control_line_begin(&line, "report");

    json_text(json, "level", words[level]);
    json_text(json, "text", text);
    size_t len = json_end(json);
    (void)!write(*(int *)context, line.text, len);
}

/* To close these ports was the operator's will, so it is no failure; the targets are checked. */
static void add_drained(struct control_client *client, const struct config *config)
{
    for (size_t i = 0; i < config->n_listeners; i++) {
        const char *name = config->listeners[i].name;
        char text[2 * LISTENER_NAME_MAX + 80];
        struct control_line line;
        struct json *json;
        if (!control_is_drained(client->supervisor, name))
            continue;
        json = control_line_begin(&line, "report");
        (void)snprintf(text, sizeof text,
                       "[ ] %s is drained: its ports are closed until mmproxyctl resume %s", name,
                       name);
        json_text(json, "level", "notice");
        json_text(json, "text", text);
        control_client_add(client, json);
    }
}

static void run_check(struct control_client *client)
{
    struct supervisor *supervisor = client->supervisor;
    const struct config *config = supervisor->current->config;
    struct config part = *config;
    const char *name = client->request.listener;
    int ends[2];

    if (client->checker > 0 || client->check_fd >= 0)
        return;
    for (size_t i = 0; name[0] && i < config->n_listeners; i++) {
        if (strcmp(config->listeners[i].name, name) != 0)
            continue;
        part.listeners = &config->listeners[i];
        part.n_listeners = 1;
        name = "";
    }
    if (name[0]) {
        control_client_end(client, 1, "there is no listener of that name");
        return;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        control_client_end(client, EX_OSERR, strerror(errno));
        return;
    }
    const struct report_sink sink = { .line = write_line, .context = &ends[1] };
    pid_t pid = preflight_fork(supervisor, &part, &sink);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        control_client_end(client, EX_OSERR, "the checks can't be started");
        return;
    }
    add_drained(client, &part);
    client->checker = pid;
    client->check_fd = ends[0];
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ev_io_init(&client->check_io, on_report, ends[0], EV_READ);
    client->check_io.data = client;
    ev_io_start(supervisor->loop, &client->check_io);
}

/* ---- all ------------------------------------------------------------------------------ */

/* After an upgrade sessions are all that is left here to ask for. */
static bool can_be_asked(const struct control_client *client)
{
    enum request_command command = client->request.command;

    return client->supervisor->current || command == REQUEST_STATUS ||
           command == REQUEST_SESSIONS || command == REQUEST_CLOSE;
}

void command_run(struct control_client *client)
{
    if (!can_be_asked(client)) {
        control_client_end(client, 1, "mmproxy is starting or stopping");
        return;
    }
    switch (client->request.command) {
    case REQUEST_STATUS:
        command_status(client);
        break;
    case REQUEST_MAP:
        if (command_map(client))
            run_sessions(client);
        break;
    case REQUEST_SESSIONS:
    case REQUEST_CLOSE:
        run_sessions(client);
        break;
    case REQUEST_RELOAD:
        if (client->loads == 0)
            load(client);
        break;
    case REQUEST_DRAIN:
    case REQUEST_RESUME:
        if (client->loads == 0)
            run_drain(client);
        break;
    case REQUEST_METRICS:
        command_metrics(client);
        break;
    case REQUEST_CHECK:
        run_check(client);
        break;
    default:
        control_client_end(client, EX_USAGE, "unknown command");
        break;
    }
}

/* Its answer may still come. */
static void forget_question(struct control_client *client)
{
    struct process *process = NULL;

    if (client->is_inspecting && client->pids && client->next < client->n_pids)
        process = find_process(client->supervisor, client->pids[client->next]);
    if (process)
        process_forget_question(process);
    client->is_inspecting = false;
}

void command_give_up_worker(struct control_client *client)
{
    forget_question(client);
    client->n_silent++;
    next_worker(client);
    command_run(client);
}

void command_abandon(struct control_client *client)
{
    struct supervisor *supervisor = client->supervisor;
    bool had_turn = client->pids && !client->is_answered;

    forget_question(client);
    if (client->checker > 0)
        (void)kill(client->checker, SIGTERM);
    if (client->check_fd >= 0) {
        ev_io_stop(supervisor->loop, &client->check_io);
        close(client->check_fd);
    }
    if (client->earlier.fd >= 0) {
        ev_io_stop(supervisor->loop, &client->earlier.io);
        close(client->earlier.fd);
    }
    client->is_answered = true;
    if (had_turn)
        wake_next(supervisor);
}
