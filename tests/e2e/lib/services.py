# SPDX-License-Identifier: BSD-2-Clause
"""Real programs from Debian, each started in a namespace of the test with files of its own."""

import subprocess

from lib import proc
from lib.wait import DEADLINE, until


class Service:
    """A program in the foreground; ready when it listens on all the ports."""

    def __init__(self, namespace, argv, ports, output):
        self._output = output
        with open(output, "wb") as file:
            self._process = subprocess.Popen(namespace.argv(*argv), stdin=subprocess.DEVNULL,
                                             stdout=file, stderr=file)
        try:
            until(lambda: self._is_up(namespace, ports),
                  lambda: f"{argv[0]} to listen: {output.read_text()}")
        except BaseException:  # interrupted, too
            self.stop()
            raise

    def _is_up(self, namespace, ports):
        assert self._process.poll() is None, self._output.read_text()
        return all(map(namespace.is_listening, ports))

    def stop(self):
        # Those of sshd's sessions live on until the network tells them that the client is gone.
        children = proc.children(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in filter(proc.is_alive, children):
            proc.kill(pid)


def certificate(directory):
    """A self-signed certificate and its key in one file, as HAProxy wants it."""
    path = directory / "front.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=front.example.org", "-keyout", str(path), "-out", f"{path}.crt"],
                   check=True, capture_output=True)
    path.write_text(path.read_text() + (directory / "front.pem.crt").read_text())
    return path


def haproxy(namespace, directory, sections, ports):
    path = directory / "haproxy.cfg"
    path.write_text(f"""
global
    stats socket {directory}/haproxy.sock mode 600 level admin
defaults
    mode tcp
    timeout connect {DEADLINE:.0f}s
    timeout client 60s
    timeout server 60s
{sections}""")
    return Service(namespace, ["haproxy", "-db", "-f", path], ports, directory / "haproxy.log")


def nginx(namespace, directory, name, sections, ports, preamble=""):
    """name: its files'; sections: the http or stream block; preamble: what comes first."""
    path = directory / f"{name}.conf"
    path.write_text(f"""
{preamble}
user root;
daemon off;
master_process on;
worker_processes 1;
pid {directory}/{name}.pid;
error_log {directory}/{name}.error notice;
events {{ worker_connections 512; }}
{sections}""")
    temporary = directory / name
    temporary.mkdir()
    return Service(namespace, ["nginx", "-c", path, "-p", temporary, "-e", "stderr"], ports,
                   directory / f"{name}.log")


def web(namespace, directory):
    """A web server on loopback; access.log has a line "ADDRESS PORT URI" for each request."""
    temp = "".join(f"    {kind}_temp_path {directory}/{kind};\n" for kind in
                   ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return nginx(namespace, directory, "web", f"""
http {{
    log_format who '$remote_addr $remote_port $request_uri';
    access_log {directory}/access.log who;
{temp}    server {{
        listen 127.0.0.1:80;
        listen [::1]:80;
        location / {{ return 200 "you are $remote_addr\\n"; }}
    }}
}}
""", [80])


def sshd(namespace, directory, addresses=("127.0.0.1", "[::1]")):
    """
    An SSH server on port 22 whose log is sshd.log; root may log in with the key client_key.
    """
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                        str(directory / name)], check=True)
    path = directory / "sshd_config"
    listen = "".join(f"ListenAddress {each}:22\n" for each in addresses)
    path.write_text(f"""
{listen}HostKey {directory}/host_key
PidFile none
LogLevel VERBOSE
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
AuthorizedKeysFile {directory}/client_key.pub
""")
    # sshd wants a directory there that Debian makes at start only; in a private /run.
    start = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$@\""
    return Service(namespace, ["unshare", "--mount", "sh", "-c", start, "sh", "/usr/sbin/sshd",
                               "-D", "-f", path, "-E", directory / "sshd.log"],
                   [22], directory / "sshd.out")


def ssh(namespace, directory, address, port, user, *command):
    """Runs ssh to its end: an object with returncode and stdout."""
    argv = ["ssh", "-F", "none", "-i", directory / "client_key", "-p", port, "-l", user,
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
            address, *command]
    return subprocess.run(namespace.argv(*argv), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False)


def get(namespace, address, port, path):
    """An HTTP request; returns the body."""
    host = f"[{address}]" if ":" in address else address
    return namespace.run("curl", "-sS", "--noproxy", "*", "-m", DEADLINE,
                         f"http://{host}:{port}{path}")
