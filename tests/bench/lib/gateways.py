# SPDX-License-Identifier: BSD-2-Clause
"""
The gateways, each configured for the same work: two workers (or threads), a PROXY protocol
header required from an allowed load balancer, the target reached from the client's address
with a port that the kernel picks, nothing logged about connections, everything else as the
Debian package has it.
"""

import dataclasses
import http.client
import pathlib
import subprocess
import sys
import threading
import time

from lib import box, host

TARGET_PORT = 7000
TARGET = f"127.0.0.1:{TARGET_PORT}"
OWN_ADDRESS = "172.18.1.1"  # of this host, for targets that aren't on loopback
FIRST_PORT = 10000
WORKERS = 2
METRICS_PORT = 9109
SCRAPE_EVERY_S = 1
BESIEGE_RATE = 200
LOAD_BALANCERS = "127.0.0.0/8"  # those of the load generator are 127.1.0.1 to 127.1.0.251


@dataclasses.dataclass
class Setup:
    """What a gateway is started with."""
    directory: pathlib.Path
    listeners: int = 1
    prefixes: tuple = (LOAD_BALANCERS,)
    env: dict = dataclasses.field(default_factory=dict)
    protocol: str = "tcp"
    span: int = 1  # ports of each listener, of mmproxy alone

    def ports(self):
        return range(FIRST_PORT, FIRST_PORT + self.listeners)

    def listen(self, port):
        return f"127.0.0.1:{port}" + (f"-{port + self.span - 1}" if self.span > 1 else "")

    def is_served(self, port):
        return host.has_udp_socket(port) if self.protocol == "udp" else host.is_listening(port)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="ascii")
        return path

    def write_prefixes(self):
        return self.write("allowed", "".join(f"{prefix}\n" for prefix in self.prefixes))


class Gateway:
    """One that can be started; is_gateway False: none, the limit of what can be had."""
    is_gateway = True
    expect_port = False
    header = "v2"

    def __init__(self, name, what):
        self.name = name
        self.what = what  # for the table's legend

    target = TARGET

    def start_target(self, tools, setup):
        """Returns the running Process of the target, listening."""
        process = host.Process([tools / "bench_target", self.target], setup.directory / "target.log")
        host.wait(lambda: process.expect_running() or host.is_listening(TARGET_PORT),
                  "the target listens")
        return process

    def start(self, setup):
        """Returns the running Process, listening, all its workers there."""
        process = host.Process(self.command(setup), setup.directory / f"{self.name}.log", setup.env)
        host.wait(lambda: self._is_ready(process, setup), lambda: f"{self.name}: {process.said()}")
        return process

    def _is_ready(self, process, setup):
        process.expect_running()
        return (len(host.tree(process.pid)) >= self.processes()
                and setup.is_served(setup.ports()[-1]))

    def processes(self):
        """How many it has at least when it serves."""
        return 1 + WORKERS

    def command(self, setup):
        """Writes the configuration; returns the command line."""
        raise NotImplementedError

    def to(self, setup):
        """Where the load generator connects to: the last listener."""
        return f"127.0.0.1:{setup.ports()[-1]}"


class Direct(Gateway):
    is_gateway = False
    header = "none"

    def __init__(self):
        super().__init__("direct", "no gateway: the load generator alone, the limit")

    def start(self, setup):
        return None

    def to(self, setup):
        return TARGET


class Mmproxy(Gateway):
    ready_line = "Remember to set"
    return_path = "loopback"
    place = ""  # of the target, for the legend

    def __init__(self, name, binary, preserve_port=False):
        port = "preserve" if preserve_port else "any"
        super().__init__(name, f"workers = {WORKERS}, client_port = \"{port}\"{self.place}")
        self.binary = binary
        self.port = port
        self.expect_port = preserve_port

    def _is_ready(self, process, setup):
        """The process that tries the target once after the start has come and gone, too."""
        return (self.ready_line in process.said() and super()._is_ready(process, setup)
                and len(host.tree(process.pid)) == self.processes())

    def command(self, setup):
        return [self.binary, "-c", self.configure(setup)]

    def settings(self, setup):
        """More lines of the configuration."""
        return ""

    def configure(self, setup, connect_timeout=5):
        """connect_timeout: something to be changed by a reload."""
        setup.write_prefixes()
        client_port = "preserve" if setup.protocol == "udp" else self.port
        listeners = ",\n".join(f"""  {{ name = "bench-{port}"; listen = "{setup.listen(port)}";
    protocol = "{setup.protocol}";
    allowed_subnets = "allowed"; target_v4 = "{self.target}";
    return_path = "{self.return_path}"; client_port = "{client_port}";
    connect_timeout = {connect_timeout}; }}""" for port in setup.ports())
        return setup.write("mmproxy.conf", f"""\
workers = {WORKERS};
{self.settings(setup)}
log: {{ target = "stderr"; level = "notice"; }};
listeners = (
{listeners}
);
""")


class Exporting(Mmproxy):
    """With metrics, which nobody reads."""

    def __init__(self, name, binary):
        super().__init__(name, binary)
        self.what += ", with metrics"

    def settings(self, setup):
        return f'metrics = "127.0.0.1:{METRICS_PORT}";'

    def processes(self):
        return super().processes() + 1


def scrape():
    connection = http.client.HTTPConnection("127.0.0.1", METRICS_PORT, timeout=host.DEADLINE)
    try:
        connection.request("GET", "/metrics")
        return len(connection.getresponse().read())
    finally:
        connection.close()


class Asked(Exporting):
    """It is asked for something, again and again, while it works."""

    def start(self, setup):
        process = super().start(setup)
        threading.Thread(target=self._ask_on, args=(process, setup), daemon=True).start()
        return process

    def _ask_on(self, process, setup):
        while process.is_running():
            try:
                self.ask(setup)
            except OSError:
                pass  # the run is over

    def ask(self, setup):
        raise NotImplementedError


class Scraped(Asked):
    """Its metrics, every second, as Prometheus would, only more often."""

    def __init__(self, name, binary):
        super().__init__(name, binary)
        self.what += f" that are read every {SCRAPE_EVERY_S} s"

    def ask(self, setup):
        try:
            scrape()
        finally:
            time.sleep(SCRAPE_EVERY_S)


class Listed(Asked):
    """All its sessions, one list after the other."""

    def __init__(self, name, binary):
        super().__init__(name, binary)
        self.what += ", `mmproxyctl sessions` in a loop"

    def settings(self, setup):
        return super().settings(setup) + f' control = "{setup.directory}/control.sock";'

    def ask(self, setup):
        subprocess.run([self.binary.with_name("mmproxyctl"), "-s", setup.directory / "control.sock",
                        "sessions"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=False)


class Besieged(Exporting):
    """Hostile clients come to its metrics and to its control socket."""
    PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "e2e/lib/besiege.py"

    def __init__(self, name, binary):
        super().__init__(name, binary)
        self.what += f" and {BESIEGE_RATE} hostile clients a second at these and the control socket"

    def settings(self, setup):
        return super().settings(setup) + f' control = "{setup.directory}/control.sock";'

    def start(self, setup):
        process = super().start(setup)
        siege = host.Process([sys.executable, "-B", self.PROGRAM, f"--rate={BESIEGE_RATE}",
                              f"--http=127.0.0.1:{METRICS_PORT}",
                              f"--control={setup.directory}/control.sock"],
                             setup.directory / "siege.log")
        threading.Thread(target=self._end_with, args=(process, siege), daemon=True).start()
        return process

    @staticmethod
    def _end_with(process, siege):
        process.popen.wait()
        siege.stop()


class Managed(Mmproxy):
    """With a return path of its own, and so with its own congestion control on it."""
    ready_line = " serves, "

    def __init__(self, name, binary):
        super().__init__(name, binary)
        self.what += ", routing = \"managed\""

    def settings(self, setup):
        return 'routing = "managed";'

    def start(self, setup):
        host.forget_return_path()
        return super().start(setup)


class Fwmark(Managed):
    """The target on another address of this host."""
    return_path = "fwmark"
    place = ", a target on another address of this host"
    target = f"{OWN_ADDRESS}:{TARGET_PORT}"

    def start_target(self, tools, setup):
        host.run_ip(f"address add {OWN_ADDRESS}/32 dev lo")
        return super().start_target(tools, setup)


class Routed(Managed):
    """The target in a network namespace behind a bridge."""
    return_path = "routed"
    place = ", a target in a network namespace behind a bridge"
    target = f"{box.ADDRESS}:{TARGET_PORT}"

    def start_target(self, tools, setup):
        return box.BoxedTarget(tools / "bench_target", setup.directory, TARGET_PORT)


class RuleOnly(Mmproxy):
    """The same way without nftables and mark: all that comes from the bridge is taken. A baseline."""
    return_path = "routed"
    place = f"{Routed.place}, `ip rule add iif br0` in place of nftables and mark"
    target = Routed.target
    start_target = Routed.start_target

    def start(self, setup):
        host.run_ip("rule add iif br0 lookup 100")
        return super().start(setup)


class Haproxy(Gateway):
    def __init__(self, name, options):
        super().__init__(name, f"nbthread {WORKERS}, " + (", ".join(
            f"option {option}" for option in options) or "no splicing"))
        self.options = options

    def processes(self):
        return 1

    def command(self, setup):
        options = "".join(f"    option {option}\n" for option in self.options)
        # Rules on connections come before the header: src is the load balancer still.
        allowed = setup.write_prefixes()
        path = setup.write(f"{self.name}.cfg", f"""\
global
    nbthread {WORKERS}
    maxconn 9200
    maxpipes 128
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
{options}listen bench
{"".join(f"    bind 127.0.0.1:{port} accept-proxy backlog 4096{chr(10)}" for port in setup.ports())}\
    tcp-request connection reject unless {{ src -f {allowed} }}
    source 0.0.0.0 usesrc clientip
    server target {TARGET}
""")
        return ["/usr/sbin/haproxy", "-db", "-f", path]


class Nginx(Gateway):
    def __init__(self):
        super().__init__("nginx", f"stream, worker_processes {WORKERS}, proxy_bind transparent")

    def command(self, setup):
        # Its way to say who may name a client. One that may not is not refused, it is taken
        # for the client itself: less work than the others', if any difference.
        allowed = "".join(f"    set_real_ip_from {prefix};\n" for prefix in setup.prefixes)
        listen = "".join(f"        listen 127.0.0.1:{port} proxy_protocol backlog=4096;\n"
                         for port in setup.ports())
        path = setup.write("nginx.conf", f"""\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
daemon off;
worker_processes {WORKERS};
worker_rlimit_nofile {host.DESCRIPTORS};
pid {setup.directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {host.DESCRIPTORS - 100}; }}
stream {{
{allowed}    server {{
{listen}        proxy_connect_timeout 5s;
        proxy_timeout 1h;
        proxy_bind $remote_addr transparent;
        proxy_pass {TARGET};
    }}
}}
""")
        return ["/usr/sbin/nginx", "-c", path, "-p", setup.directory, "-e", "stderr"]


class GoMmproxy(Gateway):
    """The other mmproxy that Debian has; it always asks for the client's port."""

    def __init__(self):
        super().__init__("go-mmproxy", f"GOMAXPROCS={WORKERS}, the client's port")

    def processes(self):
        return 1

    def command(self, setup):
        allowed = setup.write_prefixes()
        setup.env["GOMAXPROCS"] = str(WORKERS)
        return ["/usr/bin/go-mmproxy", "-l", self.to(setup), "-4", TARGET, "-6", "[::1]:7000",
                "-allowed-subnets", allowed, "-v", "0", "-p", setup.protocol]


def all_gateways(binary, others):
    """By name. others: [(name, path)] of further builds of mmproxy."""
    gateways = [
        Direct(),
        Mmproxy("mmproxy", binary),
        Mmproxy("mmproxy-port", binary, preserve_port=True),
        Exporting("mmproxy-exporting", binary),
        Scraped("mmproxy-scraped", binary),
        Listed("mmproxy-listed", binary),
        Besieged("mmproxy-besieged", binary),
        Managed("mmproxy-managed", binary),
        Fwmark("mmproxy-fwmark", binary),
        Routed("mmproxy-routed", binary),
        RuleOnly("mmproxy-rule", binary),
        Haproxy("haproxy", ()),
        Haproxy("haproxy-splice", ("splice-request", "splice-response")),
        Haproxy("haproxy-auto", ("splice-auto",)),
        Nginx(),
        GoMmproxy(),
        *(Mmproxy(name, path) for name, path in others),
    ]
    return {gateway.name: gateway for gateway in gateways}
