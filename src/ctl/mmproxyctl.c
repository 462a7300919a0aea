/* SPDX-License-Identifier: BSD-2-Clause */
/* mmproxyctl: inspects and steers a running mmproxy. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"
#include "mmproxy/config/config.h"
#include "mmproxy/control/request.h"
#include "mmproxy/version.h"

enum { PATIENCE_S = 10 };

struct options {
    const char *socket;
    bool is_json;
    char request[REQUEST_MAX];
    size_t len;
    bool is_too_long;
};

static void add(struct options *options, const char *key, const char *value)
{
    size_t room = sizeof options->request - 1 - options->len; /* the newline */
    int n = snprintf(options->request + options->len, room, "%s%s%s", options->len > 0 ? " " : "",
                     key, value);

    if (n < 0 || (size_t)n >= room)
        options->is_too_long = true;
    else
        options->len += (size_t)n;
}

/* Does it begin with this command? returns: what follows it, or NULL. */
static const char *behind(const struct options *options, const char *command)
{
    size_t len = strlen(command);

    return strncmp(options->request, command, len) == 0 ? options->request + len : NULL;
}

static void show_serves(const struct options *options, const struct object *line)
{
    const char *name;

    if ((name = behind(options, "drain ")))
        printf("%s is closed until it is resumed, ", name);
    else if ((name = behind(options, "resume ")))
        printf("%s is open, ", name);
    printf("generation %" PRIu64 " serves\n", object_number(line, "generation"));
}

static void show(const struct options *options, struct view *view, const struct object *line)
{
    char type[32];

    (void)object_text(line, "type", type, sizeof type);
    if (strcmp(type, "session") == 0)
        show_session(view, line);
    else if (strcmp(type, "map") == 0)
        show_map(view, line);
    else if (strcmp(type, "report") == 0 || strcmp(type, "metric") == 0)
        show_report(view, line);
    else if (strcmp(type, "closed") == 0)
        fprintf(view->out, "%" PRIu64 " closed\n", object_number(line, "sessions"));
    else if (strcmp(type, "serves") == 0)
        show_serves(options, line);
    else
        show_status(view, line);
}

static bool is_end(const struct object *line)
{
    char type[32];

    return strcmp(object_text(line, "type", type, sizeof type), "end") == 0;
}

static int finish(const struct object *line)
{
    char message[512];

    (void)fflush(stdout); /* what it is about comes first */
    if (object_text(line, "message", message, sizeof message)[0])
        fprintf(stderr, "mmproxyctl: %s\n", message);
    return (int)(object_number(line, "code") & 0xff);
}

/* These wait for targets, or for generations: no bound on that would be right. */
static bool takes_its_time(const struct options *options)
{
    return behind(options, "check") || behind(options, "reload") || behind(options, "drain ") ||
           behind(options, "resume ");
}

static int ask(const struct options *options)
{
    struct view view = { .out = stdout };
    struct answer answer;
    struct object line;

    int err = answer_open(&answer, options->socket, options->request, PATIENCE_S);
    if (err < 0)
        return answer_complain(options->socket, err);
    int status = EX_UNAVAILABLE;
    answer.waits_on = takes_its_time(options);
    while (answer_next(&answer, &line)) {
        if (options->is_json)
            puts(line.text);
        if (is_end(&line)) {
            status = finish(&line);
            if (!options->is_json && status == 0 && behind(options, "sessions") &&
                !view.has_sessions)
                fprintf(stderr, "mmproxyctl: no sessions\n");
            answer_close(&answer);
            return status;
        }
        if (!options->is_json)
            show(options, &view, &line);
    }
    (void)fflush(stdout);
    if (answer.error == ETIMEDOUT)
        status = answer_complain(options->socket, -ETIMEDOUT);
    else
        fprintf(stderr, "mmproxyctl: the answer ends too early: mmproxy is busy, or has ended\n");
    answer_close(&answer);
    return status;
}

static int wrong_usage(const char *why)
{
    fprintf(stderr, "mmproxyctl: %s\nmmproxyctl --help tells more\n", why);
    return EX_USAGE;
}

int main(int argc, char *argv[])
{
    static const struct option longs[] = {
        { "socket", required_argument, NULL, 's' },   { "json", no_argument, NULL, 'j' },
        { "listener", required_argument, NULL, 'l' }, { "client", required_argument, NULL, 'c' },
        { "peer", required_argument, NULL, 'p' },     { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },        { NULL, 0, NULL, 0 }
    };
    struct options options = { .socket = CONFIG_DEFAULT_CONTROL };
    struct options filters = { .socket = NULL };
    struct request request;
    bool wants_help = false;
    int c;

    while ((c = getopt_long(argc, argv, "s:hV", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            options.socket = optarg;
            break;
        case 'j':
            options.is_json = true;
            break;
        case 'l':
            add(&filters, "listener=", optarg);
            break;
        case 'c':
            add(&filters, "client=", optarg);
            break;
        case 'p':
            add(&filters, "peer=", optarg);
            break;
        case 'h':
            wants_help = true;
            break;
        case 'V':
            return puts("mmproxyctl " MMPROXY_VERSION) < 0 ? EX_IOERR : EX_OK;
        default:
            return EX_USAGE;
        }
    }
    if (wants_help && help_show(argv[optind]))
        return fflush(stdout) != 0 ? EX_IOERR : EX_OK;
    if (optind == argc)
        return wrong_usage("a command is missing");
    if (strcmp(argv[optind], "top") == 0 && optind + 1 == argc)
        return top_run(options.socket);
    for (int i = optind; i < argc; i++)
        add(&options, "", argv[i]);
    if (filters.len > 0)
        add(&options, "", filters.request);
    if (options.is_too_long || filters.is_too_long)
        return wrong_usage("these are too many arguments");
    const char *wrong = request_parse(&request, options.request, options.len);
    return wrong ? wrong_usage(wrong) : ask(&options);
}
