/* SPDX-License-Identifier: BSD-2-Clause */
/* What iptables-legacy-save prints: its translation, and what that does to packets. */
#include "mmproxy/routing/wanted/legacy.h"
#include "rules_input.h"

static char *translate(const char *saved, bool is_v6)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    PROPERTY(out != NULL);
    legacy_translate(out, saved, is_v6);
    PROPERTY(fclose(out) == 0 && strlen(text) == size);
    return text;
}

static size_t count_lines(const char *text, const char *begins)
{
    size_t n = 0;

    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        n += strncmp(at, begins, strlen(begins)) == 0;
    }
    return n;
}

/* What follows a table never changes what was written of it. */
static void check_cut(const char *whole, const char *saved, bool is_v6)
{
    const char *end = strstr(saved, "\nCOMMIT\n");
    char *copy = end ? strndup(saved, (size_t)(end - saved) + strlen("\nCOMMIT\n")) : NULL;
    char *text = copy ? translate(copy, is_v6) : NULL;

    if (text)
        PROPERTY(strncmp(text, whole, strlen(text)) == 0);
    free(text);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *saved = rules_text(bytes, len);

    for (int is_v6 = 0; is_v6 < 2; is_v6++) {
        char *text = translate(saved, is_v6);

        (void)rules_check_text(text, true);
        PROPERTY(count_lines(text, "table ") <= count_lines(saved, "*"));
        PROPERTY(count_lines(text, "\tchain ") <= count_lines(saved, ":"));
        check_cut(text, saved, is_v6);
        free(text);
    }
    free(saved);
    return 0;
}
