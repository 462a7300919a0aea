# SPDX-License-Identifier: BSD-2-Clause
"""The Markdown that is printed, and its place in the documentation."""

import os
import pathlib
import re
import statistics
import subprocess

from lib import host, run

OURS = "mmproxy"
NOISY = 0.05  # of a processor, used by others while a run was timed

ANY, PACED, UNPACED = "any", "paced", "unpaced"  # congestion control of the run

# What the project means to reach: mode, congestion control, figure, which of ours, peer (None: the
# figure itself), limit.
GOALS = (
    ("both-4", PACED, "rate", "mmproxy-managed", "haproxy-splice", 1.30),
    ("both-4", PACED, "cpu", "mmproxy-managed", "haproxy-splice", 0.45),
    ("both-4", UNPACED, "all_cpu", OURS, "haproxy-splice", 0.90),
    ("echo-32", ANY, "rate", OURS, "nginx", 1.10),
    ("echo-32", ANY, "all_cpu", OURS, "nginx", 0.90),
    ("echo-32", ANY, "p99", OURS, "nginx", 1.00),
    ("once", ANY, "rate", "mmproxy-port", "nginx", 1.05),
    ("once", ANY, "cpu", "mmproxy-port", "nginx", 0.92),
    ("calls", ANY, "all", "mmproxy-port", None, 20),
    ("idle", ANY, "after_user", OURS, "haproxy", 0.25),
    ("idle", ANY, "after_user", OURS, None, 1.0),
    ("idle", ANY, "after_descriptors", OURS, None, 2.0),
    ("udp-echo-64-32", ANY, "per_cpu", OURS, "go-mmproxy", 3.0),
    ("udp-echo-64-32", ANY, "p99", OURS, "go-mmproxy", 1.0),
    ("udp-echo-1200-1000", ANY, "per_cpu", OURS, "go-mmproxy", 3.0),
    ("udp-flood-1200", ANY, "per_cpu", OURS, "go-mmproxy", 3.0),
    ("udp-idle", ANY, "user", OURS, None, 400),
    ("startup-listeners", ANY, "start", OURS, None, 500),
    ("startup-listeners", ANY, "reload", OURS, None, 500),
    ("startup-ports", ANY, "start", OURS, None, 2000),
    ("startup-ports", ANY, "reload", OURS, None, 2000),
)


def values(rounds, gateway, key):
    """One figure of a gateway, of each round that has it."""
    return [results[gateway][key] for results in rounds
            if results.get(gateway) and key in results[gateway]]


def ratio(rounds, key, peer, own=OURS):
    """Ours to the peer's, of medians; None where one is missing."""
    ours, theirs = values(rounds, own, key), values(rounds, peer, key)
    if not ours or not theirs or statistics.median(theirs) <= 0:
        return None
    return statistics.median(ours) / statistics.median(theirs)


def _cell(found, digits):
    if not found:
        return "–"
    text = f"{statistics.median(found):,.{digits}f}"
    if len(found) > 1:
        text += f" ({min(found):,.{digits}f}–{max(found):,.{digits}f})"
    return text


def _row(mode, rounds, gateway):
    cells = [gateway]
    for figure in mode.figures:
        cells.append(_cell(values(rounds, gateway, figure.key), figure.digits))
        if figure.is_compared and len(rounds[0]) > 1:
            is_peer = gateway not in (OURS, "direct")
            quotient = ratio(rounds, figure.key, gateway) if is_peer else None
            cells.append("" if quotient is None else f"{quotient:.2f}")
    return "| " + " | ".join(cells) + " |"


def _noise(rounds):
    shares = [figures["foreign"] for results in rounds for figures in results.values()
              if figures and "foreign" in figures]
    if not shares:
        return []
    noisy = sum(share > NOISY for share in shares)
    return ["", f"Others used {statistics.median(shares):.0%} of a processor (median; at most "
            f"{max(shares):.0%}); more than {NOISY:.0%} in {noisy} of {len(shares)} runs."]


def table(mode, rounds, failures):
    """rounds: [{gateway: {key: value} or None}]; failures: [(gateway, text)]."""
    head = ["gateway"]
    for figure in mode.figures:
        head.append(figure.title)
        if figure.is_compared and len(rounds[0]) > 1:
            head.append("ours ÷")
    lines = [f"### {mode.title} (`{mode.name}`)" +
             (f", with {host.wanted_congestion}" if host.wanted_congestion else ""), "", "| " + " | ".join(head) + " |",
             "| --- |" + " ---: |" * (len(head) - 1)]
    lines += [_row(mode, rounds, gateway) for gateway in rounds[0]]
    lines += _noise(rounds)
    for gateway, text in failures:
        lines += ["", f"FAILED: {gateway}: {text}"]
    return "\n".join(lines) + "\n"


def _goal_row(modes, results, goal):
    mode_name, _, key, own, peer, limit = goal
    mode, rounds = modes[mode_name], results[mode_name]
    figure = next(figure for figure in mode.figures if figure.key == key)
    if peer:
        had, unit = ratio(rounds, key, peer, own), f" × {peer}"
    else:
        found = values(rounds, own, key)
        had, unit = (statistics.median(found) if found else None), ""
    if had is None:
        return None
    # An open descriptor more or less (a log, a timer) is none of a session's.
    slack = 0.05 if key == "after_descriptors" else 0
    met = had >= limit if figure.more_is_better else had <= limit + slack
    sign = "≥" if figure.more_is_better else "≤"
    return (f"| {mode.title}: {figure.title}, {own} | {sign} {limit:g}{unit} | {had:.2f} | "
            f"{'yes' if met else '**no**'} |")


def goals(modes, results):
    """The last table; empty where nothing of it was measured."""
    paced = PACED if host.is_paced() else UNPACED
    rows = [_goal_row(modes, results, goal) for goal in GOALS
            if goal[0] in results and goal[1] in (ANY, paced)]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    return "\n".join([f"### Goals, with {host.congestion()}", "", "| figure | goal | had | met |", "| --- | ---: | ---: | --- |",
                      *rows]) + "\n"


def _version(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    found = re.search(r"\d+\.\d+\.\d+[^\s]*", done.stdout)
    return found.group() if found else "?"


def _processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def preamble(bench):
    """What was measured, and on what."""
    linux = ".".join(os.uname().release.split(".")[:2])
    lines = [f"{bench.rounds} rounds, {bench.seconds:g} s each after {bench.warm_up:g} s of warm-up, "
             f"on {len(bench.cpus)} processor{'s' if len(bench.cpus) > 1 else ''}"
             f"{' beside one for the gateway alone' if run.cpus_of_gateway else ''} "
             f"({_processor()}), Linux {linux}. "
             f"mmproxy {_version(bench.binary, '--version')}, HAProxy "
             f"{_version('/usr/sbin/haproxy', '-v')}, nginx {_version('/usr/sbin/nginx', '-v')}. {host.describe_network()}",
             "", "Median (lowest–highest) of the rounds. *ours ÷*: mmproxy's median to that "
             "gateway's.", ""]
    lines += [f"- {gateway.name}: {gateway.what}" for gateway in bench.gateways.values()]
    return "\n".join(lines) + "\n"


def write_docs(path, text):
    """Puts text between the page's two marks."""
    page = path.read_text(encoding="utf-8")
    begin, end = "<!-- tools/bench begins -->\n", "<!-- tools/bench ends -->"
    before, rest = page.split(begin)
    path.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end)[1],
                    encoding="utf-8")
