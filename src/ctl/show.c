/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers as text for people. */
#include "ctl.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
    COLUMNS = 80,
    ADDRESS_MAX = 32, /* characters of a target's that leave room for the rest of its line */
};

char *show_bytes(uint64_t bytes, char out[16])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1000 && unit < 6) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, 16, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value,
                   units[unit]);
    return out;
}

char *show_time(uint64_t seconds, char out[16])
{
    unsigned days = (unsigned)(seconds / 86400 % 1000000);
    unsigned hours = (unsigned)(seconds / 3600 % 24);
    unsigned minutes = (unsigned)(seconds / 60 % 60);

    if (days > 0)
        (void)snprintf(out, 16, "%ud %uh", days, hours);
    else if (hours > 0)
        (void)snprintf(out, 16, "%uh %um", hours, minutes);
    else if (minutes > 0)
        (void)snprintf(out, 16, "%um %us", minutes, (unsigned)(seconds % 60));
    else
        (void)snprintf(out, 16, "%us", (unsigned)seconds);
    return out;
}

static const char *clock_text(uint64_t at, char out[32])
{
    time_t seconds = (time_t)at;
    struct tm local;

    out[0] = '\0';
    if (localtime_r(&seconds, &local))
        (void)strftime(out, 32, "%Y-%m-%d %H:%M:%S", &local);
    return out;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void show_program(struct view *view, const struct object *line)
{
    uint64_t started = object_number(line, "started");
    char version[64];
    char when[32];
    char up[16];

    view->now = object_number(line, "now");
    view->pid = object_number(line, "pid");
    fprintf(view->out, "mmproxy %s, process %" PRIu64 ", since %s (%s)\n",
            object_text(line, "version", version, sizeof version), object_number(line, "pid"),
            clock_text(started, when), show_time(view->now - started, up));
}

static void show_generation(struct view *view, const struct object *line)
{
    uint64_t workers = object_number(line, "workers");
    uint64_t sessions = object_number(line, "sessions");
    char state[32];

    uint64_t process = object_number(line, "process");
    (void)object_text(line, "state", state, sizeof state);
    fprintf(view->out, "generation %" PRIu64, object_number(line, "number"));
    if (process != view->pid)
        fprintf(view->out, " of process %" PRIu64 ", before an upgrade,", process);
    fprintf(view->out, " %s: %" PRIu64 " worker%s, %" PRIu64 " session%s\n",
            strcmp(state, "serving") == 0 ? "serves" : "drains", workers, plural(workers), sessions,
            plural(sessions));
}

static void show_load(struct view *view, const struct object *line)
{
    char when[32];

    if (!object_is_true(line, "reload"))
        return;
    fprintf(view->out, "last reload %s: %s\n", clock_text(object_number(line, "ended"), when),
            object_is_true(line, "good") ? "good" : "FAILED, the old configuration serves:");
}

void show_mistake(struct view *view, const struct object *line)
{
    char text[1024];

    fprintf(view->out, "%s\n", object_text(line, "text", text, sizeof text));
}

/* As many reasons in a line as 80 columns have room for. */
static void show_refusals(struct view *view, const struct object *line)
{
    const struct object refused = { .text = object_find(line, "refused") };
    const char *next = refused.text;
    const char *value;
    char reason[64];
    int column = 0;

    while (next && object_next(&next, reason, sizeof reason, &value)) {
        char item[96];
        int n = snprintf(item, sizeof item, "%s %" PRIu64, reason, object_number(&refused, reason));
        if (column > 0 && column + 2 + n <= COLUMNS) {
            column += fprintf(view->out, ", %s", item);
            continue;
        }
        column = fprintf(view->out, "%s%s%s", column > 0 ? ",\n" : "",
                         column > 0 ? "             " : "    refused: ", item);
    }
    if (column > 0)
        fprintf(view->out, "\n");
}

static void show_targets(struct view *view, const struct object *line)
{
    const char *next = object_find(line, "targets");
    const char *value;
    char address[80];
    char check[16];
    char path[32];
    char state[16];

    while (next && object_next(&next, NULL, 0, &value)) {
        struct object target = { .text = value };
        (void)object_text(&target, "address", address, sizeof address);
        fprintf(view->out, "    target %s:%scheck %s, return path %s\n", address,
                strlen(address) > ADDRESS_MAX ? "\n        " : " ",
                object_text(&target, "check", check, sizeof check),
                object_text(&target, "return_path", path, sizeof path));
    }
    fprintf(view->out, "    return path: %s\n",
            object_text(line, "return_path_state", state, sizeof state));
}

static void show_closed(struct view *view, const struct object *line)
{
    char word[32];
    char problem[160];
    char netns[280];

    (void)object_text(line, "state", word, sizeof word);
    if (strcmp(word, "drained") == 0)
        fprintf(view->out, "    closed: drained, until mmproxyctl resume\n");
    else if (strcmp(word, "target_down") == 0)
        fprintf(view->out, "    closed: no target can be reached (close_when_down)\n");
    else if (strcmp(word, "netns") == 0)
        fprintf(view->out, "    closed: %s (netns %s)\n",
                object_text(line, "netns_problem", problem, sizeof problem),
                object_text(line, "netns", netns, sizeof netns));
    else if (word[0] && strcmp(word, "open") != 0)
        fprintf(view->out, "    closed: %s\n", word);
}

static void show_listener(struct view *view, const struct object *line)
{
    char name[80];
    char protocol[8];
    char in[16];
    char out[16];
    uint64_t refused = 0;
    const char *all = object_find(line, "refused");
    const char *next = all;
    const char *value;
    char reason[64];

    while (next && object_next(&next, reason, sizeof reason, &value)) {
        struct object group = { .text = all };
        refused += object_number(&group, reason);
    }
    if (!view->has_listeners)
        fprintf(view->out, "\n%-20s %-5s %8s %10s %9s %9s %10s\n", "LISTENER", "PROTO", "SESSIONS",
                "TOTAL", "IN", "OUT", "REFUSED");
    view->has_listeners = true;
    /* A long name has a line of its own. */
    (void)object_text(line, "name", name, sizeof name);
    fprintf(view->out, "%-20s%s", name, strlen(name) > 20 ? "\n                    " : "");
    fprintf(view->out, " %-5s %8" PRIu64 " %10" PRIu64 " %9s %9s %10" PRIu64 "\n",
            object_text(line, "protocol", protocol, sizeof protocol),
            object_number(line, "sessions"), object_number(line, "served"),
            show_bytes(object_number(line, "bytes_in"), in),
            show_bytes(object_number(line, "bytes_out"), out), refused);
    show_closed(view, line);
    show_refusals(view, line);
    show_targets(view, line);
}

void show_status(struct view *view, const struct object *line)
{
    char type[32];

    (void)object_text(line, "type", type, sizeof type);
    if (strcmp(type, "program") == 0)
        show_program(view, line);
    else if (strcmp(type, "generation") == 0)
        show_generation(view, line);
    else if (strcmp(type, "earlier") == 0)
        fprintf(view->out, "earlier processes drain: %" PRIu64 ", with %" PRIu64 " sessions\n",
                object_number(line, "processes"), object_number(line, "sessions"));
    else if (strcmp(type, "load") == 0)
        show_load(view, line);
    else if (strcmp(type, "mistake") == 0)
        show_mistake(view, line);
    else if (strcmp(type, "listener") == 0)
        show_listener(view, line);
}

void show_session(struct view *view, const struct object *line)
{
    char id[40];
    char listener[80];
    char peer[80];
    char client[172];
    char mapped[80];
    char target[80];
    char state[16];
    char age[16];
    char idle[16];
    char in[16];
    char out[16];

    (void)object_text(line, "client", client, sizeof client);
    if (object_text(line, "mapped", mapped, sizeof mapped)[0])
        (void)snprintf(client + strlen(client), sizeof client - strlen(client), " as %s", mapped);
    if (!view->has_sessions)
        fprintf(view->out, "%-12s %-7s %7s %7s %9s %9s  %-12s %-21s %-21s %s\n", "ID", "STATE",
                "AGE", "IDLE", "IN", "OUT", "LISTENER", "CLIENT", "PEER", "TARGET");
    view->has_sessions = true;
    fprintf(view->out, "%-12s %-7s %7s %7s %9s %9s  %-12s %-21s %-21s %s\n",
            object_text(line, "id", id, sizeof id), object_text(line, "state", state, sizeof state),
            show_time(object_number(line, "age_ms") / 1000, age),
            show_time(object_number(line, "idle_ms") / 1000, idle),
            show_bytes(object_number(line, "bytes_in"), in),
            show_bytes(object_number(line, "bytes_out"), out),
            object_text(line, "listener", listener, sizeof listener), client,
            object_text(line, "peer", peer, sizeof peer),
            object_text(line, "target", target, sizeof target));
}

void show_map(struct view *view, const struct object *line)
{
    char listener[80];
    char client[80];
    char mapped[80];

    fprintf(view->out, "%s: %s comes as %s\n",
            object_text(line, "listener", listener, sizeof listener),
            object_text(line, "client", client, sizeof client),
            object_text(line, "mapped", mapped, sizeof mapped));
}

void show_report(struct view *view, const struct object *line)
{
    char text[2048];

    fprintf(view->out, "%s\n", object_text(line, "text", text, sizeof text));
}
