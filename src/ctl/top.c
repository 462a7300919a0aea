/* SPDX-License-Identifier: BSD-2-Clause */
/* The screen of mmproxyctl top. */
#include "ctl.h"

#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_MAX = 6,
    REFRESH_MS = 1000,
    PATIENCE_S = 5,
    WIDTH = 80, /* columns that a whole row takes */
    NAME_WIDTH = 20,
    SESSIONS_WIDTH = 8,
    NOTE_WIDTH = 11,
};

/* A listener, or all of them. */
struct row {
    char name[80];
    uint64_t sessions;
    uint64_t served;
    uint64_t in;
    uint64_t out;
    uint64_t refused;
    char note[24];
};

/* What was there at one moment. */
struct screen {
    struct row *rows; /* owned */
    size_t n;
    size_t size;
    struct row all;
    char head[HEAD_MAX][256];
    size_t n_head;
    double at_s;
};

struct top {
    struct screen screens[2];
    unsigned current;
    size_t first; /* the row at the top */
    int error;    /* errno of the latest look; 0 = it was good */
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

/* returns: NULL when memory is short. */
static struct row *add_row(struct screen *screen)
{
    if (screen->n == screen->size) {
        size_t size = screen->size > 0 ? 2 * screen->size : 64;
        struct row *rows = realloc(screen->rows, size * sizeof *rows);
        if (!rows)
            return NULL;
        screen->rows = rows;
        screen->size = size;
    }
    return &screen->rows[screen->n++];
}

static void take_listener(struct screen *screen, const struct object *line)
{
    struct row *row = add_row(screen);
    char state[32];

    if (!row)
        return;
    (void)object_text(line, "name", row->name, sizeof row->name);
    (void)object_text(line, "state", state, sizeof state);
    row->sessions = object_number(line, "sessions");
    row->served = object_number(line, "served");
    row->in = object_number(line, "bytes_in");
    row->out = object_number(line, "bytes_out");
    row->refused = sum_of(line, "refused");
    (void)snprintf(row->note, sizeof row->note, "%s",
                   strcmp(state, "drained") == 0 ? "drained"
                   : strcmp(state, "netns") == 0 ? "no netns"
                   : has_failed_target(line)     ? "target down"
                                                 : "");
    screen->all.sessions += row->sessions;
    screen->all.served += row->served;
    screen->all.in += row->in;
    screen->all.out += row->out;
    screen->all.refused += row->refused;
}

/* Everything but listeners is written as status writes it. */
static void take_head(struct screen *screen, struct view *view, const struct object *line)
{
    char *text;

    if (screen->n_head == HEAD_MAX)
        return;
    text = screen->head[screen->n_head];
    text[0] = '\0';
    view->out = fmemopen(text, sizeof screen->head[0], "w");
    if (!view->out)
        return;
    show_status(view, line);
    fclose(view->out);
    text[strcspn(text, "\n")] = '\0';
    screen->n_head += text[0] != '\0';
}

/* returns: 0, or -errno: there is no whole answer. */
static int look(struct screen *screen, const char *socket)
{
    struct view view = { .out = NULL };
    struct answer answer;
    struct object line;
    char type[32];

    screen->n = screen->n_head = 0;
    screen->all = (struct row){ .sessions = 0 };
    screen->at_s = now_s();
    int err = answer_open(&answer, socket, "status", PATIENCE_S);
    if (err < 0)
        return err;
    err = -EPIPE;
    while (err != 0 && answer_next(&answer, &line)) {
        (void)object_text(&line, "type", type, sizeof type);
        if (strcmp(type, "listener") == 0)
            take_listener(screen, &line);
        else if (strcmp(type, "end") == 0)
            err = 0;
        else
            take_head(screen, &view, &line);
    }
    (void)snprintf(screen->all.name, sizeof screen->all.name, "all %zu listeners", screen->n);
    answer_close(&answer);
    return err;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* Where there is no room for rates: what matters at night. */
static bool is_narrow(void)
{
    return COLS < WIDTH;
}

static int name_width(void)
{
    int width = COLS - (1 + SESSIONS_WIDTH) - (2 + NOTE_WIDTH);

    return width < 4 ? 4 : width > NAME_WIDTH ? NAME_WIDTH : width;
}

static void draw_narrow_row(int y, const char *name, const char *sessions, const char *note)
{
    char text[160];

    (void)snprintf(text, sizeof text, "%-*.*s %*s  %-*s", name_width(), name_width(), name,
                   SESSIONS_WIDTH, sessions, NOTE_WIDTH, note);
    (void)mvaddnstr(y, 0, text, COLS);
}

/* before: NULL where there is nothing to compare with. */
static void draw_row(int y, const struct row *row, const struct row *before, double seconds)
{
    char in[16];
    char out[16];
    char text[160];
    double new = before ? rate(row->served, before->served, seconds) : 0;
    double refused = before ? rate(row->refused, before->refused, seconds) : 0;
    double bytes_in = before ? rate(row->in, before->in, seconds) : 0;
    double bytes_out = before ? rate(row->out, before->out, seconds) : 0;

    if (row->note[0])
        attron(A_BOLD);
    if (is_narrow()) {
        (void)snprintf(text, sizeof text, "%" PRIu64, row->sessions);
        draw_narrow_row(y, row->name, text, row->note);
    } else {
        (void)snprintf(text, sizeof text, "%-20.20s %8" PRIu64 " %7.1f %9s %9s %9.1f  %s",
                       row->name, row->sessions, new, show_bytes((uint64_t)bytes_in, in),
                       show_bytes((uint64_t)bytes_out, out), refused, row->note);
        (void)mvaddnstr(y, 0, text, COLS);
    }
    attroff(A_BOLD);
}

static int draw_heading(int y)
{
    char text[160];

    (void)snprintf(text, sizeof text, "%-20s %8s %7s %9s %9s %9s  %-12s", "LISTENER", "SESSIONS",
                   "NEW/s", "IN/s", "OUT/s", "REFUSED/s", "STATE");
    attron(A_REVERSE);
    if (is_narrow())
        draw_narrow_row(y, "LISTENER", "SESSIONS", "STATE");
    else
        (void)mvaddnstr(y, 0, text, COLS);
    attroff(A_REVERSE);
    return y + 1;
}

static int draw_head(const struct top *top, const struct screen *now)
{
    int y = 0;

    if (top->error != 0) {
        attron(A_BOLD);
        (void)mvprintw(y++, 0, "mmproxy does not answer: %s", strerror(top->error));
        attroff(A_BOLD);
    }
    for (size_t i = 0; i < now->n_head; i++)
        (void)mvaddnstr(y++, 0, now->head[i], COLS);
    return y + (LINES > 12);
}

/* Only as many as the screen has room for; the last line says what keys do. */
static void draw(struct top *top)
{
    const struct screen *now = &top->screens[top->current];
    const struct screen *before = &top->screens[1 - top->current];
    double seconds = before->at_s > 0 ? now->at_s - before->at_s : 0;
    char keys[120] = "q quits";

    erase();
    int y = draw_heading(draw_head(top, now));
    if (now->n > 1)
        draw_row(y++, &now->all, before->n == now->n ? &before->all : NULL, seconds);
    size_t room = LINES - 1 > y ? (size_t)(LINES - 1 - y) : 0;
    size_t last = now->n > room ? now->n - room : 0;
    top->first = top->first < last ? top->first : last;
    for (size_t i = top->first; i < now->n && i < top->first + room; i++) {
        /* Another configuration may have other listeners in these places. */
        bool is_same = i < before->n && strcmp(before->rows[i].name, now->rows[i].name) == 0;
        draw_row(y++, &now->rows[i], is_same ? &before->rows[i] : NULL, seconds);
    }
    if (last > 0 && room > 0)
        (void)snprintf(keys, sizeof keys, "%zu to %zu of %zu; arrows and page keys scroll, q quits",
                       top->first + 1, top->first + room, now->n);
    (void)mvaddnstr(LINES - 1, 0, keys, COLS);
    refresh();
}

/* returns: false: the user is done. */
static bool take_key(struct top *top, int key)
{
    size_t page = LINES > 10 ? (size_t)LINES - 10 : 1;

    if (key == KEY_DOWN)
        top->first++;
    else if (key == KEY_UP)
        top->first -= top->first > 0;
    else if (key == KEY_NPAGE)
        top->first += page;
    else if (key == KEY_PPAGE)
        top->first -= top->first < page ? top->first : page;
    else if (key == KEY_HOME)
        top->first = 0;
    else if (key == KEY_END)
        top->first = top->screens[top->current].n;
    return key != 'q' && key != 'Q';
}

static void look_again(struct top *top, const char *socket)
{
    struct screen *next = &top->screens[1 - top->current];

    top->error = -look(next, socket);
    if (top->error == 0)
        top->current = 1 - top->current;
    else
        next->at_s = 0; /* no rates without two that are good */
}

/* A key does not make the next look come sooner: rates are of a whole second. */
static void run(struct top *top, const char *socket)
{
    double due_s = now_s() + REFRESH_MS / 1000.;

    for (;;) {
        double left_s = due_s - now_s();
        draw(top);
        timeout(left_s > 0 ? (int)(left_s * 1000) : 0);
        int key = getch();
        if (key != ERR && !take_key(top, key))
            return;
        if (now_s() < due_s)
            continue;
        look_again(top, socket);
        due_s = now_s() + REFRESH_MS / 1000.;
    }
}

int top_run(const char *socket)
{
    static struct top top;

    int err = look(&top.screens[0], socket);
    if (err < 0)
        return answer_complain(socket, err);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !newterm(NULL, stdout, stdin)) {
        fprintf(stderr, "mmproxyctl: top needs a terminal; status prints once\n");
        return EX_USAGE;
    }
    (void)noecho();
    (void)cbreak();
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    run(&top, socket);
    (void)endwin();
    free(top.screens[0].rows);
    free(top.screens[1].rows);
    return EX_OK;
}
