/* SPDX-License-Identifier: BSD-2-Clause */
/* The answer to the command status of the control socket. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands.h"
#include "earlier.h"
#include "mmproxy/supervisor/listener_state.h"
#include "mmproxy/supervisor/targets.h"
#include "mmproxy/version.h"

/* ---- status --------------------------------------------------------------------------- */

static void add_program(struct control_client *client)
{
    const struct supervisor *supervisor = client->supervisor;
    struct control_line line;
    struct json *json = control_line_begin(&line, "program");

    json_text(json, "version", MMPROXY_VERSION);
    json_number(json, "pid", (uint64_t)getpid());
    json_number(json, "started", (uint64_t)supervisor->control.started);
    json_number(json, "now", (uint64_t)time(NULL));
    json_text(json, "config", supervisor->current->config->path);
    control_client_add(client, json);
}

static void add_generation(struct control_client *client, const struct generation *generation,
                           const char *state)
{
    enum { PIDS_MAX = 256 };
    const struct process *process;
    unsigned n = 0;
    struct control_line line;
    struct json *json = control_line_begin(&line, "generation");

    json_number(json, "process", (uint64_t)getpid());
    json_number(json, "number", generation->number);
    json_text(json, "state", state);
    json_number(json, "workers", generation->n_processes);
    json_number(json, "sessions", generation_sessions(generation));
    json_open(json, "pids", '[');
    TAILQ_FOREACH (process, &generation->processes, link)
        if (n++ < PIDS_MAX)
            json_number(json, NULL, (uint64_t)process->pid);
    json_close(json, ']');
    control_client_add(client, json);
}

static void add_earlier(struct control_client *client)
{
    const struct supervisor *supervisor = client->supervisor;
    struct control_line line;
    struct json *json = control_line_begin(&line, "earlier");

    if (supervisor->leashes.n_earlier == 0)
        return;
    json_number(json, "processes", supervisor->leashes.n_earlier);
    json_number(json, "sessions", supervisor->takeover.sessions);
    control_client_add(client, json);
}

void command_add_mistakes(struct control_client *client)
{
    const char *rest = client->supervisor->status.mistakes;

    while (rest && *rest) {
        size_t len = strcspn(rest, "\n");
        char text[1024];
        struct control_line line;
        struct json *json = control_line_begin(&line, "mistake");
        (void)snprintf(text, sizeof text, "%.*s", (int)len, rest);
        json_text(json, "text", text);
        control_client_add(client, json);
        rest += len + (rest[len] == '\n');
    }
}

static void add_load(struct control_client *client)
{
    const struct status *status = &client->supervisor->status;
    struct control_line line;
    struct json *json = control_line_begin(&line, "load");

    json_number(json, "ended", (uint64_t)status->loaded_at);
    json_boolean(json, "good", !status->has_failed);
    json_boolean(json, "reload", status->is_reload);
    control_client_add(client, json);
    if (status->has_failed)
        command_add_mistakes(client);
}

static const char *check_word(const struct control_client *client,
                              const struct listener_config *listener, sa_family_t family)
{
    struct target_state state;
    bool is_known = targets_judge(&client->supervisor->preflight.known, targets_get, listener,
                                  family, &state) != NULL;

    return !is_known ? "unknown" : state.holds ? "ok" : "failed";
}

static void add_targets(struct json *json, const struct control_client *client,
                        const struct listener_config *listener)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6 };
    char text[TARGET_STRLEN];

    json_open(json, "targets", '[');
    for (size_t i = 0; i < 2; i++) {
        if (!listener_config_target(listener, families[i]))
            continue;
        json_open(json, NULL, '{');
        json_text(json, "address", listener_config_format_target(listener, families[i], text));
        json_text(json, "check", check_word(client, listener, families[i]));
        json_text(json, "return_path",
                  return_path_word(listener_config_return_path(listener, families[i])));
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* By what the last checks of its targets have found. */
static const char *path_state_word(const struct control_client *client,
                                   const struct listener_config *listener)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6 };
    const struct supervisor *supervisor = client->supervisor;
    bool is_managed = supervisor->current->config->routing == ROUTING_MANAGED;
    const char *word = "unknown";

    if (is_managed && !supervisor->return_path_is_there)
        return "failed";
    for (size_t i = 0; i < 2; i++) {
        const struct addr *target = listener_config_target(listener, families[i]);
        const struct target_state *known =
            target ? targets_find(&supervisor->preflight.known, listener, target) : NULL;
        if (known && known->answers && !known->is_reached)
            return "failed";
        if (known && known->is_reached)
            word = "ok";
    }
    return word;
}

static void add_sums(struct json *json, const struct counters_sums *sums)
{
    json_number(json, "sessions", sums->sessions);
    json_number(json, "pending", sums->pending);
    json_number(json, "accepted", sums->counts[COUNT_ACCEPTED]);
    json_number(json, "served", sums->counts[COUNT_SERVED]);
    json_number(json, "health_checks", sums->counts[COUNT_HEALTH_CHECKS]);
    json_number(json, "bytes_in", sums->counts[COUNT_BYTES_IN]);
    json_number(json, "bytes_out", sums->counts[COUNT_BYTES_OUT]);
    json_number(json, "connect_us", sums->counts[COUNT_CONNECT_US]);
    json_open(json, "refused", '{');
    for (unsigned i = REASON_NONE + 1; i < REASONS; i++)
        if (sums->counts[COUNT_REFUSED + i] > 0)
            json_number(json, reason_word((enum reason)i), sums->counts[COUNT_REFUSED + i]);
    json_close(json, '}');
}

static void add_listener(struct control_client *client, size_t i)
{
    const struct supervisor *supervisor = client->supervisor;
    const struct generation *current = supervisor->current;
    const struct listener_config *listener = &current->config->listeners[i];
    enum board_state state = listener_state(supervisor, listener);
    struct counters_sums sums;
    struct control_line line;
    struct json *json = control_line_begin(&line, "listener");

    counters_sum(supervisor->counters, current->listener_ids[i], &sums);
    json_text(json, "name", listener->name);
    json_text(json, "protocol", listener->protocol == PROTOCOL_UDP ? "udp" : "tcp");
    json_text(json, "state", board_state_word(state));
    if (listener->netns[0])
        json_text(json, "netns", listener->netns);
    if (listener->closed_because)
        json_text(json, "netns_problem", listener->closed_because);
    add_sums(json, &sums);
    add_targets(json, client, listener);
    json_text(json, "return_path", return_path_word(listener->return_path));
    json_text(json, "return_path_state", path_state_word(client, listener));
    control_client_add(client, json);
}

static void add_generations(struct control_client *client)
{
    const struct supervisor *supervisor = client->supervisor;
    const struct generation *generation;

    if (supervisor->current)
        add_program(client);
    if (supervisor->current)
        add_generation(client, supervisor->current, "serving");
    TAILQ_FOREACH (generation, &supervisor->draining, link)
        add_generation(client, generation, "draining");
}

void command_status(struct control_client *client)
{
    const struct supervisor *supervisor = client->supervisor;

    if (!client->has_begun)
        add_generations(client);
    client->has_begun = true;
    if (!earlier_has_told(client))
        return;
    if (client->next == 0 && supervisor->current) {
        add_earlier(client);
        add_load(client);
    }
    /* The configuration may be another one when a slow client has caught up. */
    while (supervisor->current && client->next < supervisor->current->config->n_listeners) {
        add_listener(client, client->next++);
        if (control_client_is_behind(client))
            return;
    }
    control_client_end(client, EX_OK, NULL);
}
