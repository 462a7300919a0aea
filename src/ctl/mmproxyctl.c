/* SPDX-License-Identifier: BSD-2-Clause */
/* mmproxyctl: inspects and steers a running mmproxy. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "ctl.h"
#include "mmproxy/config/config.h"
#include "mmproxy/control/request.h"
#include "mmproxy/version.h"

static const char help[] =
    "usage: mmproxyctl [-s SOCKET] [--json] COMMAND\n"
    "\n"
    "  status                   version, generations, last reload, listeners and targets\n"
    "  sessions                 a line for each session\n"
    "    [--listener NAME] [--client ADDR[/LEN]] [--peer ADDR[/LEN]]\n"
    "  close ID...              ends these sessions (RST)\n"
    "  close [--client ADDR[/LEN]] [--listener NAME]\n"
    "  reload                   reads the configuration anew and waits for the outcome\n"
    "  check [--listener NAME]  runs the checks of return path and targets now\n"
    "  drain NAME               the listener closes its ports; its sessions live on\n"
    "  resume NAME              it opens them again\n"
    "  metrics                  what /metrics serves, as Prometheus reads it\n"
    "  top                      status as a screen that refreshes; q quits\n"
    "\n"
    "  -s, --socket SOCKET      instead of " CONFIG_DEFAULT_CONTROL "\n"
    "      --json               the answer as it comes: a JSON object a line\n"
    "  -h, --help\n"
    "  -V, --version\n"
    "\n"
    "Exit status: 0 fine, 1 the answer is no, 64 wrong usage, 69 no mmproxy answers, 77 not\n"
    "permitted, 78 mistakes in the configuration.\n";

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

static void show(struct view *view, const struct object *line)
{
    char type[32];

    (void)object_text(line, "type", type, sizeof type);
    if (strcmp(type, "session") == 0)
        show_session(view, line);
    else if (strcmp(type, "report") == 0 || strcmp(type, "metric") == 0)
        show_report(view, line);
    else if (strcmp(type, "closed") == 0)
        fprintf(view->out, "%" PRIu64 " closed\n", object_number(line, "sessions"));
    else if (strcmp(type, "serves") == 0)
        fprintf(view->out, "generation %" PRIu64 " serves\n", object_number(line, "generation"));
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

    if (object_text(line, "message", message, sizeof message)[0])
        fprintf(stderr, "mmproxyctl: %s\n", message);
    return (int)(object_number(line, "code") & 0xff);
}

static int ask(const struct options *options)
{
    struct view view = { .out = stdout };
    struct answer answer;
    struct object line;

    int status = answer_open(&answer, options->socket, options->request);
    if (status != 0)
        return status;
    status = EX_UNAVAILABLE;
    while (answer_next(&answer, &line)) {
        if (options->is_json)
            puts(line.text);
        if (is_end(&line)) {
            status = finish(&line);
            answer_close(&answer);
            return status;
        }
        if (!options->is_json)
            show(&view, &line);
    }
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
            return fputs(help, stdout) < 0 ? EX_IOERR : EX_OK;
        case 'V':
            return puts("mmproxyctl " MMPROXY_VERSION) < 0 ? EX_IOERR : EX_OK;
        default:
            return EX_USAGE;
        }
    }
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
