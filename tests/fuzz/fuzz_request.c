/* SPDX-License-Identifier: BSD-2-Clause */
/* A line of the control protocol. */
#include <assert.h>
#include <string.h>

#include "fuzz.h"
#include "mmproxy/control/json.h"
#include "mmproxy/control/request.h"

/* Whatever came in goes out as JSON that has no byte of its own meaning. */
static void check_json(const char *text)
{
    char line[8 * REQUEST_MAX];
    struct json json;

    json_begin(&json, line, sizeof line);
    json_text(&json, "text", text);
    size_t len = json_end(&json);
    assert(len > 0 && line[len - 1] == '\n');
    for (size_t i = 0; i < len - 1; i++)
        assert(line[i] >= ' ' && line[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *line = (const char *)bytes;
    static struct request request;
    char text[REQUEST_MAX];

    const char *wrong = request_parse(&request, line, len);
    if (!wrong) {
        assert(len < REQUEST_MAX);
        assert(request.command < REQUEST_COMMANDS);
        assert(strlen(request.listener) <= LISTENER_NAME_MAX);
        assert(request.n_ids <= REQUEST_IDS_MAX);
        for (size_t i = 0; i < request.n_ids; i++)
            assert(request.ids[i].pid > 0 && request.ids[i].number > 0);
    }
    len = len < sizeof text ? len : sizeof text - 1;
    memcpy(text, line, len);
    text[len] = '\0';
    check_json(text);
    return 0;
}
