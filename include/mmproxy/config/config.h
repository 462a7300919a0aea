/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config: everything mmproxy was asked to do, checked, as one immutable value. It is built
 * whole or not at all, inherited by workers through fork and never serialised.
 */
#ifndef MMPROXY_CONFIG_CONFIG_H
#define MMPROXY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmproxy/base/addr.h"
#include "mmproxy/base/client_map.h"
#include "mmproxy/base/log.h"
#include "mmproxy/base/ports.h"
#include "mmproxy/base/subnets.h"
#include "mmproxy/config/endpoints.h"

#define CONFIG_DEFAULT_FILE    "/etc/mmproxy.conf"
#define CONFIG_DEFAULT_MAP_KEY "/var/lib/mmproxy/map.key"
#define CONFIG_DEFAULT_CONTROL "/run/mmproxy/control.sock"

enum { LISTENER_NAME_MAX = 63, LISTENER_NETNS_MAX = 255 }; /* characters, without the NUL */

/* Limits of one configuration. The workers' counters have room for several of them. */
enum {
    CONFIG_LISTENERS_MAX = 10000,
    CONFIG_WORKERS_MAX = 1024,
    CONFIG_PORTS_MAX = 65536, /* of one listener */
};

enum { CONFIG_MAP_KEY_MAX = 256 }; /* of its path, with the NUL */

enum return_path {
    RETURN_PATH_AUTO,
    RETURN_PATH_LOOPBACK,
    RETURN_PATH_FWMARK,
    RETURN_PATH_CONNMARK,
    RETURN_PATH_ROUTED,
    RETURN_PATH_FLOWS, /* UDP */
};

/* A line when a session begins and one when it ends, the second alone, or none. */
enum log_connections { LOG_CONNECTIONS_BOTH, LOG_CONNECTIONS_END, LOG_CONNECTIONS_NONE };

enum protocol { PROTOCOL_TCP, PROTOCOL_UDP };

/* Which datagrams have a header in front, and which one. */
enum udp_header { UDP_HEADER_EVERY, UDP_HEADER_FIRST, UDP_HEADER_SPP };

enum routing_mode { ROUTING_MANUAL, ROUTING_MANAGED };

/* Which port of a target a session goes to. */
enum target_port {
    TARGET_PORT_FIXED,  /* always the same */
    TARGET_PORT_RANGE,  /* the n-th of a range for the n-th of the listener's range */
    TARGET_PORT_SAME,   /* that which the peer connected to */
    TARGET_PORT_HEADER, /* the destination's in the header, where it is in header_ports */
};

struct target_config {
    struct addr addr; /* with the first of its ports; not set: there is no such target */
    enum target_port port;
    uint16_t last; /* FIXED and RANGE: the last port */
};

struct listener_config {
    char name[LISTENER_NAME_MAX + 1]; /* "" without a file: log lines then carry no name */
    const char *file;                 /* where it is written; owned by the config; NULL: options */
    unsigned line;                    /* of that file */
    enum protocol protocol;
    enum udp_header udp_header; /* for UDP */
    struct addr_range *listen;  /* at least one; owned */
    size_t n_listen;
    const struct subnets *allowed; /* sealed; owned by the config, may be shared */
    /* Sealed, or NULL. Peers in it send no header: they win over allowed where both match. */
    const struct subnets *direct;
    struct target_config target_v4; /* at least one of the two is set */
    struct target_config target_v6;
    struct port_list header_ports; /* for TARGET_PORT_HEADER */
    /* For clients of a family without a target, who come from here to the other one; or not set. */
    struct prefix map_v4; /* 96 bits of IPv6 */
    struct prefix map_v6; /* IPv4 */
    bool map_v6_anyway;
    char map_key[CONFIG_MAP_KEY_MAX]; /* path of what follows */
    bool has_map_secret;              /* not before config_complete_map_keys where it is missing */
    struct client_map_key map_secret;
    struct endpoints *endpoints; /* owned; NULL: none are asked for */
    uint32_t mark;
    uint32_t table;
    enum return_path return_path; /* as written; listener_config_return_path is what is used */
    /* What auto is for each target, found at load (routing/wanted/auto_path.h); else AUTO. */
    enum return_path auto_v4;
    enum return_path auto_v6;
    char netns[LISTENER_NETNS_MAX + 1]; /* of the targets: a name or a path; "": mmproxy's own */
    /* What it was at load (supervisor/namespaces.h): its inode's number; 0 = mmproxy's own. */
    uint64_t namespace_id;
    const char *closed_because; /* it can't be used: the listener has no addresses; static */
    size_t index;               /* in its configuration; found at load too */
    bool preserve_client_port;
    bool allow_local_clients;
    bool close_when_down;        /* TCP: no port is open while no target can be reached */
    unsigned header_timeout_ms;  /* never 0 */
    unsigned connect_timeout_ms; /* never 0 */
    unsigned idle_timeout_ms;    /* 0 = never; for UDP never 0 */
    unsigned keepalive_s;        /* 0 = off */
    unsigned max_sessions;       /* 0 = no limit */
    unsigned max_sessions_per_client;
    unsigned max_pending; /* never 0 */
    unsigned backlog;
};

struct config {
    char *path;   /* NULL without a file */
    char **files; /* the other files that it was read from: @include, include_dir */
    size_t n_files;
    char *include_dir;   /* as written; NULL where there is none */
    char *user;          /* never NULL: an existing user, or "nobody"'s name */
    char *control;       /* path of the control socket; "" = none; without a file meaningless */
    char *control_group; /* members may look there; NULL = the process's own group */
    unsigned workers;    /* never 0: the number to start */
    enum routing_mode routing;
    unsigned drain_timeout_ms;
    bool sandbox;
    struct addr_range metrics; /* one port, where the exporter listens; not set = nowhere */
    /* The same as the supervisor sees it, which opens its socket: n_listen is 1 or 0. */
    struct listener_config exporter;
    enum log_connections log_connections;
    bool quiet; /* -q: no routing advice */
    struct log_config log;
    struct listener_config *listeners;
    size_t n_listeners;       /* 0 is fine with a file: the service waits for a reload */
    struct subnets **subnets; /* owned: what allowed and direct of the listeners point to */
    size_t n_subnets;
};

/*
 * Where every mistake goes: line is complete and without a newline ("FILE:LINE: what is
 * wrong"), is_error false for a warning.
 */
struct config_sink {
    void (*report)(void *context, bool is_error, const char *line);
    void *context;
};

/*
 * Loads and checks a configuration file and its subnets files; every mistake found is
 * reported, not only the first.
 * returns: a configuration for config_free, or NULL after at least one error was reported.
 */
struct config *config_load(const char *path, const struct config_sink *sink);

void config_free(struct config *config);

/*
 * Do the two ask for the same thing in every key, subnets files' contents included? The order
 * of listeners counts; path and the lines of the file do not.
 */
bool config_equal(const struct config *a, const struct config *b);

/* One key that a configuration file can have, for the manual and its test. */
struct config_key {
    const char *section; /* "" at the top level, "log", "listeners" */
    const char *name;
    const char *type;     /* "whole number" */
    const char *fallback; /* NULL: none */
    char range[96];       /* "from 1 to 65535"; "" where the type says it all */
};

/* The index-th key of all. returns: false behind the last one. */
bool config_key(size_t index, struct config_key *out);

/* The return path of the listener's target of that family; AUTO before it is found. */
enum return_path listener_config_return_path(const struct listener_config *listener,
                                             sa_family_t family);

/* As it is written. */
const char *return_path_word(enum return_path return_path);

/*
 * The mark of sockets towards the listener's target of that family; 0 = none: where replies are
 * routed back, a marked SYN would meet the rule that is for the replies and never leave.
 */
uint32_t listener_config_socket_mark(const struct listener_config *listener, sa_family_t family);

/*
 * The listener's target for clients of that family, with the first of its ports; NULL where it has
 * none.
 */
const struct addr *listener_config_target(const struct listener_config *listener,
                                          sa_family_t family);

/* Do clients of that family reach the target of the other one, from mapped addresses? */
bool listener_config_maps(const struct listener_config *listener, sa_family_t family);

/*
 * Makes the key files that are missing and needed, with the mode 0600, and reads what others have
 * made meanwhile. A key that in_use (or NULL; may be config itself) has is written back with a
 * warning: a file that is lost changes no mapped address. returns: false after mistakes were
 * reported.
 */
bool config_complete_map_keys(struct config *config, const struct config *in_use,
                              const struct config_sink *sink);

/*
 * The ports that sessions may reach at this target, one range for each index from 0 on; two may
 * overlap. returns: false behind the last one.
 */
bool listener_config_ports(const struct listener_config *listener, sa_family_t family, size_t index,
                           struct port_range *out);

/* The same in one list, which may have other ports besides where there are too many ranges. */
void listener_config_port_list(const struct listener_config *listener, sa_family_t family,
                               struct port_list *out);

/*
 * The same for a few of its ports, by which checks judge the whole: the first, the last, and one
 * in between. No two are equal.
 */
enum { CONFIG_SAMPLE_MAX = 3 };
bool listener_config_sample(const struct listener_config *listener, sa_family_t family,
                            size_t index, struct addr *out);

/* How many ports that are, all in all. */
unsigned listener_config_count_ports(const struct listener_config *listener, sa_family_t family);

/* The target with all of its ports: "127.0.0.1:8000-8099", "127.0.0.1:same"; returns buf. */
enum { TARGET_STRLEN = ADDR_STRLEN + 8 };
const char *listener_config_format_target(const struct listener_config *listener,
                                          sa_family_t family, char buf[TARGET_STRLEN]);

#endif
