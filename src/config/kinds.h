/* SPDX-License-Identifier: BSD-2-Clause */
/* kinds: one parse function for each kind of key; see parse in struct key. */
#ifndef CONFIG_KINDS_H
#define CONFIG_KINDS_H

#include "keys.h"

#define KIND(name)                                                                   \
    bool kinds_##name(const struct key *key, const struct value *value, void *field, \
                      char reason[KEYS_REASON_MAX])

KIND(number);      /* uint32_t or unsigned, min to max */
KIND(table);       /* the same; the kernel's own tables are refused */
KIND(seconds);     /* unsigned milliseconds: 0 if min is 0, else 0.001 s or more, to max */
KIND(boolean);     /* bool */
KIND(word);        /* an enum: the index in words */
KIND(client_port); /* bool: is it "preserve"? */
KIND(path);        /* const char *: borrows the value's string */
KIND(name);        /* char [LISTENER_NAME_MAX + 1] */
KIND(user);        /* char *: a user that exists, owned by the field */
KIND(target_v4);   /* struct addr */
KIND(target_v6);   /* struct addr */

/*
 * One address to listen on. returns as parse in struct key.
 */
bool kinds_listen(const struct value *value, struct addr *out, char reason[KEYS_REASON_MAX]);

/* How a value is named in "must be ..., not ...". returns: out. */
const char *kinds_describe(const struct value *value, char out[KEYS_REASON_MAX]);

#endif
