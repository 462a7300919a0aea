# SPDX-License-Identifier: BSD-2-Clause
"""Sections of the documents, and their commands, run as they are written."""

import os
import re
import subprocess

from lib import daemon
from lib.wait import DEADLINE

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(guide, title):
    """{kind: [text of each block of it]} of the section "## TITLE"."""
    text = (daemon.ROOT / "docs" / guide).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{guide} has no section {title}"
    blocks = {}
    for kind, body in BLOCK.findall(found[1]):
        blocks.setdefault(kind, []).append(body)
    return blocks


class Shell:
    """
    Runs commands as a reader would: the names that they begin with, such as podman, are scripts that
    pass on to this test's own. prefix: what to start the shell through.
    """

    def __init__(self, namespace, directory, prefix=(), **programs):
        """programs: name -> the words that stand for it."""
        self._namespace, self._prefix = namespace, prefix
        self._folder = directory / "commands"
        self._folder.mkdir(exist_ok=True)
        for name, words in programs.items():
            path = self._folder / name.replace("_", "-")
            words = " ".join(f"'{word}'" for word in words)
            path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            path.chmod(0o755)
        self.environment = {"PATH": f"{self._folder}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

    def __call__(self, text, status=0, folder="/"):
        """What it printed; status None: any."""
        done = subprocess.run(
            self._namespace.argv(*self._prefix, "env", "-C", folder, "sh", "-ec", text), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
            timeout=5 * DEADLINE, env=os.environ | self.environment)
        assert status in (None, done.returncode), (text, done.returncode, done.stdout)
        return done.stdout
