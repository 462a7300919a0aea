# SPDX-License-Identifier: BSD-2-Clause
"""
Hostile connections of every kind, from the load balancer that good clients come through too.
MMPROXY_HOSTILE: how many; tools/soak --hostile makes more of them.
"""

import os

from lib import attack_waves, footprint

COUNT = int(os.environ.get("MMPROXY_HOSTILE", "2000"))
RATE = 400  # a second


def test_hostile_connections_harm_no_good_client_and_leave_nothing(net, serve, directory):
    gateway = serve(settings={"workers": attack_waves.WORKERS},
                    options={"env": footprint.COMPACT_HEAP | footprint.without_quarantine(directory)}, **attack_waves.LISTENER)
    workers = gateway.workers()
    assert not attack_waves.run(net, gateway, COUNT, RATE)
    assert gateway.workers() == workers
