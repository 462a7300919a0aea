/* SPDX-License-Identifier: BSD-2-Clause */
/* Which options there are, and which of them go together. */
#include "mmproxy/config/cmdline.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mistakes.h"

/* For options without a letter; above every letter. */
enum { OPTION_VERSION = 256, OPTION_CHECK, OPTION_RULES, OPTION_RETURN_PATH };

/* With a leading colon, getopt returns ':' for a missing argument and '?' for an unknown option. */
static const char letters[] = "+:a:c:hl:m:np:qt:v4:6:NP";

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "test-config", no_argument, NULL, 'n' },
    { "check", no_argument, NULL, OPTION_CHECK },
    { "rules", optional_argument, NULL, OPTION_RULES },
    { "allowed-networks", required_argument, NULL, 'a' },
    { "allowed-subnets", required_argument, NULL, 'a' },
    { "listen", required_argument, NULL, 'l' },
    { "target-v4", required_argument, NULL, '4' },
    { "target-v6", required_argument, NULL, '6' },
    { "mark", required_argument, NULL, 'm' },
    { "table", required_argument, NULL, 't' },
    { "protocol", required_argument, NULL, 'p' },
    { "return-path", required_argument, NULL, OPTION_RETURN_PATH },
    { "force-real-client-port", no_argument, NULL, 'P' },
    { "quiet", no_argument, NULL, 'q' },
    { "verbose", no_argument, NULL, 'v' },
    { "do-not-sandbox", no_argument, NULL, 'N' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPTION_VERSION },
    { NULL, 0, NULL, 0 },
};

struct parse {
    struct cmdline *out;
    const struct config_sink *sink;
    enum { NO_ACTION, TEST_CONFIG, CHECK, RULES, HELP, VERSION } action;
};

static int usage_error(const struct parse *parse, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int usage_error(const struct parse *parse, const char *format, ...)
{
    struct mistakes mistakes = { .places = NULL };
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mistakes_add(&mistakes, true, 0, "mmproxy: %s (try 'mmproxy --help')", text);
    mistakes_flush(&mistakes, parse->sink);
    return -EINVAL;
}

/* getopt_long says '?' for all of them; which one it was has to be found out. */
static int bad_option(const struct parse *parse, char *const argv[])
{
    const char *written = argv[optind - 1];
    bool is_long = strncmp(written, "--", 2) == 0;
    size_t len = is_long ? strcspn(written + 2, "=") : 0;
    unsigned n_matches = 0;

    if (!is_long)
        return usage_error(parse, "unknown option -%c", optopt);
    if (optopt != 0)
        return usage_error(parse, "option --%.*s takes no argument", (int)len, written + 2);
    for (const struct option *option = options; option->name; option++)
        n_matches += strncmp(option->name, written + 2, len) == 0;
    return usage_error(parse, "%s option %.120s", n_matches > 1 ? "ambiguous" : "unknown", written);
}

static int missing_argument(const struct parse *parse, char *const argv[])
{
    const char *written = argv[optind - 1];

    if (strncmp(written, "--", 2) == 0)
        return usage_error(parse, "option %.120s needs an argument", written);
    return usage_error(parse, "option -%c needs an argument", optopt);
}

static int set_action(struct parse *parse, int action)
{
    if (parse->action != NO_ACTION && (int)parse->action != action)
        return usage_error(parse, "--test-config, --check and --rules exclude each other");
    parse->action = (unsigned)action;
    return 0;
}

static int set_rules_form(struct parse *parse, const char *form)
{
    static const char *const forms[] = {
        [RULES_SHELL] = "shell",
        [RULES_UNDO] = "undo",
        [RULES_NETWORKD] = "networkd",
        [RULES_INTERFACES] = "interfaces",
    };

    if (!form)
        form = forms[RULES_SHELL];
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(form, forms[i]) == 0) {
            parse->out->rules_form = (enum rules_form)i;
            return set_action(parse, RULES);
        }
    }
    return usage_error(parse, "--rules must be shell, undo, networkd or interfaces, not \"%.120s\"",
                       form);
}

/* Options that are about what to do. returns: -ENOENT where the option is none of them. */
static int take_action(struct parse *parse, int option)
{
    switch (option) {
    case 'n':
        return set_action(parse, TEST_CONFIG);
    case OPTION_CHECK:
        return set_action(parse, CHECK);
    case OPTION_RULES:
        return set_rules_form(parse, optarg);
    case 'h':
        parse->action = HELP;
        return 0;
    case OPTION_VERSION:
        parse->action = VERSION;
        return 0;
    default:
        return -ENOENT;
    }
}

static void take_flag(struct cmdline *out, int option)
{
    switch (option) {
    case 'P':
        out->force_real_client_port = true;
        break;
    case 'q':
        out->quiet = true;
        break;
    case 'v':
        out->verbose = true;
        break;
    case 'N':
        out->no_sandbox = true;
        break;
    default:
        break;
    }
}

/* returns: where the option's argument goes; NULL for an option without one. */
static const char **argument_of(struct cmdline *out, int option)
{
    switch (option) {
    case 'c':
        return &out->config_path;
    case 'a':
        return &out->allowed_path;
    case 'l':
        return &out->listen[out->n_listen++];
    case '4':
        return &out->target_v4;
    case '6':
        return &out->target_v6;
    case 'm':
        return &out->mark;
    case 't':
        return &out->table;
    case 'p':
        return &out->protocol;
    case OPTION_RETURN_PATH:
        return &out->return_path;
    default:
        return NULL;
    }
}

static int take_options(struct parse *parse, int argc, char *const argv[])
{
    struct cmdline *out = parse->out;
    const char **argument;
    int option;
    int err;

    optind = 0; /* glibc: start anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (option == '?')
            return bad_option(parse, argv);
        if (option == ':')
            return missing_argument(parse, argv);
        err = take_action(parse, option);
        if (err == -ENOENT) {
            argument = argument_of(out, option);
            if (argument)
                *argument = optarg;
            take_flag(out, option);
        } else if (err != 0) {
            return err;
        }
        /* As everywhere: nothing behind --help is looked at. */
        if (parse->action == HELP || parse->action == VERSION)
            return 0;
    }
    if (optind < argc)
        return usage_error(parse, "unexpected argument \"%.120s\"", argv[optind]);
    return 0;
}

/* An option that describes the one listener of the mode without a file, or NULL. */
static const char *listener_option(const struct cmdline *cmdline)
{
    if (cmdline->allowed_path)
        return "--allowed-networks";
    if (cmdline->n_listen > 0)
        return "--listen";
    if (cmdline->target_v4)
        return "--target-v4";
    return cmdline->target_v6 ? "--target-v6" : NULL;
}

/* An option that refines the listener, but does not choose that mode. */
static const char *refining_option(const struct cmdline *cmdline)
{
    if (cmdline->mark)
        return "--mark";
    if (cmdline->table)
        return "--table";
    if (cmdline->return_path)
        return "--return-path";
    if (cmdline->protocol)
        return "--protocol";
    return cmdline->force_real_client_port ? "--force-real-client-port" : NULL;
}

static int check_mode(const struct parse *parse)
{
    struct cmdline *out = parse->out;
    const char *listener = listener_option(out);
    const char *refining = refining_option(out);

    if (out->config_path && (listener || refining))
        return usage_error(parse, "--config and %s exclude each other: the file says it all",
                           listener ? listener : refining);
    if (!listener && refining)
        return usage_error(parse, "%s needs --allowed-networks, --listen and a target as well",
                           refining);
    if (!listener) {
        if (!out->config_path)
            out->config_path = CONFIG_DEFAULT_FILE;
        return 0;
    }
    if (!out->allowed_path)
        return usage_error(parse, "--allowed-networks is missing");
    if (out->n_listen == 0)
        return usage_error(parse, "--listen is missing");
    if (!out->target_v4 && !out->target_v6)
        return usage_error(parse, "--target-v4 or --target-v6 is missing");
    return 0;
}

int cmdline_parse(struct cmdline *out, int argc, char *const argv[], const struct config_sink *sink)
{
    static const enum cmdline_action actions[] = {
        [NO_ACTION] = CMDLINE_SERVE, [TEST_CONFIG] = CMDLINE_TEST_CONFIG,
        [CHECK] = CMDLINE_CHECK,     [RULES] = CMDLINE_RULES,
        [HELP] = CMDLINE_HELP,       [VERSION] = CMDLINE_VERSION,
    };
    struct parse parse = { .out = out, .sink = sink };
    int err;

    *out = (struct cmdline){ .action = CMDLINE_SERVE };
    out->listen = calloc((size_t)argc + 1, sizeof *out->listen);
    err = !out->listen ? usage_error(&parse, "out of memory") : take_options(&parse, argc, argv);
    if (err == 0 && parse.action != HELP && parse.action != VERSION)
        err = check_mode(&parse);
    out->action = actions[parse.action];
    if (err != 0)
        cmdline_close(out);
    return err;
}

void cmdline_close(struct cmdline *cmdline)
{
    free(cmdline->listen);
    cmdline->listen = NULL;
    cmdline->n_listen = 0;
}
