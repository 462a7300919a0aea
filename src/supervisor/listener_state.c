/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/supervisor/listener_state.h"

#include "mmproxy/supervisor/control.h"
#include "mmproxy/supervisor/preflight.h"

enum board_state listener_state(const struct supervisor *supervisor,
                                const struct listener_config *listener)
{
    if (control_is_drained(supervisor, listener->name))
        return BOARD_DRAINED;
    if (listener->closed_because)
        return BOARD_NO_NETNS;
    return preflight_closes(supervisor, listener) ? BOARD_TARGET_DOWN : BOARD_OPEN;
}
