# SPDX-License-Identifier: BSD-2-Clause
"""What the exporter serves, as a client of it sees it."""

import http.client
import json
import re

from lib.wait import DEADLINE

PORT = 9109
ADDRESS = f"127.0.0.1:{PORT}"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? ([0-9.e+-]+)')


class _Connection(http.client.HTTPConnection):
    """Made inside a namespace."""

    def __init__(self, namespace, port):
        super().__init__("127.0.0.1", port, timeout=DEADLINE)
        self._namespace = namespace

    def connect(self):
        self.sock = self._namespace.socket(2)
        self.sock.settimeout(DEADLINE)
        self.sock.connect((self.host, self.port))


def get(namespace, path, method="GET", port=PORT, body=None, **headers):
    """returns: status, headers and body as text. headers: accept=..."""
    connection = _Connection(namespace, port)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def parse(text):
    """Every sample: (name, sorted labels) to its value."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        key = name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels or "")))
        assert key not in found, f"twice: {line}"
        found[key] = float(value)
    return found


class Figures:
    """One scrape."""

    def __init__(self, namespace, port=PORT):
        status, _, text = get(namespace, "/metrics", port=port)
        assert status == 200
        self.samples = parse(text)

    def get(self, name, **labels):
        return self.samples.get((f"mmproxy_{name}", tuple(sorted(labels.items()))))

    def refused(self, listener):
        """By reason, those that have occurred."""
        return {dict(labels)["reason"]: value for (name, labels), value in self.samples.items()
                if name == "mmproxy_refused_total" and value > 0
                and dict(labels)["listener"] == listener}

    def counters(self):
        return {key: value for key, value in self.samples.items()
                if re.search(r"_(total|bucket|count|sum)$", key[0])}


def status(namespace):
    code, _, text = get(namespace, "/status.json")
    assert code == 200
    return json.loads(text)
