/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines from before the configuration says where they go: kept until log_open. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log_internal.h"

static struct {
    pid_t owner; /* 0 = nothing is kept back; a forked process is not the owner */
    struct log_held *first;
    struct log_held **end;
} hold;

void log_hold(void)
{
    if (hold.owner == getpid())
        return;
    hold.owner = getpid();
    hold.first = NULL;
    hold.end = &hold.first;
}

/* The only field of a line without facts; its text is a literal of the caller's. */
static const char *event_of(const struct log_record *record)
{
    return record->n_fields > 0 ? record->fields[0].text : NULL;
}

bool log_hold_takes(const struct log_record *record, bool is_report)
{
    struct log_held *held;
    size_t size;

    if (hold.owner == 0 || hold.owner != getpid() || record->level == LOG_LEVEL_ERROR ||
        record->n_fields > 1)
        return false;
    size = strlen(record->message) + 1;
    held = malloc(sizeof *held + size);
    if (!held)
        return false;
    *held = (struct log_held){ .level = record->level,
                               .is_report = is_report,
                               .time = record->time,
                               .event = event_of(record) };
    memcpy(held->message, record->message, size);
    *hold.end = held;
    hold.end = &held->next;
    return true;
}

static void drop(void)
{
    struct log_held *next;

    for (; hold.first; hold.first = next) {
        next = hold.first->next;
        free(hold.first);
    }
}

struct log_held *log_hold_end(void)
{
    struct log_held *first;

    if (hold.owner == 0)
        return NULL;
    if (hold.owner != getpid())
        drop(); /* the parent's, which writes them */
    first = hold.first;
    hold.owner = 0;
    hold.first = NULL;
    return first;
}
