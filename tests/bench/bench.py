# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark itself. tools/bench installs, builds, and runs it as root, isolated."""

import argparse
import json
import os
import pathlib
import sys
import time

from lib import charts, datagrams, gateways, host, modes, report, run, selftest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODES = modes.MODES + datagrams.MODES

# --docs: ten minutes of what says most, with the host's own congestion control and without pacing.
DOCS_MODES = ("both-4,echo-32,once,calls,idle,startup-listeners,"
              "udp-echo-64-32,udp-echo-1200-1000,udp-flood-1200,udp-idle")
DOCS_UNPACED_MODES = "both-4,echo-32,once"
DOCS_WITHOUT = ("haproxy-auto",)
CHARTS = {"both-4": ("rate", "all_cpu"), "echo-32": ("rate", "all_cpu"), "once": ("rate", "cpu"),
          "calls": ("all",), "idle": ("after_user",), "udp-echo-64-32": ("rate", "per_cpu")}


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="Measures mmproxy side by side with HAProxy, nginx and a "
        "direct connection, and prints Markdown tables.",
        epilog="A run whose bytes or source addresses are wrong has no figures: it is reported as "
        "FAILED, and the exit status is 1.")
    parser.add_argument("--quick", action="store_true",
                        help="one short round: does it all work? The figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="rounds, all gateways in each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3, metavar="S",
                        help="that a run is timed (%(default)g)")
    parser.add_argument("--modes", metavar="A,B", help="only these (--list names them); a name "
                        "that ends in * stands for all that begin so")
    parser.add_argument("--gateways", metavar="A,B", help="only these, in every mode")
    parser.add_argument("--mmproxy", metavar="NAME=PATH", action="append", default=[],
                        help="a further build of mmproxy, measured in every mode")
    parser.add_argument("--congestion", metavar="NAME", help="TCP congestion control of the runs, "
                        "such as reno (default: the host's own)")
    parser.add_argument("--cpus", metavar="A,B", help="processors to run everything on (the "
                        "first two: gateways have two workers)")
    parser.add_argument("--apart", action="store_true", help="gateways have one worker, alone on "
                        "the first of the processors; target and load generator have the others")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="keep every run's figures")
    parser.add_argument("--write-docs", action="store_true",
                        help="put the tables into docs/performance.md")
    parser.add_argument("--docs", action="store_true", help="a selection of modes, with the host's "
                        "own congestion control and with reno, tables and charts into the "
                        "documentation: ten minutes")
    parser.add_argument("--list", action="store_true", help="list modes and gateways, and exit")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, default=ROOT / "build/bench",
                        help=argparse.SUPPRESS)
    return parser.parse_args()


class Bench:
    """What is to be done, and what has come of it."""

    def __init__(self, args):
        self.quick = args.quick
        self.rounds = 1 if args.quick else args.rounds
        self.seconds = 0.3 if args.quick else args.seconds
        self.warm_up = 0.2 if args.quick else 0.3 if args.docs else 0.7
        self.steady_rounds = 1 if args.docs else self.rounds
        self.binary = args.build / "mmproxy"
        self.tools = args.build / "tests/bench"
        self.cpus = list(args.cpus)
        if args.apart:
            gateways.WORKERS = 1
            run.cpus_of_gateway = {self.cpus.pop(0)}
        others = [tuple(text.split("=", 1)) for text in args.mmproxy]
        known = gateways.all_gateways(self.binary, others)
        self.modes = self._choose_modes(args.modes)
        self._only = args.gateways.split(",") if args.gateways else None
        self._others = [name for name, _ in others]
        self._without = DOCS_WITHOUT if args.docs else ()
        unknown = [name for name in self._only or () if name not in known]
        if unknown:
            sys.exit(f"tools/bench: unknown gateway: {unknown[0]} ({', '.join(known)})")
        self._known = known
        names = {name for mode in self.modes.values() for name in self.names(mode)}
        self.gateways = {name: known[name] for name in known if name in names}
        self.results = {}
        self.failures = {}

    @staticmethod
    def _choose_modes(wanted):
        known = {mode.name: mode for mode in MODES}
        if not wanted:
            return known
        chosen = {}
        for pattern in wanted.split(","):
            names = [name for name in known if name == pattern or
                     (pattern.endswith("*") and name.startswith(pattern[:-1]))]
            if not names:
                sys.exit(f"tools/bench: unknown mode: {pattern} ({', '.join(known)})")
            chosen.update((name, known[name]) for name in names)
        return chosen

    def names(self, mode):
        """The gateways measured in that mode."""
        if self._only and isinstance(mode, modes.Startup):
            return [name for name in self._only if name.startswith("mmproxy")] + self._others
        names = [name for name in self._only or mode.gateways if name not in self._without]
        return names + self._others

    def run_mode(self, mode):
        """Interleaved: what disturbs a round disturbs all gateways alike."""
        rounds, failures = [], []
        n_rounds = self.steady_rounds if mode.is_steady else self.rounds
        for number in range(1, n_rounds + 1):
            results = {}
            for name in self.names(mode):
                progress(f"{mode.name}: round {number} of {n_rounds}: {name}")
                try:
                    results[name] = mode.measure(self, self.gateways[name])
                except host.Failure as failure:
                    results[name] = None
                    failures.append((name, str(failure)))
            mode.finish_round(results)
            rounds.append(results)
        progress("")
        self.results[mode.name] = rounds
        self.failures[mode.name] = failures
        return report.table(mode, rounds, failures)


def progress(text):
    """One line that is overwritten; nothing where nobody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def show_list():
    print("Modes:")
    for mode in MODES:
        print(f"  {mode.name:18} {mode.title}")
    print("\nGateways:")
    for gateway in gateways.all_gateways("", []).values():
        print(f"  {gateway.name:18} {gateway.what}")


def measure(args):
    """Prints as it goes. Returns (the Bench, the goals, the tables)."""
    bench = Bench(args)
    os.sched_setaffinity(0, bench.cpus)
    tables = [report.preamble(bench)]
    print(tables[0], flush=True)
    for mode in bench.modes.values():
        tables.append(bench.run_mode(mode))
        print(tables[-1], flush=True)
    goals = report.goals(bench.modes, bench.results)
    print(goals)
    return bench, goals, "\n".join(tables)


def measure_for_docs(args):
    """Twice: as the host is, and without pacing. Returns two of measure()."""
    args.seconds = min(args.seconds, 0.8)
    args.modes, done = DOCS_MODES, []
    done.append(measure(args))
    host.wanted_congestion = "reno"
    args.modes = DOCS_UNPACED_MODES
    done.append(measure(args))
    return done


def write_charts(folder, bench):
    """Returns the lines that show them."""
    links = []
    for name, keys in CHARTS.items():
        picture = name in bench.results and charts.draw(bench.modes[name], bench.results[name], keys)
        if picture:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
            title = bench.modes[name].title
            links += [f"**{title}**", "", f"![{title}]({folder.name}/{name}.svg)", ""]
    return "\n".join(links)


def main():
    args = arguments()
    if args.list:
        show_list()
        return 0
    host.wanted_congestion = args.congestion
    args.cpus = ([int(cpu) for cpu in args.cpus.split(",")] if args.cpus
                 else sorted(os.sched_getaffinity(0))[:2])
    if args.apart and len(args.cpus) < 2:
        sys.exit("tools/bench: --apart needs two processors")
    host.raise_descriptor_limit()
    selftest.check(Bench(args).tools)

    began = time.monotonic()
    done = measure_for_docs(args) if args.docs else [measure(args)]
    print(f"Done in {time.monotonic() - began:.0f} s.", file=sys.stderr)

    if args.json:
        results = [bench.results for bench, _, _ in done]
        args.json.write_text(json.dumps(results if args.docs else results[0], indent=1) + "\n",
                             encoding="utf-8")
    if args.write_docs or args.docs:
        links = write_charts(ROOT / "docs/charts", done[0][0])
        texts = [links, *(goals for _, goals, _ in done), *(tables for _, _, tables in done)]
        report.write_docs(ROOT / "docs/performance.md", "\n".join(filter(None, texts)))
    return 1 if any(any(bench.failures.values()) for bench, _, _ in done) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except host.Failure as problem:
        sys.exit(f"tools/bench: {problem}")
