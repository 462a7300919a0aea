/* SPDX-License-Identifier: BSD-2-Clause */
/* The screen of mmproxyctl top. */
#include "ctl.h"

#include <curses.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { ROWS_MAX = 512, REFRESH_MS = 1000 };

/* A listener as it was a moment ago. */
struct row {
    char name[80];
    uint64_t sessions;
    uint64_t served;
    uint64_t in;
    uint64_t out;
    uint64_t refused;
    char note[24];
};

struct screen {
    struct row rows[ROWS_MAX];
    size_t n;
    char head[4][256];
    size_t n_head;
    double at_s;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t sum_of(const struct object *line, const char *key)
{
    const char *all = object_find(line, key);
    const char *next = all;
    const char *value;
    uint64_t sum = 0;

    while (next && object_next(&next, NULL, 0, &value))
        sum += strtoull(value, NULL, 10);
    return sum;
}

static bool has_failed_target(const struct object *line)
{
    const char *next = object_find(line, "targets");
    const char *value;
    char check[16];

    while (next && object_next(&next, NULL, 0, &value)) {
        struct object target = { .text = value };
        if (strcmp(object_text(&target, "check", check, sizeof check), "failed") == 0)
            return true;
    }
    return false;
}

static void take_listener(struct screen *screen, const struct object *line)
{
    struct row *row;

    if (screen->n == ROWS_MAX)
        return;
    row = &screen->rows[screen->n++];
    (void)object_text(line, "name", row->name, sizeof row->name);
    row->sessions = object_number(line, "sessions");
    row->served = object_number(line, "served");
    row->in = object_number(line, "bytes_in");
    row->out = object_number(line, "bytes_out");
    row->refused = sum_of(line, "refused");
    (void)snprintf(row->note, sizeof row->note, "%s",
                   show_closed(line)[0]      ? show_closed(line) + 1
                   : has_failed_target(line) ? "target fails"
                                             : "");
}

/* Everything but listeners is written as status writes it. */
static void take_head(struct screen *screen, const struct object *line)
{
    struct view view = { .out = NULL };
    char *text;

    if (screen->n_head == sizeof screen->head / sizeof *screen->head)
        return;
    text = screen->head[screen->n_head];
    text[0] = '\0';
    view.out = fmemopen(text, sizeof screen->head[0], "w");
    if (!view.out)
        return;
    show_status(&view, line);
    fclose(view.out);
    text[strcspn(text, "\n")] = '\0';
    screen->n_head += text[0] != '\0';
}

static int look(struct screen *screen, const char *socket)
{
    struct answer answer;
    struct object line;
    char type[32];

    int status = answer_open(&answer, socket, "status");
    if (status != 0)
        return status;
    status = EX_UNAVAILABLE;
    screen->n = screen->n_head = 0;
    screen->at_s = now_s();
    while (status != 0 && answer_next(&answer, &line)) {
        (void)object_text(&line, "type", type, sizeof type);
        if (strcmp(type, "listener") == 0)
            take_listener(screen, &line);
        else if (strcmp(type, "end") == 0)
            status = (int)object_number(&line, "code");
        else
            take_head(screen, &line);
    }
    answer_close(&answer);
    return status;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void draw_row(int y, const struct row *row, const struct row *before, double seconds)
{
    char in[16];
    char out[16];
    double new = before ? rate(row->served, before->served, seconds) : 0;
    double refused = before ? rate(row->refused, before->refused, seconds) : 0;
    double bytes_in = before ? rate(row->in, before->in, seconds) : 0;
    double bytes_out = before ? rate(row->out, before->out, seconds) : 0;

    mvprintw(y, 0, "%-22.22s %8" PRIu64 " %9.1f %10s/s %10s/s %9.1f  %s", row->name, row->sessions,
             new, show_bytes((uint64_t)bytes_in, in), show_bytes((uint64_t)bytes_out, out), refused,
             row->note);
}

static void draw(const struct screen *now, const struct screen *before)
{
    double seconds = before->at_s > 0 ? now->at_s - before->at_s : 0;
    int y = 0;

    erase();
    for (size_t i = 0; i < now->n_head; i++)
        mvprintw(y++, 0, "%.*s", COLS, now->head[i]);
    y++;
    attron(A_REVERSE);
    mvprintw(y++, 0, "%-22s %8s %9s %12s %12s %9s", "LISTENER", "SESSIONS", "NEW/s", "IN", "OUT",
             "REFUSED/s");
    attroff(A_REVERSE);
    for (size_t i = 0; i < now->n && y < LINES; i++) {
        /* Another configuration may have other listeners in these places. */
        bool is_same = i < before->n && strcmp(before->rows[i].name, now->rows[i].name) == 0;
        draw_row(y++, &now->rows[i], is_same ? &before->rows[i] : NULL, seconds);
    }
    refresh();
}

int top_run(const char *socket)
{
    static struct screen screens[2];
    unsigned current = 0;

    int status = look(&screens[0], socket);
    if (status != 0)
        return status;
    if (!isatty(STDOUT_FILENO) || !initscr()) {
        fprintf(stderr, "mmproxyctl: top needs a terminal; status prints once\n");
        return EX_USAGE;
    }
    noecho();
    (void)curs_set(0);
    timeout(REFRESH_MS);
    do {
        draw(&screens[current], &screens[1 - current]);
        int key = getch();
        if (key == 'q' || key == 'Q')
            break;
        current = 1 - current;
        status = look(&screens[current], socket);
    } while (status == 0);
    endwin();
    return status;
}
