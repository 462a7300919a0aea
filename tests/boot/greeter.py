#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A service at port 22 that greets first, as sshd does, and then sends back what it gets."""

import asyncio


async def _serve(reader, writer):
    try:
        writer.write(b"SSH-2.0-greeter\r\n")
        while data := await reader.read(4096):
            writer.write(data)
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    servers = [await asyncio.start_server(_serve, host, 22, backlog=1024)
               for host in ("127.0.0.1", "::1")]
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
