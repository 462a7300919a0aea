# SPDX-License-Identifier: BSD-2-Clause
"""
Patterns of log lines (they match a line as a whole).

Endpoints are given as the log writes them; name is None where there is no file.
"""

import re

# Of a target whose first answer was late the second one says that it is back.
REACHED = (r"\[\+\] OK\. Target server .* "
           r"(?:is up and reachable using spoofed connection|is back: it can be reached)\..*")


def _start(mark, name):
    return (re.escape(f"[{mark}] ") if mark else r"\[.\] ") + re.escape(f"{name}: " if name else "")


def connected(peer, client, target, name="ssh"):
    return _start("+", name) + re.escape(
        f"{peer} connected, proxy protocol source {client}, local destination {target}")


def disconnected(peer, client, bytes_in, bytes_out, name="ssh"):
    """The reason is group 1."""
    return (_start("-", name) + re.escape(f"{peer} disconnected, proxy protocol source {client}, ")
            + r"[0-9]+\.[0-9]{3} s, " + f"{bytes_in} bytes in, {bytes_out} bytes out, (.+)")


def not_allowed(peer, name="ssh"):
    return _start("?", name) + re.escape(f"{peer} is not allowed to connect")


def bad_header(peer, reason=".+", name="ssh"):
    """reason is a pattern."""
    return (_start("?", name) + re.escape(f"{peer} broke with bad proxy-protocol header: ")
            + reason)


def failed(peer, target, reason, name="ssh", cure=""):
    return (_start("-", name) + re.escape(f"{peer} to {target} failed: {reason}")
            + r", proxy protocol source \S+" + re.escape(cure))


def told(mark, text, name="ssh"):
    """Any line of that listener in which text, a pattern, occurs; mark None is any mark."""
    return _start(mark, name) + f".*{text}.*"
