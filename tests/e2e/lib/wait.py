# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for conditions, never for time."""

import os
import time

# Seconds after which something that should have happened is a failure; a sanitized build on
# a busy machine needs more of them.
DEADLINE = float(os.environ.get("MMPROXY_E2E_DEADLINE", "20"))


def until(condition, what, deadline=None):
    """Calls condition until it returns something true, and returns that."""
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what() if callable(what) else what}")
        time.sleep(0.005)
