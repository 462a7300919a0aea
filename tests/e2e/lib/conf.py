# SPDX-License-Identifier: BSD-2-Clause
"""Configuration files, written from Python values."""

from lib.topology import LB4, LB6

PORT = 2222
LISTEN = ("0.0.0.0:2222", "[::]:2222")
SERVICE_PORT = 22


def listener(**keys):
    """The usual listener; a key given as None is left out."""
    usual = {
        "name": "ssh",
        "listen": list(LISTEN),
        "allowed_subnets": "lb.subnets",
        "target_v4": f"127.0.0.1:{SERVICE_PORT}",
        "target_v6": f"[::1]:{SERVICE_PORT}",
        # A test that says nothing of them is not about them, however slow the machine.
        "header_timeout": 60,
        "connect_timeout": 60,
    }
    return {key: value for key, value in (usual | keys).items() if value is not None}


def render(listeners, **settings):
    """Settings stand before the listeners; "control", which nearly every test has, behind them."""
    lines = {key: f"{key} = {_value(value)};" for key, value in settings.items()}
    last = [lines.pop("control")] if "control" in lines else []
    groups = ",\n".join(_value(each) for each in listeners)
    return "\n".join([*lines.values(), f"listeners = (\n{groups}\n);", *last]) + "\n"


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{ " + " ".join(f"{k} = {_value(v)};" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(map(_value, value)) + " ]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write(directory, listeners, subnets=f"{LB4}\n{LB6}/128\n", **settings):
    """Writes mmproxy.conf and lb.subnets; returns the path of the former."""
    _replace(directory / "lb.subnets", subnets)
    path = directory / "mmproxy.conf"
    # Many run at once; the default is one for all.
    settings = {"control": str(directory / "control.sock")} | settings
    _replace(path, render(listeners, **settings))
    return path


def _replace(path, text):
    """As a whole: a reload that is under way reads the old file or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
