# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for conditions, never for time."""

import concurrent.futures
import os
import time

# Seconds after which something that should have happened is a failure. It is the one bound of all
# tests, and only ends one that hangs: so it is far more than a busy machine needs.
DEADLINE = float(os.environ.get("MMPROXY_E2E_DEADLINE", "120"))


def until(condition, what, deadline=None):
    """
    Calls condition until it returns something true, and returns that. deadline: only for what
    takes long by its nature.
    """
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what() if callable(what) else what}")
        time.sleep(0.005)


def together(function, arguments):
    """Calls function with each of the arguments at once; an error in one of the calls is raised."""
    arguments = list(arguments)
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(arguments)) as threads:
        return list(threads.map(function, arguments))
