/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notes: what the TLVs of a header say of the client, kept for the log lines of its session. Only
 * logs that have fields show them, so a session has notes only where they will be written.
 */
#ifndef MMPROXY_WORKER_NOTES_H
#define MMPROXY_WORKER_NOTES_H

#include "mmproxy/base/log.h"
#include "mmproxy/proxyproto/proxyproto.h"

enum { NOTES_FIELDS_MAX = 7 };

/* Heap memory of one block, for free. */
struct notes;

/*
 * Copies the texts, each cut to LOG_BYTES_MAX bytes at a character boundary.
 * returns: NULL where there is nothing to keep, or no memory: a log line may have less.
 */
struct notes *notes_new(const struct proxyproto_facts *facts);

/* Appends the fields to fields, which has room for NOTES_FIELDS_MAX. returns: how many. */
size_t notes_fields(const struct notes *notes, struct log_field *fields);

/* The length of text when it is cut to LOG_BYTES_MAX bytes, not inside of a character. */
size_t notes_cut(const struct proxyproto_text *text);

#endif
