# SPDX-License-Identifier: BSD-2-Clause
"""
The image of etc/Containerfile: MMPROXY_IMAGE is an archive of it (tools/image-test builds one). Without it,
what stands for it has the binary that is tested, its libraries, and what else the Containerfile puts there.
"""

import os
import subprocess

from lib import ctl, daemon
from lib.image import Tree

UID = 64998
CHANGES = ('ENTRYPOINT ["/usr/sbin/mmproxy"]', f"USER {UID}")


def load(world):
    """Into the engine of this world."""
    built = os.environ.get("MMPROXY_IMAGE")
    if not built:
        world.import_image(_build(world.directory), "mmproxy", *CHANGES)
        return
    with open(built, "rb") as archive:
        world.engine("load", stdin=archive)


def _build(directory):
    tree = Tree(directory / "mmproxy-image")
    tree.add("/usr/bin/ip")
    tree.add_as(daemon.BINARY, "usr/sbin/mmproxy")
    tree.add_as(ctl.PROGRAM, "usr/sbin/mmproxyctl")
    subprocess.run(["setcap", "cap_net_raw+ep", tree.path / "usr/sbin/mmproxy"], check=True)
    for name, text in (("passwd", f"_mmproxy:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n"),
                       ("group", f"_mmproxy:x:{UID}:\n")):
        with open(tree.path / "etc" / name, "a", encoding="ascii") as file:
            file.write(text)
    for name in ("run/mmproxy", "var/lib/mmproxy"):
        (tree.path / name).mkdir(parents=True)
        os.chown(tree.path / name, UID, UID)
    return tree.pack(directory / "mmproxy-image.tar")
