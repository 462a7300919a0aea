/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration file, and behind the first NUL byte the subnets file "101". */
#include "config_input.h"

static bool is_wildcard(const struct addr *addr)
{
    static const uint8_t any[16];

    return memcmp(addr_bytes(addr), any, addr_family(addr) == AF_INET ? 4 : 16) == 0;
}

/* Both can be bound at the same time. */
static void check_addresses(const struct addr_range *a, const struct addr_range *b)
{
    const struct port_range ports = { addr_port(&b->addr), b->last };

    if (addr_family(&a->addr) != addr_family(&b->addr) || !input_share_ports(a, ports))
        return;
    PROPERTY(!addr_equal_host(&a->addr, &b->addr) ||
             a->addr.in6.sin6_scope_id != b->addr.in6.sin6_scope_id);
    PROPERTY(!is_wildcard(&a->addr) && !is_wildcard(&b->addr));
}

static void check_pair(const struct listener_config *a, const struct listener_config *b)
{
    PROPERTY(strcmp(a->name, b->name) != 0);
    PROPERTY(a->mark != b->mark || a->table == b->table);
    for (size_t i = 0; i < a->n_listen; i++) {
        for (size_t j = 0; j < b->n_listen && a->protocol == b->protocol; j++)
            check_addresses(&a->listen[i], &b->listen[j]);
        if (a->protocol == b->protocol) {
            input_check_no_loop(&a->listen[i], b, AF_INET);
            input_check_no_loop(&a->listen[i], b, AF_INET6);
        }
    }
}

static void check_config(const struct config *config)
{
    PROPERTY(config->workers >= 1 && config->user != NULL && config->path != NULL);
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct listener_config *listener = &config->listeners[i];

        PROPERTY(listener->name[0] != '\0' && strlen(listener->name) <= LISTENER_NAME_MAX);
        PROPERTY(listener->file && listener->line > 0);
        for (size_t j = 1; j < listener->n_listen; j++)
            check_addresses(&listener->listen[0], &listener->listen[j]);
        input_check_listener(listener);
        for (size_t j = 0; j < config->n_listeners; j++) {
            if (i != j)
                check_pair(listener, &config->listeners[j]);
        }
    }
}

/* Either a whole configuration or at least one reason why there is none. */
static struct config *load(struct reports *reports)
{
    struct config_sink sink = { .report = input_report, .context = reports };
    struct config *config = config_load(INPUT_CONFIG, &sink);

    PROPERTY((config == NULL) == (reports->n_errors > 0));
    return config;
}

/* May the text name the configuration file, "107", as its own subnets file, or include one? */
static bool may_name_itself(const uint8_t *bytes, size_t len)
{
    return len > 0 &&
           (memchr(bytes, '@', len) || memchr(bytes, '\\', len) || memchr(bytes, '7', len));
}

/* A last line that only is a comment changes nothing: not what is wrong, and not what is asked. */
static void add_comment(const uint8_t *bytes, size_t len)
{
    static const char comment[] = "\n# nothing";
    uint8_t *longer = malloc(len + sizeof(comment));

    PROPERTY(longer != NULL);
    memcpy(longer, bytes, len);
    memcpy(longer + len, comment, sizeof(comment) - 1);
    input_write(INPUT_CONFIG_FD, longer, len + sizeof(comment) - 1);
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const uint8_t *separator = len > 0 ? memchr(bytes, '\0', len) : NULL;
    size_t config_len = separator != NULL ? (size_t)(separator - bytes) : len;
    struct reports first = { .n_errors = 0 };
    struct reports second = { .n_errors = 0 };
    struct config *config;
    struct config *again;

    input_write(INPUT_CONFIG_FD, bytes, config_len);
    if (separator != NULL)
        input_write(INPUT_SUBNETS_FD, separator + 1, len - config_len - 1);
    else
        input_write(INPUT_SUBNETS_FD, "", 0);

    config = load(&first);
    PROPERTY(!first.is_out_of_order || may_name_itself(bytes, config_len));
    add_comment(bytes, config_len);
    again = load(&second);
    PROPERTY(first.n_errors == second.n_errors && first.n_warnings == second.n_warnings);
    PROPERTY(first.digest == second.digest);
    if (config != NULL) {
        check_config(config);
        PROPERTY(config_equal(config, again) && config_equal(again, config));
    }
    config_free(config);
    config_free(again);
    return 0;
}
