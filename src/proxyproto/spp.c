/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/proxyproto/spp.h"

#include <string.h>

#include "internal.h"

enum {
    MAGIC = 0x56ec,
    AT_CLIENT = 2,
    AT_PROXY = 18,
    AT_CLIENT_PORT = 34,
    AT_PROXY_PORT = 36,
};

static void read_endpoint(struct addr *out, const uint8_t *address, const uint8_t *port)
{
    addr_from_bytes(out, AF_INET6, address, load16(port));
    addr_unmap(out);
}

static void store16(uint8_t out[2], unsigned value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static void write_endpoint(uint8_t *address, uint8_t *port, const struct addr *endpoint)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (addr_family(endpoint) == AF_INET6) {
        memcpy(address, addr_bytes(endpoint), 16);
    } else {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + sizeof mapped, addr_bytes(endpoint), 4);
    }
    store16(port, addr_port(endpoint));
}

const char *spp_parse(const uint8_t *bytes, size_t len, struct spp *out)
{
    if (len < 2 || load16(bytes) != MAGIC)
        return "not a Simple Proxy Protocol header";
    if (len < SPP_LEN)
        return "Simple Proxy Protocol header is longer than the datagram";
    read_endpoint(&out->client, bytes + AT_CLIENT, bytes + AT_CLIENT_PORT);
    read_endpoint(&out->proxy, bytes + AT_PROXY, bytes + AT_PROXY_PORT);
    return NULL;
}

void spp_write(uint8_t out[SPP_LEN], const struct spp *header)
{
    store16(out, MAGIC);
    write_endpoint(out + AT_CLIENT, out + AT_CLIENT_PORT, &header->client);
    write_endpoint(out + AT_PROXY, out + AT_PROXY_PORT, &header->proxy);
}
