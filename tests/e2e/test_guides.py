# SPDX-License-Identifier: BSD-2-Clause
"""
What docs/ tells people to write works as it is written.

Every block that says of which program it is (```conf is mmproxy.conf) is given to that program;
commands that set the return path up are compared with those that mmproxy prints.
"""

import pathlib
import re
import shutil
import subprocess

import pytest

from lib import daemon, routing
from lib.daemon import ROOT
from lib.topology import Topology

pytestmark = pytest.mark.release

GUIDES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def blocks(kind):
    """(guide:line, text) of every block of that kind."""
    found = []
    for guide in GUIDES:
        text = guide.read_text()
        for match in BLOCK.finditer(text):
            if match[1] == kind:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{guide.name}:{line}"))
    assert found, kind
    return found


@pytest.fixture
def etc(directory):
    """As the package leaves /etc, with the file of load balancers that the guides write."""
    (directory / "mmproxy").mkdir()
    for path in (ROOT / "etc").glob("*.subnets"):
        shutil.copy(path, directory / "mmproxy")
    for name in ("balancers", "haproxy"):
        (directory / "mmproxy" / f"{name}.subnets").write_text("192.0.2.10\n")
    return directory


@pytest.mark.parametrize("text", blocks("conf"))
def test_configurations_are_fine(text, etc):
    path = etc / "mmproxy.conf"
    path.write_text(text)
    done = daemon.run(["-n", "-c", path], etc)
    assert done.returncode == 0, done.stderr
    # A line for the result, and nothing that is warned of.
    assert len(done.stderr.splitlines()) <= 1, done.stderr


def test_examples_of_the_manual_are_fine(etc):
    page = (ROOT / "docs/man/mmproxy.conf.5").read_text()
    example = re.search(r"^\.Sh EXAMPLES\n.*?^\.Bd [^\n]*\n(.*?)^\.Ed$", page,
                        re.MULTILINE | re.DOTALL)[1]
    (etc / "mmproxy.conf").write_text(example)
    done = daemon.run(["-n", "-c", etc / "mmproxy.conf"], etc)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("haproxy"))
def test_haproxy_takes_its_settings(text, directory, plain_net):
    path = directory / "haproxy.cfg"
    path.write_text(text)
    plain_net.lb.run("haproxy", "-c", "-f", path)


@pytest.mark.parametrize("text", blocks("nginx"))
def test_nginx_takes_its_settings(text, directory, plain_net):
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    load = f"load_module {module};\n" if module.exists() else ""
    path = directory / "nginx.conf"
    path.write_text(f"{load}pid {directory}/pid;\nerror_log stderr;\nevents {{}}\n{text}")
    plain_net.lb.run("nginx", "-t", "-c", path, "-e", "stderr")


@pytest.mark.parametrize("text", blocks("nft"))
def test_nft_takes_its_ruleset(text, directory, plain_net):
    path = directory / "rules.nft"
    path.write_text(text)
    plain_net.origin.run("nft", "-f", path)


def commands(guide, first):
    """The block of shell commands of a guide that begins with that command, line by line."""
    for match in BLOCK.finditer((ROOT / "docs" / guide).read_text()):
        lines = [line for line in match[2].splitlines() if not line.startswith("#")]
        if match[1] == "sh" and lines[0].startswith(first):
            return lines
    raise AssertionError(f"{guide} has no commands that begin with {first}")


def printed(namespace, directory, form, return_path):
    routing.stop_pacing(namespace)
    (directory / "a.subnets").write_text("192.0.2.10\n")
    done = daemon.run([f"--rules={form}", "-a", directory / "a.subnets", "-l", "0.0.0.0:2222",
                       "-4", "127.0.0.1:22", "-6", "[::1]:22", "--return-path", return_path],
                      directory, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("return_path, first", (
    ("loopback", "ip rule add from"), ("fwmark", "ip rule add fwmark")))
def test_return_path_is_what_mmproxy_prints(plain_net, directory, return_path, first):
    written = commands("return-path.md", first)
    assert sorted(written) == sorted(printed(plain_net.origin, directory, "shell", return_path))
    # And they can be run, in the order in which they stand.
    plain_net.origin.run("sh", "-ec", "\n".join(written))


def test_the_originals_return_path_is_taken_down_as_written(plain_net, directory):
    written = commands("moving.md", "iptables -t mangle -D")
    assert sorted(written) == sorted(printed(plain_net.origin, directory, "undo", "connmark"))
    plain_net.return_path_connmark()
    plain_net.origin.run("sh", "-ec", "\n".join(written))
    fresh = Topology()
    for show in (("ip", "rule"), ("ip", "-6", "rule"), ("iptables-save", "-t", "mangle"),
                 ("ip", "route", "show", "table", "all", "type", "local", "0.0.0.0/0")):
        left, none = (re.sub("^#.*\n", "", net.origin.run(*show), flags=re.MULTILINE)
                      for net in (plain_net, fresh))
        assert re.sub(r"\[\d+:\d+\]", "", left) == re.sub(r"\[\d+:\d+\]", "", none) or not none
    fresh.close()


@pytest.mark.parametrize("guide", [*GUIDES, ROOT / "README.md"], ids=lambda guide: guide.name)
def test_links_lead_somewhere(guide):
    for link in LINK.findall(guide.read_text()):
        assert (guide.parent / link).exists(), f"{guide.name} links to {link}"


@pytest.mark.parametrize("tool", ("demo", "test"))
def test_the_readme_says_how_many_packages_a_tool_needs(tool):
    said = re.search(rf"(?m)^\| `tools/{tool}` \|.* ([0-9]+) packages \|", (ROOT / "README.md").read_text())
    listed = subprocess.run([ROOT / "tools" / "deps", "--list", tool], capture_output=True,
                            text=True, check=True)
    assert int(said[1]) == len(listed.stdout.split())
