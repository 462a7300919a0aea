# SPDX-License-Identifier: BSD-2-Clause
"""
Hostile connections of every kind, from the load balancer that good clients come through too.
MMPROXY_HOSTILE: how many; tools/soak --hostile makes more of them.
"""

import os

from lib import attack_waves, daemon, footprint

COUNT = int(os.environ.get("MMPROXY_HOSTILE", "2000"))
RATE = 400  # a second


def test_hostile_connections_harm_no_good_client_and_leave_nothing(net, serve, directory):
    gateway = serve(settings={"workers": attack_waves.WORKERS},
                    options={"env": footprint.COMPACT_HEAP | _without_quarantine(directory)}, **attack_waves.LISTENER)
    workers = gateway.workers()
    assert not attack_waves.run(net, gateway, COUNT, RATE)
    assert gateway.workers() == workers


def _without_quarantine(directory):
    """Builds with AddressSanitizer hold freed memory back, hundreds of MB of it, otherwise."""
    usual = daemon.environment(directory)["ASAN_OPTIONS"]
    return {"ASAN_OPTIONS": f"{usual}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
