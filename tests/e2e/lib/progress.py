# SPDX-License-Identifier: BSD-2-Clause
"""
What is running, while it runs: one line that is overwritten on a terminal, a line every
20 seconds elsewhere. A failed test is named at once.

MMPROXY_FAILED_TESTS: a file that takes the names of the failed tests, one a line.
"""

import os
import sys
import time

import pytest

EVERY_S = 20  # between two lines in a log


class Progress:
    def __init__(self):
        self._total = 0
        self._done = 0
        self._running = {}
        self._failed = []
        self._shown_at = time.monotonic()
        self._is_terminal = sys.stdout.isatty()

    def pytest_collection_modifyitems(self, items):
        self._total = len(items)

    def pytest_xdist_node_collection_finished(self, ids):
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid):
        self._running[nodeid] = time.monotonic()
        self._show()

    def pytest_runtest_logfinish(self, nodeid):
        self._running.pop(nodeid, None)
        self._done += 1
        self._show()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self):
        """No dots: the counting is left to pytest, the showing is done here."""
        outcome = yield
        category, _, _ = outcome.get_result()
        outcome.force_result((category, "", ""))

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.partition("@")[0]  # behind it: the group of --dist loadgroup
        if report.failed and name not in self._failed:
            self._failed.append(name)
            self._print(f"FAILED {name}\n")

    def pytest_sessionfinish(self):
        if self._is_terminal:
            self._print("")
        path = os.environ.get("MMPROXY_FAILED_TESTS")
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in self._failed)

    def _show(self):
        now = time.monotonic()
        if not self._is_terminal and now - self._shown_at < EVERY_S:
            return
        self._shown_at = now
        if not self._running:
            return
        longest_first = sorted(self._running, key=self._running.get)
        names = ", ".join(name.rpartition("::")[2] for name in longest_first)
        text = f"    {self._done} of {self._total} done, running: {names}"
        self._print(text[:79] if self._is_terminal else f"{text[:150]}\n")

    def _print(self, text):
        # sys.stdout is pytest's while a test of this process runs.
        start = "\r\033[K" if self._is_terminal else ""
        sys.__stdout__.write(start + text)
        sys.__stdout__.flush()


def pytest_configure(config):
    """Not in the processes that pytest-xdist starts: they tell the first one."""
    if not hasattr(config, "workerinput") and os.environ.get("MMPROXY_FAILED_TESTS"):
        config.pluginmanager.register(Progress(), "mmproxy-progress")
