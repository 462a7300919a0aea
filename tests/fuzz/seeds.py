#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the seed inputs of the parsers' fuzz targets to corpus/NAME/ next to this file."""

import pathlib
import random
import socket
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
PORTS = struct.pack(">HH", 40000, 22)
V4 = bytes([198, 51, 100, 7, 203, 0, 113, 9]) + PORTS
V6 = bytes.fromhex("20010db8" + "00" * 11 + "07" + "20010db8" + "00" * 11 + "01") + PORTS
MAPPED = (bytes(10) + b"\xff\xff" + V4[:4] + bytes(10) + b"\xff\xff" + V4[4:8]) + PORTS


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2(command, family, body):
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body)) + body


def with_crc(command, family, before, after=b""):
    zeroed = v2(command, family, before + tlv(3, bytes(4)) + after)
    at = 16 + len(before) + 3
    return zeroed[:at] + struct.pack(">I", crc32c(zeroed)) + zeroed[at + 4 :]


SSL = tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"client.example"))

PROXYPROTO = {
    "v1_tcp4": b"PROXY TCP4 198.51.100.7 203.0.113.9 40000 22\r\nSSH-2.0-x\r\n",
    "v1_tcp6": b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 22\r\n",
    "v1_mapped": b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:203.0.113.9 40000 22\r\n",
    "v1_longest": b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
    "v1_too_long": b"PROXY UNKNOWN " + b"x" * 120,
    "v1_unknown": b"PROXY UNKNOWN\r\n",
    "v1_unknown_lone_cr": b"PROXY UNKNOWN a\rb\n\r\r\nrest",
    "v1_name": b"PROXY TCP4 localhost 203.0.113.9 40000 22\r\n",
    "v1_leading_zero": b"PROXY TCP4 198.51.100.07 203.0.113.9 40000 22\r\n",
    "v1_bad_port": b"PROXY TCP4 198.51.100.7 203.0.113.9 65536 22\r\n",
    "v1_lone_lf": b"PROXY TCP4 198.51.100.7 203.0.113.9 40000 22\n",
    "v2_tcp4": v2(1, 0x11, V4) + b"SSH-2.0-x\r\n",
    "v2_tcp6": v2(1, 0x21, V6),
    "v2_mapped": v2(1, 0x21, MAPPED),
    "v2_unspec": v2(1, 0x00, b""),
    "v2_transport_unspec": v2(1, 0x10, V4),
    "v2_udp": v2(1, 0x12, V4),
    "v2_unix": v2(1, 0x31, bytes(216)),
    "v2_short": v2(1, 0x21, V4),
    "v2_local": v2(0, 0x00, b""),
    "v2_local_block": with_crc(0, 0x11, V4),
    "v2_local_tlvs": with_crc(0, 0x11, b"", tlv(4, bytes(74))),
    "v2_crc": with_crc(1, 0x11, V4, tlv(5, b"id")),
    "v2_crc_wrong": v2(1, 0x11, V4 + tlv(3, b"abcd")),
    "v2_crc_size": v2(1, 0x11, V4 + tlv(3, b"abc")),
    "v2_crc_twice": v2(1, 0x11, V4 + tlv(3, bytes(4)) * 2),
    "v2_all": with_crc(1, 0x21, V6 + tlv(1, b"h2") + tlv(2, b"a.example") + SSL + tlv(0x30, b"ns")),
    "v2_ssl_cut": v2(1, 0x11, V4 + tlv(0x20, b"\x01\0\0\0\0\x21\0\x09TLS")),
    "v2_unique_id": v2(1, 0x11, V4 + tlv(5, bytes(129))),
    "v2_tlv_lies": v2(1, 0x11, V4 + b"\xea\xff\xff"),
    "v2_cut": v2(1, 0x11, V4)[:20],
    "tls": bytes.fromhex("1603010200010001fc0303"),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "propfind": b"PROPFIND / HTTP/1.1\r\n\r\n",
    "smtp": b"EHLO example.org\r\n",
    "empty": b"",
}

MAGIC = bytes.fromhex("56ec")
SPP = MAGIC + MAPPED

DATAGRAM = {
    "udp4": v2(1, 0x12, V4) + b"query",
    "udp6": v2(1, 0x22, V6),
    "mapped": v2(1, 0x22, MAPPED),
    "tcp4": v2(1, 0x11, V4),
    "unix": v2(1, 0x32, bytes(216)),
    "local": v2(0, 0x00, b""),
    "unspec": v2(1, 0x00, b"") + b"query",
    "crc": with_crc(1, 0x12, V4, tlv(5, b"id")),
    "facts": with_crc(
        1, 0x22, V6 + tlv(1, b"h3") + tlv(2, b"a.example") + SSL + tlv(0xEA, b"\x01vpce-1")
    ),
    "cut": v2(1, 0x12, V4)[:20],
    "v1": PROXYPROTO["v1_tcp4"],
    "spp": SPP + b"query",
    "spp_v6": MAGIC + V6,
    "spp_cut": SPP[:-1],
    "empty": b"",
}

SUBNETS = {
    "mixed": "192.0.2.0/24\n2001:db8::/32\n10.0.0.1/8\n::ffff:192.0.2.0/120\n",
    "whole": "0.0.0.0/0\n::/0\n",
    "halves": "0.0.0.0/1\n128.0.0.0/1\n::/1\n8000::/1\n",
    "edges": "0.0.0.0\n255.255.255.255\n::\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n",
    "adjacent": "10.0.1.0/24\n10.0.0.0/24\n10.0.0.255\n10.0.2.0/31\n10.0.2.3/32\n",
    "adjacent_v6": "2001:db8:0:1::/64\n2001:db8::ffff:ffff:ffff:ffff/128\n2001:db8:0:2::/65\n",
    "mapped": "::ffff:0:0/96\n::ffff:0:0/95\n::fffe:ffff:ffff\n::1:0:0:0\n",
    "last_is_mapped": "::ffff:0:0/95\n",
    "endpoints": "1.2.3.4:5\n[::1]:80\n[fe80::1%lo]:22\n[fe80::1%1]:22\n[::ffff:1.2.3.4]:65535\n",
    "bad_endpoints": "1.2.3.4:0\n1.2.3.4:65536\n[1.2.3.4]:5\n::1:80\n[::1\n[::1]80\n[::1%lo]:1\n"
    "[fe80::1%none]:1\n[fe80::1%]:1\nhost:80\n:80\n1.2.3.4:\n1.2.3.4:080\n",
    "bad": "192.0.2.0/33\n192.0.02.1\n1.2.3\n::1/129\n/8\n1.2.3.4/\nhost\n\n1.2.3.4/08\n",
    "empty": "",
}

LISTENER = """{ name = "%s"; listen = %s; allowed_subnets = "101";
  target_v4 = "127.0.0.1:22"; target_v6 = "[2001:db8::1]:22"; %s }"""

CONFIG = {
    "whole": """user = "root"; workers = 2; routing = "managed"; drain_timeout = 1.5;
sandbox = false; # comment
log: { target = "syslog"; level = "debug"; format = "json"; };
defaults: { header_timeout = 5; mark = 0x7b; }; // comment
listeners = ( """
    + LISTENER % ("ssh", '[ "0.0.0.0:1", "[::]:1" ]', "table = 101;")
    + ", "
    + LISTENER
    % (
        "b",
        '"127.0.0.1:3"',
        """table = 101; return_path = "auto"; client_port = "any";
  connect_timeout = .5; idle_timeout = 1e2; keepalive = 0; max_sessions = 5;
  max_sessions_per_client = 1; max_pending = 10; backlog = 20; close_when_down = true; allow_local_clients = true;""",
    )
    + " );\x00192.0.2.0/24\n2001:db8::1/32 # c\n",
    "collisions": "listeners = ( "
    + ", ".join(
        LISTENER % (name, '"127.0.0.1:22"', f"table = {table};")
        for name, table in (("a", 1), ("a", 2), ("b", 255))
    )
    + " );\0",
    "include": '/* c */\n@include "101"\nworkers = 3;\0user = "root";\nlog: {\nlevl = 1 };',
    "include_itself": '@include "107"\n',
    "unknown_keys": "wrokers = 1; mark = 2; log: { targets = 3 }; defaults: { name = 4 };",
    "wrong_types": 'workers = "a"; sandbox = 1; user = 5; log = 6; listeners = [ 7 ]; defaults = ( );',
    "numbers": "workers = 99999999999999999999; drain_timeout = 1e999; a = -0x5L; b = 1.; c = .;",
    "strings": r'''user = "a\"b" "c\\" "\n\x1b";''',
    "cut_off": 'workers = 1;\ndefaults',
    "not_closed": 'log: { listeners = ( [ "a',
    "useless_addresses": """listeners = ( { name = "a"; listen = "[::ffff:1.2.3.4]:1";
  allowed_subnets = ""; target_v4 = "255.255.255.255:1"; target_v6 = "[::ffff:1.2.3.4]:1"; },
{ name = "b"; listen = [ ]; target_v4 = "224.0.0.1:1"; target_v6 = "[ff02::1]:1"; } );""",
    "bad_subnets": "listeners = ( " + LISTENER % ("a", '"0.0.0.0:1"', "") + ");\0x\n1.2.3.4/33\n",
    "empty": "",
}

ONE = ["-a", "/proc/self/fd/101", "-l", "0.0.0.0:1", "-4", "127.0.0.1:2"]

CMDLINE = {
    "file": ["-c", "/proc/self/fd/107", "-v", "-q", "-N"],
    "one": ONE,
    "everything": ONE
    + ["-6", "[::1]:2", "-m", "0x5", "-t5", "-P", "--return-path=auto", "-l[::]:1", "--rules=undo"],
    "long": ["--allowed-subnets=/proc/self/fd/101", "--listen", "[::]:1", "--target-v6=[::1]:9"],
    "dummy": ONE + ["-6", "127.0.0.1:2"],
    "loop": ONE + ["-4", "127.0.0.1:1"],
    "bad_values": ONE + ["-m", "0", "-t", "254", "--return-path", "x", "-l", "y"],
    "abbreviated": ["--target", "--ver", "--che"],
    "missing": ["-l"],
    "control_character": ["-n", "-\r"],
    "test": ["-n", "--check"],
    "help": ["--help"],
    "empty": [],
}


RTM_NEWRULE, RTM_NEWROUTE = 32, 24
LOOKUP, GOTO, NOP, BLACKHOLE, PROHIBIT = 1, 2, 3, 6, 8
UNICAST, LOCAL, UNREACHABLE, THROW = 1, 2, 7, 9
FRA = {"dst": 1, "src": 2, "iif": 3, "priority": 6, "mark": 10, "suppress": 14, "mask": 16}
RTA = {"dst": 1, "oif": 4, "gateway": 5, "metric": 6, "table": 15, "via": 18}
V4_FAMILY, V6_FAMILY = socket.AF_INET, socket.AF_INET6


def attributes(numbers, values):
    out = b""
    for name, value in values.items():
        if isinstance(value, int):
            value = struct.pack("=I", value)
        out += struct.pack("=HH", 4 + len(value), numbers[name]) + value + bytes(-len(value) % 4)
    return out


def message(kind, header, rest):
    length = 16 + len(header) + len(rest)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + header + rest


def rule(family, table, action=LOOKUP, lengths=(0, 0), flags=0, **values):
    header = struct.pack("=8BI", family, *lengths, 0, table, 0, 0, action, flags)
    return message(RTM_NEWRULE, header, attributes(FRA, values))


def route(family, table, kind, dst_len=0, protocol=4, **values):
    header = struct.pack("=8BI", family, dst_len, 0, 0, table, protocol, 0, kind, 0)
    return message(RTM_NEWROUTE, header, attributes(RTA, values))


LOOPBACK = {"lengths": (0, 8), "src": bytes([127, 0, 0, 0]), "iif": b"lo\0"}
LOOPBACK_V6 = {"lengths": (0, 128), "src": bytes(15) + b"\1", "iif": b"lo\0"}
OUT = {"gateway": bytes([192, 0, 2, 1]), "oif": 2}
OUT_V6 = {"gateway": V6[:16], "oif": 2}

# The fuzz target wants rules and routes of table 100, for mark 123 and for loopback.
RTNLMSG = {
    "holds": rule(V4_FAMILY, 100, priority=200, **LOOPBACK)
    + rule(V4_FAMILY, 100, priority=200, mark=123, mask=0xFFFFFFFF)
    + route(V4_FAMILY, 100, LOCAL, oif=1),
    "holds_v6": rule(V6_FAMILY, 100, priority=200, **LOOPBACK_V6)
    + route(V6_FAMILY, 100, LOCAL, oif=1),
    "shadowed": rule(V4_FAMILY, 50, priority=5)
    + rule(V4_FAMILY, 100, priority=200, **LOOPBACK)
    + rule(V4_FAMILY, 100, priority=200, mark=123, mask=0xFFFFFFFF)
    + route(V4_FAMILY, 50, UNICAST, **OUT),
    "shadowed_by_the_first": rule(V6_FAMILY, 50, priority=0, mark=3, mask=0xF, flags=2)
    + rule(V6_FAMILY, 100, priority=200, **LOOPBACK_V6)
    + route(V6_FAMILY, 50, UNICAST, **OUT_V6),
    "shadowed_by_actions": rule(V4_FAMILY, 0, NOP, priority=1)
    + rule(V4_FAMILY, 0, PROHIBIT, priority=2, lengths=(24, 0), dst=V4[:4])
    + rule(V4_FAMILY, 100, priority=200, **LOOPBACK)
    + route(V4_FAMILY, 254, UNICAST, 32, protocol=3, dst=V4[:4]),
    "shadowed_for_all_but_some": rule(
        V4_FAMILY, 50, priority=5, lengths=(2, 0), flags=2, dst=bytes([192, 0, 0, 0])
    )
    + rule(V4_FAMILY, 100, priority=200, **LOOPBACK)
    + route(V4_FAMILY, 50, UNICAST, **OUT),
    "actions": rule(V4_FAMILY, 0, GOTO) + rule(V4_FAMILY, 0, BLACKHOLE) + rule(V6_FAMILY, 0, 7),
    "suppressed": rule(V4_FAMILY, 254, priority=3, suppress=0)
    + rule(V4_FAMILY, 100, priority=200, **LOOPBACK)
    + route(V4_FAMILY, 254, UNICAST, **OUT),
    "wrong_route": route(V4_FAMILY, 100, UNREACHABLE, metric=5)
    + route(V4_FAMILY, 100, LOCAL, oif=1, metric=10),
    "wrong_routes": route(V6_FAMILY, 100, THROW)
    + route(V6_FAMILY, 100, UNICAST, **OUT_V6)
    + route(V4_FAMILY, 100, PROHIBIT)
    + route(V4_FAMILY, 100, BLACKHOLE, protocol=2)
    + route(V4_FAMILY, 100, UNICAST, via=struct.pack("=H", V6_FAMILY) + V6[:16]),
    "answered_otherwise": route(V4_FAMILY, 100, LOCAL, oif=1)
    + route(V4_FAMILY, 100, UNICAST, 24, dst=V4[:4], **OUT),
    "cut": route(V4_FAMILY, 100, LOCAL, oif=1)[:-1],
}


# A listener and a client are so many numbers that any bytes will do.
TARGET_CHOICE = {f"any_{n}": random.Random(n).randbytes(160) for n in range(40)}


def main():
    inputs = {
        "proxyproto": PROXYPROTO,
        "datagram": DATAGRAM,
        "subnets": {k: v.encode() for k, v in SUBNETS.items()},
        "config": {k: v.encode() for k, v in CONFIG.items()},
        "cmdline": {k: "\n".join(v).encode() for k, v in CMDLINE.items()},
        "rtnlmsg": RTNLMSG,
        "target_choice": TARGET_CHOICE,
    }
    for target, seeds in inputs.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
