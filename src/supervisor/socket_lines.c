/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/socket_lines.h"

#include "mmproxy/base/log.h"

static const struct {
    const char *before; /* the address */
    const char *after;  /* the name */
    const char *event;
    enum log_level level;
} words[] = {
    [SOCKET_OPENED] = { "[+] Listening on", "", "listening", LOG_LEVEL_INFO },
    [SOCKET_GONE] = { "[-] No longer listening on", "", "not_listening", LOG_LEVEL_INFO },
    [SOCKET_UNWANTED] = { "[!] a socket listening on", " was handed over and no listener wants it",
                          "listening", LOG_LEVEL_WARNING },
    [SOCKET_CLOSED] = { "[!] Closed", " until one of its targets can be reached", "not_listening",
                        LOG_LEVEL_WARNING },
    [SOCKET_OPENED_AGAIN] = { "[+] Listening on", " again", "listening", LOG_LEVEL_NOTICE },
};

/* The file has a port, or a range of ports, that begins there: it has a line of its own. */
static bool begins_range(const struct listener_config *listener, const struct addr *addr)
{
    for (size_t i = 0; listener && i < listener->n_listen; i++)
        if (addr_equal(&listener->listen[i].addr, addr))
            return true;
    return false;
}

/* Does the address follow those of the line, or is it the last one of them? */
static bool extend(struct socket_lines *lines, const struct listener_config *listener,
                   const struct addr *addr)
{
    struct addr next = lines->range.addr;

    addr_set_port(&next, lines->range.last);
    if (addr_equal(&next, addr))
        return true;
    addr_set_port(&next, (uint16_t)(lines->range.last + 1));
    if (begins_range(listener, addr) || !addr_equal(&next, addr))
        return false;
    lines->range.last++;
    return true;
}

void socket_lines_add(struct socket_lines *lines, enum socket_event event,
                      const struct listener_config *listener, const struct addr *addr)
{
    const char *name = listener ? listener->name : "";

    if (lines->name == name && lines->event == event && extend(lines, listener, addr))
        return;
    socket_lines_end(lines);
    *lines = (struct socket_lines){ .name = name,
                                    .event = event,
                                    .range = { .addr = *addr, .last = addr_port(addr) } };
}

void socket_lines_end(struct socket_lines *lines)
{
    char address[ADDR_RANGE_STRLEN];
    const char *name = lines->name;

    if (!name)
        return;
    const struct log_field fields[] = {
        LOG_TEXT("event", words[lines->event].event),
        LOG_TEXT("address", addr_range_format(&lines->range, address)), LOG_TEXT("listener", name)
    };
    log_event(words[lines->event].level, fields, name[0] ? 3 : 2, "%s %s%s%s%s%s",
              words[lines->event].before, address, name[0] ? " (" : "", name, name[0] ? ")" : "",
              words[lines->event].after);
    lines->name = NULL;
}
