/* SPDX-License-Identifier: BSD-2-Clause */
/* Which format a scraper asks for, by its header Accept. spec: RFC 9110, section 12.5.1 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mmproxy/exporter/metrics.h"

#define OPENMETRICS "application/openmetrics-text"

/* One part of a header, without the spaces around it. */
struct span {
    const char *begin;
    size_t len;
};

/* Cuts off what is before the next separator. returns: false where nothing is left. */
static bool cut(const char **rest, char separator, struct span *out)
{
    if (!**rest)
        return false;

    const char *begin = *rest + strspn(*rest, " \t");
    const char *end = strchr(begin, separator);
    if (!end)
        end = begin + strlen(begin);
    *rest = *end ? end + 1 : end;
    while (end > begin && isspace((unsigned char)end[-1]))
        end--;
    *out = (struct span){ begin, (size_t)(end - begin) };
    return true;
}

static bool is(struct span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.begin, text, span.len) == 0;
}

static bool begins(struct span span, const char *text)
{
    return span.len >= strlen(text) && strncasecmp(span.begin, text, strlen(text)) == 0;
}

/* "0.75" is 750. Anything else is 0, which asks for nothing. */
static unsigned quality(struct span value)
{
    unsigned thousandths = value.len > 0 && value.begin[0] == '1' ? 1000 : 0;
    unsigned unit = 100;

    for (size_t i = 2; thousandths == 0 && i < value.len && isdigit((unsigned char)value.begin[i]);
         i++, unit /= 10)
        thousandths += unit * (unsigned)(value.begin[i] - '0');
    return thousandths;
}

/* The weight of one entry, and its format. returns: false where it is neither's. */
static bool judge(struct span entry, enum metrics_format *format, unsigned *worth)
{
    char text[256];
    const char *rest = text;
    struct span part;

    if (entry.len >= sizeof text)
        return false;
    memcpy(text, entry.begin, entry.len);
    text[entry.len] = '\0';
    if (!cut(&rest, ';', &part))
        return false;
    *worth = 1000;
    *format = is(part, OPENMETRICS) ? METRICS_OPENMETRICS : METRICS_TEXT;
    bool is_ours = *format == METRICS_OPENMETRICS || is(part, "text/plain") || is(part, "text/*") ||
                   is(part, "*/*");
    while (cut(&rest, ';', &part)) {
        if (begins(part, "q="))
            *worth = quality((struct span){ part.begin + 2, part.len - 2 });
        else if (*format == METRICS_OPENMETRICS && begins(part, "version="))
            is_ours &= is(part, "version=1.0.0") || is(part, "version=\"1.0.0\"");
    }
    return is_ours;
}

enum metrics_format metrics_accepted(const char *accept)
{
    unsigned worths[] = { [METRICS_TEXT] = 0, [METRICS_OPENMETRICS] = 0 };
    const char *rest = accept ? accept : "";
    struct span entry;

    while (cut(&rest, ',', &entry)) {
        enum metrics_format format;
        unsigned worth;
        if (judge(entry, &format, &worth) && worth > worths[format])
            worths[format] = worth;
    }
    /* Of two with the same weight, the named one. */
    return worths[METRICS_OPENMETRICS] > 0 && worths[METRICS_OPENMETRICS] >= worths[METRICS_TEXT]
               ? METRICS_OPENMETRICS
               : METRICS_TEXT;
}
