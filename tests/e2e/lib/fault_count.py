# SPDX-License-Identifier: BSD-2-Clause
"""
How many faults --check names, and how many of them its commands mend. The tests make each of them.

    PYTHONPATH=tests/e2e python3 -m lib.fault_count    prints what stands in docs/troubleshooting.md
"""

import collections

from lib import healthy_hosts
from lib import return_path_faults as faults

KINDS = {"flows": faults.FLOWS, "routed": faults.ROUTED | faults.ROUTED_UDP,
         "netns": faults.NETNS | faults.NETNS_MARK | faults.NETNS_FLOWS}


def _all():
    """(return path, name, why the commands do not mend it) of each."""
    for name, fault in faults.LOCAL.items():
        yield "connmark" if fault.method == "connmark" else "fwmark, loopback", name, fault.unmended
    for path, table in KINDS.items():
        for name, fault in table.items():
            yield path, name, fault.unmended
    for name in (*faults.SERVICE, *faults.SOCKETS):
        yield "all of them: the service itself", name, faults.SERVICE_ITSELF
    for name in faults.PUBLISHED:
        yield "all of them: published ports", f"published by {name}", faults.SERVICE_ITSELF


def count():
    """The table of docs/troubleshooting.md."""
    named, mended, reasons = collections.Counter(), collections.Counter(), {}
    for path, name, unmended in _all():
        named[path] += 1
        mended[path] += not unmended
        if unmended:
            reasons.setdefault(unmended, []).append(f"*{name}*")
    return "\n".join([
        "| return path | faults | named | mended |", "| --- | --- | --- | --- |",
        *(f"| {path} | {n} | {n} | {mended[path]} |" for path, n in named.items()),
        f"| together | {named.total()} | {named.total()} | {mended.total()} |", "",
        "What the commands do not mend is named with what to do:", "",
        *(f"- {reason}: {', '.join(names)}" for reason, names in reasons.items()), "",
        f"{len(healthy_hosts.CASES)} hosts have nothing wrong with them ({len(healthy_hosts.HEALTHY)} "
        f"kinds, with {', '.join(healthy_hosts.METHODS)}): `--check` finds nothing there.", ""])


if __name__ == "__main__":
    print(count(), end="")
