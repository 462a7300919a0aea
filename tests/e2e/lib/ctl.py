# SPDX-License-Identifier: BSD-2-Clause
"""mmproxyctl, as an operator uses it."""

import json
import os
import pathlib
import shutil
import subprocess

from lib import daemon
from lib.wait import DEADLINE

# Beside the binary that was built; tests run a copy of that one.
PROGRAM = pathlib.Path(os.environ.get("MMPROXY_BIN", daemon.BINARY)).with_name("mmproxyctl")


class Ctl:
    """Of the instance whose files are in this directory."""

    def __init__(self, directory, prefix=()):
        self.socket = directory / "control.sock"
        self.prefix = prefix
        self.program = directory / "mmproxyctl"
        if not self.program.exists():
            shutil.copy(PROGRAM, self.program)
            self.program.chmod(0o755)

    def run(self, *arguments):
        """returns: an object with returncode, stdout and stderr."""
        return subprocess.run([*self.prefix, str(self.program), "-s", str(self.socket),
                               *map(str, arguments)],
                              capture_output=True, text=True, timeout=DEADLINE, check=False)

    def ask(self, *arguments, status=0):
        """returns: the objects of the answer but the last."""
        done = self.run("--json", *arguments)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        assert objects[-1]["type"] == "end"
        assert objects[-1]["code"] == status
        return objects[:-1]

    def of_type(self, kind, *arguments):
        return [each for each in self.ask(*arguments) if each["type"] == kind]

    def listener(self, name="ssh"):
        found = [each for each in self.of_type("listener", "status") if each["name"] == name]
        assert len(found) == 1
        return found[0]

    def workers(self):
        """Process ids of those that serve."""
        return [pid for each in self.of_type("generation", "status") if each["state"] == "serving"
                for pid in each["pids"]]

    def sessions(self, *arguments):
        return self.of_type("session", "sessions", *arguments)
