# SPDX-License-Identifier: BSD-2-Clause
"""
Images for container engines, made of Debian's programs on this machine: a program, the libraries that
it needs, and nothing else. No registry is asked.
"""

import functools
import pathlib
import re
import shutil
import subprocess

FOLDERS = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "tmp",
           "var/tmp", "srv")
SHELL = ("/usr/bin/dash", "/usr/bin/cat", "/usr/bin/ls", "/usr/bin/mkdir", "/usr/bin/rm",
         "/usr/bin/sleep", "/usr/bin/uname")


class Tree:
    """The root directory of an image."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        for name in FOLDERS:
            (self.path / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.path / name).symlink_to(f"usr/{name}")
        for name in ("tmp", "var/tmp"):
            (self.path / name).chmod(0o1777)
        self.write("etc/passwd", pathlib.Path("/etc/passwd").read_text(encoding="utf-8"))
        self.write("etc/group", pathlib.Path("/etc/group").read_text(encoding="utf-8"))
        self.add(*SHELL)
        (self.path / "usr/bin/sh").symlink_to("dash")

    def write(self, name, text, mode=0o644):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def add(self, *names):
        """Files and folders of this machine at the same place, with the libraries that they load."""
        files = []
        for source in map(pathlib.Path, names):
            files += [source] if not source.is_dir() else [
                each for each in source.rglob("*") if not each.is_dir()]
        self._copy_with_libraries(files)

    def add_as(self, source, name):
        """A program of this machine at another place."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o755)
        self._copy_with_libraries(_needed([pathlib.Path(source)]))

    def _copy_with_libraries(self, files):
        while files:
            files = _needed([each for each in files if self._copy(each) and _is_elf(each)])

    def _copy(self, source):
        """Also what a link leads to. False where it is there already."""
        # /lib and the like are links into /usr in the image, as on this machine.
        target = (self.path / source.parent.relative_to("/")).resolve() / source.name
        if target.exists() or target.is_symlink():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            self._copy(source.resolve())
            target.symlink_to(source.resolve())
        else:
            shutil.copy2(source, target)
        return True

    def pack(self, archive):
        """A tar file for `import`, with file capabilities."""
        subprocess.run(["tar", "--xattrs", "--xattrs-include=security.capability", "-C", self.path,
                        "-cf", archive, "."], check=True)
        return archive


def _is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


@functools.cache
def _libraries():
    """Name -> path of the libraries that programs find without further help."""
    listed = re.findall(r"^\s+(\S+) .* => (\S+)$", _output("ldconfig", "-p"), re.MULTILINE)
    # Those of other architectures stand behind this machine's.
    return {name: pathlib.Path(path) for name, path in reversed(listed)}


def _needed(files):
    """The libraries and interpreters that these name. A private library is not among them."""
    if not files:
        return []
    said = _output("readelf", "--wide", "-ld", *files)
    names = set(re.findall(r"\(NEEDED\) .*\[(\S+)\]", said))
    found = [_libraries()[name] for name in names if name in _libraries()]
    return found + [pathlib.Path(path) for path in set(re.findall(r"interpreter: (\S+)\]", said))]


def _output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
