/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kinds: what the keys of one kind have in common: how a value is read, compared and
 * described. A key is one row of a table: its name, its kind, and what only this key has.
 */
#ifndef CONFIG_KINDS_H
#define CONFIG_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/config/config.h"
#include "value.h"

enum { KINDS_REASON_MAX = 512, KINDS_RANGE_MAX = 96 };

struct key;

struct kind {
    const char *type; /* for the reader: "whole number" */
    /*
     * Sets *field. NULL for kinds that need more than one field: their module reads them.
     * returns: false with the reason, to be read behind the key's name: "must be a string".
     */
    bool (*parse)(const struct key *key, const struct value *value, void *field,
                  char reason[KINDS_REASON_MAX]);
    /* Do the two structures ask for the same by this key? NULL: another module compares it. */
    bool (*equal)(const struct key *key, const void *a, const void *b);
    /* "from 1 to 65535". NULL: the type says it all. */
    void (*format_range)(const struct key *key, char out[KINDS_RANGE_MAX]);
};

struct key {
    const char *name;
    const struct kind *kind;
    size_t offset;        /* of the field, in the structure that the table fills */
    const char *fallback; /* as it would be written; NULL: none */
    int64_t min;          /* seconds: milliseconds */
    int64_t max;
    const char *const *words; /* NULL at the end; the index is the value */
    bool is_found_later;      /* the default depends on the host */
    bool is_per_listener;     /* makes no sense in "defaults" */
};

extern const struct kind kind_number;      /* uint32_t or unsigned, min to max */
extern const struct kind kind_table;       /* the same; the kernel's own tables are refused */
extern const struct kind kind_seconds;     /* unsigned ms: 0 if min is 0, else 0.001 s to max */
extern const struct kind kind_boolean;     /* bool */
extern const struct kind kind_word;        /* an enum: the index in words */
extern const struct kind kind_client_port; /* bool: is it "preserve"? */
extern const struct kind kind_path;        /* char *, owned by the field */
extern const struct kind kind_socket;      /* the same; "" = none */
extern const struct kind kind_group_name;  /* char *: a group that exists, owned by the field */
extern const struct kind kind_name;        /* char [LISTENER_NAME_MAX + 1] */
extern const struct kind kind_netns;       /* char [LISTENER_NETNS_MAX + 1] */
extern const struct kind kind_user;        /* char *: a user that exists, owned by the field */
extern const struct kind kind_address;     /* struct addr_range: one port to listen on */
extern const struct kind kind_target_v4;   /* struct target_config */
extern const struct kind kind_target_v6;   /* struct target_config */
extern const struct kind kind_ports;       /* struct port_list */
extern const struct kind kind_listen;      /* listen and n_listen of a struct listener_config */
extern const struct kind kind_allowed;     /* struct subnets * */
extern const struct kind kind_prefix_v4;   /* struct prefix */
extern const struct kind kind_prefix_v6;   /* struct prefix of 96 bits */
extern const struct kind kind_map_key;     /* char [CONFIG_MAP_KEY_MAX] */
extern const struct kind kind_endpoints;   /* struct endpoints *, owned by the field */
extern const struct kind kind_group;
extern const struct kind kind_list;

/* One address to listen on, with its ports. returns: as parse in struct kind. */
bool kinds_listen(const struct value *value, struct addr_range *out, char reason[KINDS_REASON_MAX]);

/* The text of a target. The address may be of any family. returns: NULL, or why it is none. */
const char *kinds_target(struct target_config *out, const char *text);

/* "from 1 to 65535", "\"auto\" or \"stderr\"", or "". */
void kinds_format_range(const struct key *key, char out[KINDS_RANGE_MAX]);

#endif
