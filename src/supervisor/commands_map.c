/* SPDX-License-Identifier: BSD-2-Clause */
/* What the command map of the control socket answers before it lists sessions. */
#include <string.h>

#include "commands.h"
#include "control_client.h"
#include "mmproxy/worker/target_choice.h"

static void add_map(struct control_client *client, const struct listener_config *listener,
                    const struct addr *from, const struct addr *mapped)
{
    char text[ADDR_STRLEN];
    struct control_line line;
    struct json *json = control_line_begin(&line, "map");

    json_text(json, "listener", listener->name);
    json_text(json, "client", addr_format_host(from, text));
    json_text(json, "mapped", addr_format_host(mapped, text));
    control_client_add(client, json);
}

/* Is the address one of map_v4? Then the client is in it. */
static bool is_mapped_v4(const struct listener_config *listener, const struct addr *addr,
                         struct addr *client)
{
    const uint8_t *bytes = addr_bytes(addr);

    if (!listener_config_maps(listener, AF_INET) || addr_family(addr) != AF_INET6 ||
        memcmp(bytes, addr_bytes(&listener->map_v4.addr), CLIENT_MAP_V4_LEN / 8) != 0)
        return false;
    addr_from_bytes(client, AF_INET, bytes + CLIENT_MAP_V4_LEN / 8, 0);
    return true;
}

bool command_map(struct control_client *client)
{
    const struct config *config = client->supervisor->current->config;
    const struct addr *addr = &client->request.client.addr;

    /* The configuration may be another one when a slow client has caught up. */
    while (client->n_mapped < config->n_listeners) {
        const struct listener_config *listener = &config->listeners[client->n_mapped++];
        struct addr from;

        if (is_mapped_v4(listener, addr, &from)) {
            add_map(client, listener, &from, addr);
        } else if (listener_config_maps(listener, addr_family(addr))) {
            const struct addr mapped = target_source(listener, addr);
            add_map(client, listener, addr, &mapped);
        }
        if (control_client_is_behind(client))
            return false;
    }
    return true;
}
