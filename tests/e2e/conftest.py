# SPDX-License-Identifier: BSD-2-Clause
"""
End-to-end tests: the real binary in private network namespaces, needs root.

MMPROXY_BIN names the binary (build/release/mmproxy by default); a build with sanitizers
fails the test that made them report. MMPROXY_E2E_DEADLINE: seconds to wait for anything.
MMPROXY_TEST_CONGESTION: the congestion control of the namespaces, such as reno.
MMPROXY_E2E_CUTOFFS: sessions of each kind that are cut off in test_cut_off_transfer.py.
"""

import os
import pathlib
import shutil
import tempfile

import pytest

from lib import conf, daemon, routing, udp
from lib.conn import connect
from lib.manual_clock import ManualClock
from lib.target import EchoTarget, Target
from lib.topology import LOOPBACK_OF, ORIGIN_OF, Topology


pytest_plugins = ["lib.progress"]


def pytest_configure():
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: they make network namespaces", 4)
    if not os.access(daemon.BINARY, os.X_OK):
        pytest.exit(f"no binary at {daemon.BINARY}: build it, or set MMPROXY_BIN", 4)
    os.umask(0o022)  # what the service user is to read is not hidden from it


@pytest.fixture(scope="session", autouse=True)
def runnable_binary():
    """A copy of the binary: the clone may be where the service user may not enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mmproxy-e2e-binary-"))
    path.chmod(0o755)
    copy = shutil.copy(daemon.BINARY, path / "mmproxy")
    os.chmod(copy, 0o755)
    daemon.BINARY = str(copy)
    yield
    shutil.rmtree(path)


@pytest.fixture
def directory():
    """For files of the test; unlike tmp_path the service user may enter and write."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mmproxy-e2e-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def plain_net():
    """Namespaces lb and origin, with no return path yet."""
    topology = Topology()
    yield topology
    topology.close()


@pytest.fixture
def origin(plain_net):
    """Without a return path, but for the empty tables that iptables makes once and leaves."""
    routing.create_mangle(plain_net.origin)
    routing.stop_pacing(plain_net.origin)
    return plain_net.origin


@pytest.fixture
def net(plain_net):
    """Namespaces lb and origin; replies to any client find back to targets on loopback."""
    plain_net.return_path_loopback()
    return plain_net


@pytest.fixture
def launch(directory):
    """launch(namespace, *arguments): a mmproxy that is judged and gone after the test."""
    started = []

    def start(namespace, *arguments, **options):
        started.append(daemon.Daemon(namespace, arguments, directory, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def clock(launch, directory):
    """For a daemon started with env=clock.environment; it runs again when that is to end."""
    made = ManualClock(directory)
    yield made
    made.run()


@pytest.fixture
def serve(net, launch, directory):
    """serve(workers=1, subnets=..., **listener keys): one listener "ssh" that is ready."""

    def start(subnets=None, settings=None, options=None, **keys):
        listener = conf.listener(**keys)
        more = {"workers": 1} | (settings or {})
        if subnets is not None:
            more["subnets"] = subnets
        gateway = launch(net.origin, "-c", conf.write(directory, [listener], **more),
                         **(options or {}))
        addresses = listener["listen"]
        gateway.wait_listening(*([addresses] if isinstance(addresses, str) else addresses))
        gateway.wait_workers(more["workers"])
        return gateway

    return start


@pytest.fixture
def target(net):
    """target(version=4, ...): a service on the origin's loopback, driven by the test."""
    yield from _targets(net, Target)


@pytest.fixture
def echo(net):
    """echo(version=4, ...): a service that sends back what it gets."""
    yield from _targets(net, EchoTarget)


def _targets(net, kind):
    made = []

    def make(version=4, port=conf.SERVICE_PORT, **options):
        made.append(kind(net.origin, LOOPBACK_OF[version], port, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def dial(net):
    """dial(version=4, ...): a connection from the load balancer to the gateway."""
    made = []

    def make(version=4, port=conf.PORT, **options):
        made.append(connect(net.lb, ORIGIN_OF[version], port, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def session(dial):
    """session(target, header, ...): both ends of a session, (load balancer's, service's)."""
    made = []

    def make(service, header, version=4, **options):
        peer = dial(version, **options)
        peer.send(header)
        made.append(service.accept())
        return peer, made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def real_net():
    """As net, with a client of its own namespace: for real load balancers and services."""
    topology = Topology(with_client=True)
    topology.return_path_loopback()
    yield topology
    topology.close()


@pytest.fixture
def gateway(real_net, launch, directory):
    """Listeners "ssh" on 2222 and "web" on 8080, two workers."""
    listeners = [conf.listener(), conf.listener(
        name="web", listen=["0.0.0.0:8080", "[::]:8080"], target_v4="127.0.0.1:80",
        target_v6="[::1]:80")]
    started = launch(real_net.origin, "-c", conf.write(directory, listeners, workers=2))
    started.wait_listening(*conf.LISTEN)
    started.wait_listening("0.0.0.0:8080", "[::]:8080", name="web")
    return started


@pytest.fixture
def start(request):
    """start(service): stopped after the test."""
    def keep(service):
        request.addfinalizer(service.stop)
        return service
    return keep


@pytest.fixture
def udp_listener(net, launch, directory):
    """udp_listener(mode, workers=1, **listener keys): a UDP listener "dns" that is ready."""
    def start(mode="every", workers=1, **keys):
        path = conf.write(directory, [udp.listener(mode, **keys)], workers=workers)
        gateway = launch(net.origin, "-c", path)
        gateway.wait_workers(workers)
        return gateway
    return start


@pytest.fixture
def service(net):
    """service(version=4, kind=udp.Service, address=None)"""
    made = []

    def make(version=4, kind=udp.Service, address=None):
        made.append(kind(net.origin, address or LOOPBACK_OF[version], udp.SERVICE_PORT))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def balancer(net):
    """balancer(link=4): a load balancer's socket towards the listener."""
    made = []

    def make(link=4, port=udp.PORT, **options):
        made.append(udp.Balancer(net.lb, ORIGIN_OF[link], port, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def udp_clients(net, service):
    """udp_clients(mode, size=32): clients in front of an echo service."""
    made = []

    def make(mode, size=32):
        made.append(udp.Clients(net, mode, service(kind=udp.Echo), size))
        return made[-1]

    yield make
    for each in made:
        each.close()
