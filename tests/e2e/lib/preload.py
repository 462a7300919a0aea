# SPDX-License-Identifier: BSD-2-Clause
"""A library between a daemon and the C library, made from source by the test that wants it."""

import os
import subprocess

from lib import daemon


def environment(directory, name, source):
    """Variables that make a daemon load this library before all its others."""
    library = directory / f"{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-o", library, "-"],
                   input=source, text=True, check=True)
    os.chmod(library, 0o755)
    # A sanitizer's runtime insists on being the first otherwise.
    asan = daemon.environment(directory)["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": asan}
