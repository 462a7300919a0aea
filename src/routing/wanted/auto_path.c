/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/routing/wanted/auto_path.h"

enum return_path auto_path_of(enum protocol protocol, const struct addr *target, bool is_own,
                              bool has_own_other)
{
    if (!is_own)
        return RETURN_PATH_ROUTED;
    if (protocol == PROTOCOL_UDP)
        return RETURN_PATH_FLOWS; /* of a target on loopback it has what loopback has, too */
    return addr_is_loopback(target) && !has_own_other ? RETURN_PATH_LOOPBACK : RETURN_PATH_FWMARK;
}

const char *auto_path_why(enum return_path path, const struct addr *target)
{
    if (path == RETURN_PATH_ROUTED)
        return "it is not an address of this host";
    if (path == RETURN_PATH_FLOWS || !addr_is_loopback(target))
        return "it is an address of this host";
    return path == RETURN_PATH_FWMARK ? "the listener's other target needs it"
                                      : "it is on loopback";
}

static bool is_own(const struct locals *locals, const struct addr *target)
{
    return addr_is_loopback(target) || (locals && locals_contain(locals, target));
}

static enum return_path find(const struct listener_config *listener, const struct locals *locals,
                             sa_family_t family)
{
    const struct addr *target = listener_config_target(listener, family);
    const struct addr *other =
        listener_config_target(listener, family == AF_INET ? AF_INET6 : AF_INET);
    bool has_own_other = other && !addr_is_loopback(other) && is_own(locals, other);

    if (!target)
        return RETURN_PATH_AUTO;
    return auto_path_of(listener->protocol, target, is_own(locals, target), has_own_other);
}

void auto_path_find(struct listener_config *listener, const struct locals *locals)
{
    if (listener->return_path != RETURN_PATH_AUTO)
        return;
    listener->auto_v4 = find(listener, locals, AF_INET);
    listener->auto_v6 = find(listener, locals, AF_INET6);
}
