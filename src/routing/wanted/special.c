/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/special.h"

struct special {
    uint8_t bytes[16];
    uint8_t len;
    bool is_client; /* private: no public address, but a client may have it */
};

/* RFC 6890: no client comes from these, or no public one. */
static const struct special special_v4[] = {
    { { 0 }, 8, false },         { { 10 }, 8, true },         { { 100, 64 }, 10, true },
    { { 127 }, 8, false },       { { 169, 254 }, 16, false }, { { 172, 16 }, 12, true },
    { { 192, 0, 0 }, 24, true }, { { 192, 168 }, 16, true },  { { 198, 18 }, 15, true },
    { { 224 }, 4, false },       { { 240 }, 4, true },        { { 255, 255, 255, 255 }, 32, false },
};

/* All but 2000::/3. */
static const struct special special_v6[] = {
    { { [15] = 0 }, 128, false }, { { [15] = 1 }, 128, false }, { { 0xfe, 0x80 }, 10, false },
    { { 0xff }, 8, false },       { { 0 }, 3, true },           { { 0x40 }, 2, true },
    { { 0x80 }, 1, true },
};

void special_leave_out(struct region_set *gone, sa_family_t family, bool is_public)
{
    const struct special *special = family == AF_INET6 ? special_v6 : special_v4;
    size_t n = family == AF_INET6 ? sizeof special_v6 / sizeof *special_v6
                                  : sizeof special_v4 / sizeof *special_v4;

    for (size_t i = 0; i < n; i++) {
        struct region_prefix prefix = region_prefix(special[i].bytes, special[i].len);

        if (is_public || !special[i].is_client)
            region_set_add(gone, &prefix);
    }
}

bool special_is_public(const struct prefix *prefix)
{
    sa_family_t family = addr_family(&prefix->addr);
    struct region_prefix region = region_prefix(addr_bytes(&prefix->addr), prefix->len);
    struct region_set gone = { 0 };
    bool is_public;

    special_leave_out(&gone, family, true);
    is_public = region_is_left(&region, &gone, family == AF_INET6 ? 128 : 32);
    region_set_close(&gone);
    return is_public;
}
