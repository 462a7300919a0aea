/* SPDX-License-Identifier: BSD-2-Clause */
/* What --help says of each command, and of all. */
#include "ctl.h"

#include <string.h>

#include "mmproxy/config/config.h"

static const struct {
    const char *command;
    const char *arguments;
    const char *what; /* at most 53 characters */
} commands[] = {
    { "status", "", "version, generations, last reload, listeners, targets" },
    { "sessions", " [--listener NAME] [--client ADDR[/LEN]] [--peer ADDR[/LEN]]",
      "a line for each session" },
    { "close", " ID...", "ends these sessions (RST)" },
    { "close", " [--client ADDR[/LEN]] [--listener NAME]", "the same for all that match" },
    { "reload", "", "reads the configuration, waits for the outcome" },
    { "check", " [--listener NAME]", "runs the checks of return path and targets now" },
    { "drain", " NAME", "the listener closes its ports; its sessions live on" },
    { "resume", " NAME", "it opens them again" },
    { "map", " ADDR", "addresses that map_v4 and map_v6 give to clients" },
    { "metrics", "", "what /metrics serves, as Prometheus reads it" },
    { "top", "", "status as a screen that refreshes; q quits" },
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void show_line(size_t i)
{
    char left[32];
    int n = snprintf(left, sizeof left, "%s%s", commands[i].command, commands[i].arguments);

    if (n < 24)
        printf("  %-23s  %s\n", left, commands[i].what);
    else
        printf("  %s%s\n  %-23s  %s\n", commands[i].command, commands[i].arguments, "",
               commands[i].what);
}

static bool show_command(const char *command)
{
    bool is_known = false;

    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].command, command) != 0)
            continue;
        printf("%s mmproxyctl [-s SOCKET] [--json] %s%s\n    %s\n",
               is_known ? "      " : "usage:", command, commands[i].arguments, commands[i].what);
        is_known = true;
    }
    return is_known;
}

bool help_show(const char *command)
{
    if (command)
        return show_command(command);
    printf("usage: mmproxyctl [-s SOCKET] [--json] COMMAND\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        show_line(i);
    printf("\n"
           "  -s, --socket SOCKET      instead of " CONFIG_DEFAULT_CONTROL "\n"
           "      --json               the answer as it comes: a JSON object a line\n"
           "  -h, --help               behind a command: of that one\n"
           "  -V, --version\n"
           "\n"
           "Exit status: 0 fine, 1 the answer is no, 64 wrong usage, 69 no mmproxy answers,\n"
           "77 not permitted, 78 mistakes in the configuration.\n");
    return true;
}
