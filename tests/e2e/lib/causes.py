# SPDX-License-Identifier: BSD-2-Clause
"""Every reason why mmproxy serves nobody, caused on purpose, and a ledger of what the figures must be."""

import collections
import http.client
import inspect
import itertools
import threading

from lib import conf, exporter, header, proc, udp
from lib.conn import RST, connect
from lib.topology import LB4, ORIGIN4, STRANGER4
from lib.wait import until

ENDPOINT = "vpce-0123456789abcdef0"
CLOSED_PORT, DROPPED_PORT, CLOSED_UDP_PORT = 23, 24, 54
UNREACHABLE, PROHIBITED = "192.0.2.98", "192.0.2.99"
NEIGHBOUR, NEIGHBOUR_CLIENT = "10.99.0.50", "10.99.0.77"  # in the network of the gateway
PAYLOAD = b"hello"

# For too_many_clients a worker needs 49,152 descriptors: tests/unit/test_admission.c has it. Over UDP
# nothing is waited for: no rest of a header, and no answer to a connect.
NOT_TCP = {"too_many_clients"}
NOT_UDP = NOT_TCP | {"max_pending", "timeout", "target_timeout"}
UDP_LIMIT, UDP_SLACK = 100, 64  # sessions; so many more are there at times

_CLIENTS = itertools.count()


def next_client():
    number = next(_CLIENTS)
    return f"198.18.{number // 200 % 250}.{1 + number % 200}", 20000 + number % 40000


def _tcp(name, port, target_port=conf.SERVICE_PORT, target="127.0.0.1", **keys):
    return conf.listener(**({"name": name, "listen": f"0.0.0.0:{port}", "target_v6": None,
                             "target_v4": f"{target}:{target_port}"} | keys))


def _udp(name, port, target_port=udp.SERVICE_PORT, target="127.0.0.1", **keys):
    return udp.listener(**({"name": name, "listen": f"0.0.0.0:{port}", "target_v6": None,
                            "target_v4": f"{target}:{target_port}"} | keys))


def listeners(udp_limit=UDP_LIMIT, **keys):
    """One for each reason that needs a configuration of its own."""
    return [each | keys for each in (
        conf.listener(target_v6=None),
        _tcp("full", 2301, max_sessions=1),
        _tcp("each", 2302, max_sessions_per_client=1),
        _tcp("pending", 2303, max_pending=1),
        _tcp("endpoints", 2304, endpoints=[ENDPOINT]),
        _tcp("slow", 2305, header_timeout=1),
        _tcp("refused", 2306, CLOSED_PORT),
        _tcp("dropped", 2307, DROPPED_PORT, connect_timeout=1),
        _tcp("unreachable", 2308, target=UNREACHABLE),
        _tcp("prohibited", 2309, target=PROHIBITED),
        _tcp("neighbour", 2310, target=NEIGHBOUR),
        _tcp("port", 2311, "header", header_ports="9000"),
        _udp("dns", 5300),
        _udp("dns-each", 5302, max_sessions_per_client=1),
        _udp("dns-full", 5301, max_sessions=udp_limit),
        _udp("dns-endpoints", 5304, endpoints=[ENDPOINT]),
        _udp("dns-refused", 5306, CLOSED_UDP_PORT),
        _udp("dns-unreachable", 5308, target=UNREACHABLE),
        _udp("dns-prohibited", 5309, target=PROHIBITED),
        _udp("dns-lost", 5310),
        _udp("dns-neighbour", 5311, target=NEIGHBOUR),
        _udp("dns-port", 5312, "header", header_ports="9000"))]


PORTS = {each["name"]: int((each["listen"] if isinstance(each["listen"], str)
                            else each["listen"][0]).rpartition(":")[2]) for each in listeners()}


def prepare(namespace):
    """What the network of the gateway needs so that some targets fail in their way."""
    namespace.ip(f"route add unreachable {UNREACHABLE}/32", f"route add prohibit {PROHIBITED}/32")
    namespace.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(DROPPED_PORT), "-j", "DROP")
    namespace.run("iptables", "-A", "OUTPUT", "-p", "udp", "--sport", str(PORTS["dns-lost"]),
                  "-j", "DROP")


class Ledger:
    """What has been done, by listener: the figures must say the same."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = collections.defaultdict(collections.Counter)

    def add(self, listener, **counts):
        with self._lock:
            self._counts[listener].update(counts)

    def refused(self, listener, reason, **counts):
        self.add(listener, **{f"refused_{reason}": 1}, **counts)

    def of(self, listener):
        with self._lock:
            return +self._counts[listener]

    def reasons(self, names):
        return {key.removeprefix("refused_") for name in names for key in self.of(name)
                if key.startswith("refused_")}


def figures(namespace):
    """The same as the exporter has it: by listener, what is not 0."""
    found = collections.defaultdict(collections.Counter)
    words = {"mmproxy_connections_total": "accepted", "mmproxy_sessions_total": "served",
             "mmproxy_health_checks_total": "health_checks",
             "mmproxy_connect_duration_seconds_count": "connects"}
    for (name, labels), value in exporter.Figures(namespace).samples.items():
        labels = dict(labels)
        if name in words:
            found[labels["listener"]][words[name]] = int(value)
        elif name == "mmproxy_refused_total":
            found[labels["listener"]]["refused_" + labels["reason"]] = int(value)
        elif name == "mmproxy_bytes_total":
            found[labels["listener"]]["bytes_" + labels["direction"]] = int(value)
    return {name: +counts for name, counts in found.items()}


class Causes:
    """Each function causes its reason once and notes it in the ledger."""

    def __init__(self, net, ledger):
        self.net, self.ledger = net, ledger
        # What must not straddle a reload: two sessions that are counted together.
        self.calm = threading.Lock()

    def dial(self, name, source=None):
        return connect(self.net.lb, ORIGIN4, PORTS[name], source=source)

    def _reset(self, name, reason, data=b"", source=None, **counts):
        conn = self.dial(name, source)
        if data:
            conn.send(data)
        conn.expect_end(RST)
        conn.close()
        self.ledger.refused(name, reason, accepted=1, **counts)

    def session(self, name="ssh", client=None, head=None, **counts):
        """One that is open and has been there and back."""
        conn = self.dial(name)
        conn.send((head or header.v1(*(client or next_client()))) + PAYLOAD)
        assert conn.recv(len(PAYLOAD)) == PAYLOAD
        self.ledger.add(name, accepted=1, served=1, connects=1, bytes_in=len(PAYLOAD),
                        bytes_out=len(PAYLOAD), **counts)
        return conn

    def _wait_empty(self, name):
        """A session that has ended is one no more."""
        until(lambda: self._figure("sessions_active", listener=name) == 0, f"no session of {name}")

    def _figure(self, name, **labels):
        """None while one exporter takes the place of another."""
        try:
            return exporter.Figures(self.net.origin).get(name, **labels)
        except (OSError, http.client.HTTPException):
            return None

    # --- TCP

    def served(self):
        self.session().close()

    def health_check(self):
        self.dial("ssh").close()
        self.ledger.add("ssh", accepted=1, health_checks=1)

    def health_check_session(self):
        self.session(head=header.v2_local(), health_checks=1).close()

    def not_allowed(self):
        self._reset("ssh", "not_allowed", source=STRANGER4)

    def local_client(self):
        self._reset("ssh", "local_client", header.v1("127.0.0.1", 1))

    def impossible_client(self):
        self._reset("ssh", "impossible_client", header.v2("fe80::1", 1))

    def neighbour_client(self):
        self._reset("neighbour", "neighbour_client", header.v1(NEIGHBOUR_CLIENT, 1))

    def no_target(self):
        self._reset("ssh", "no_target", header.v2("2001:db8::7", 1))

    def wrong_port(self):
        self._reset("port", "wrong_port", header.v1(*next_client()))

    def bad_header(self):
        self._reset("ssh", "bad_header", b"GET / HTTP/1.0\r\n\r\n")

    def peer_lost(self):
        conn = self.dial("ssh")
        ends = ("state", "established", "src", f"{ORIGIN4}:{conn.peer_port}",
                "dst", f"{LB4}:{conn.port}")
        until(lambda: "users:" in "".join(self.net.origin.ss("-tnp", *ends)), "it to be accepted")
        self.net.origin.run("ss", "-K", "-tn", *ends)
        conn.expect_end(RST)
        conn.close()
        self.ledger.refused("ssh", "peer_lost", accepted=1)

    def wrong_endpoint(self):
        self._reset("endpoints", "wrong_endpoint", header.v2(*next_client()))

    def no_client(self):
        self._reset("endpoints", "no_client", header.v2_local(), health_checks=1)

    def timeout(self):
        self._reset("slow", "timeout")

    def target_refused(self):
        self._reset("refused", "target_refused", header.v1(*next_client()))

    def target_timeout(self):
        self._reset("dropped", "target_timeout", header.v1(*next_client()))

    def target_unreachable(self):
        self._reset("unreachable", "target_unreachable", header.v1(*next_client()))

    def target_failed(self):
        self._reset("prohibited", "target_failed", header.v1(*next_client()))

    def max_sessions(self):
        with self.calm:
            first = self.session("full")
            self._reset("full", "max_sessions")
            first.close()
            self._wait_empty("full")

    def max_sessions_per_client(self):
        with self.calm:
            client = next_client()
            first = self.session("each", client)
            self._reset("each", "max_sessions_per_client", header.v1(client[0], 7))
            first.close()
            self._wait_empty("each")

    def max_pending(self):
        """The first of two that say nothing goes; the other one was a health check."""
        with self.calm:
            first = self.dial("pending")
            until(lambda: self._figure("sessions_pending", listener="pending") == 1,
                  "a pending session")
            second = self.dial("pending")
            first.expect_end(RST)
            first.close()
            second.close()
            self._wait_empty("pending")
        self.ledger.refused("pending", "max_pending", accepted=2, health_checks=1)

    # --- UDP

    def _datagram(self, name, data, source=None):
        """A socket that has sent it."""
        balancer = udp.Balancer(self.net.lb, ORIGIN4, PORTS[name], source)
        balancer.send(data)
        return balancer

    def _dropped(self, name, reason, data, source=None, **counts):
        self._datagram(name, data, source).close()
        self.ledger.refused(name, reason, **counts)

    def _answered(self, name, client):
        head = udp.v2(*client)
        balancer = self._datagram(name, head + PAYLOAD)
        assert balancer.recv() == PAYLOAD
        balancer.close()
        self.ledger.add(name, accepted=1, served=1, bytes_in=len(PAYLOAD), bytes_out=len(PAYLOAD))

    def udp_served(self):
        self._answered("dns", next_client())

    def udp_health_check(self):
        balancer = self._datagram("dns", header.v2_local() + PAYLOAD)
        assert balancer.recv() == PAYLOAD
        balancer.close()
        self.ledger.add("dns", accepted=1, served=1, health_checks=1, bytes_in=len(PAYLOAD),
                        bytes_out=len(PAYLOAD))

    def udp_not_allowed(self):
        self._dropped("dns", "not_allowed", udp.v2(*next_client()), STRANGER4)

    def udp_bad_header(self):
        self._dropped("dns", "bad_header", b"\0\1\2\3")

    def udp_local_client(self):
        self._dropped("dns", "local_client", udp.v2("127.0.0.1", 1), accepted=1)

    def udp_impossible_client(self):
        self._dropped("dns", "impossible_client", udp.v2("fe80::1", 1), accepted=1)

    def udp_neighbour_client(self):
        self._dropped("dns-neighbour", "neighbour_client", udp.v2(NEIGHBOUR_CLIENT, 1), accepted=1)

    def udp_no_target(self):
        self._dropped("dns", "no_target", udp.v2("2001:db8::7", 1), accepted=1)

    def udp_wrong_port(self):
        self._dropped("dns-port", "wrong_port", udp.v2(*next_client()), accepted=1)

    def udp_max_sessions_per_client(self):
        with self.calm:
            address, port = next_client()
            self._answered("dns-each", (address, port))
            self._dropped("dns-each", "max_sessions_per_client", udp.v2(address, port + 1),
                          accepted=1)
            self._wait_refused("dns-each", "max_sessions_per_client")

    def udp_fill(self):
        """Sessions for udp_max_sessions, in workers that are stopped before that."""
        for _ in range(UDP_SLACK + 2):
            self._answered("dns-full", next_client())

    def udp_max_sessions(self):
        """With a limit of 1: the sessions silent longest would end, but their workers do nothing."""
        self._dropped("dns-full", "max_sessions", udp.v2(*next_client()), accepted=1)
        self._wait_refused("dns-full", "max_sessions")

    def _wait_refused(self, name, reason):
        wanted = self.ledger.of(name)[f"refused_{reason}"]
        until(lambda: self._figure("refused_total", listener=name, reason=reason) == wanted,
              f"{wanted} {reason} at {name}")

    def udp_wrong_endpoint(self):
        self._dropped("dns-endpoints", "wrong_endpoint", udp.v2(*next_client()))

    def udp_no_client(self):
        self._dropped("dns-endpoints", "no_client", header.v2_local())

    def udp_target_refused(self):
        self._dropped("dns-refused", "target_refused", udp.v2(*next_client()) + PAYLOAD,
                      accepted=1, served=1, bytes_in=len(PAYLOAD))

    def udp_target_unreachable(self):
        self._dropped("dns-unreachable", "target_unreachable", udp.v2(*next_client()), accepted=1)

    def udp_target_failed(self):
        self._dropped("dns-prohibited", "target_failed", udp.v2(*next_client()), accepted=1)

    def udp_peer_lost(self):
        self._dropped("dns-lost", "peer_lost", udp.v2(*next_client()) + PAYLOAD, accepted=1,
                      served=1, bytes_in=len(PAYLOAD))

    def all(self):
        """All functions of the two parts above."""
        names = [name for name, kind in vars(Causes).items() if inspect.isfunction(kind)]
        first, last = names.index("served"), names.index("udp_peer_lost")
        return [getattr(self, name) for name in names[first:last + 1]
                if not name.startswith("_") and name not in ("udp_fill", "udp_max_sessions")]

    # --- with a call that fails: for a moment in which nothing else happens

    def no_resources(self, faults, workers):
        """Of two workers one stands still, so the other one gets the connection."""
        with proc.stopped(workers[0]):
            faults.arm("calloc", "ENOMEM", pid=workers[1])
            self._reset("ssh", "no_resources")
            assert faults.disarm() == 1

    def udp_no_resources(self, faults, workers):
        """The client's port says which worker gets a datagram."""
        faults.arm("calloc", "ENOMEM", pid=workers[1])
        while True:
            balancer = self._datagram("dns", udp.v2(*next_client()) + PAYLOAD)
            until(lambda: faults.failed or not balancer.is_silent(), "a verdict")
            balancer.close()
            if faults.failed:
                break
            self.ledger.add("dns", accepted=1, served=1, bytes_in=len(PAYLOAD),
                            bytes_out=len(PAYLOAD))
        assert faults.disarm() == 1
        self.ledger.refused("dns", "no_resources", accepted=1)
