"""Lines: commands to a tracker that are too long, never end, or hold what no text holds."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack

_MIB = 1024 * 1024


@attack(
    "lines/overlong",
    against="tracker",
    breaks="a line ends before memory does",
    expect="ends the connection after a bounded number of bytes and serves the others on",
    within=10,
)
async def send_an_overlong_line(target: Target) -> None:
    """Sends a megabyte without an end of line."""
    wire = await target.connect()
    await wire.send(b"HAVE " + b"a" * _MIB)
    await wire.hold()


@attack(
    "lines/drip",
    against="tracker",
    breaks="a line that has begun is soon complete",
    expect="ends the connection after a bounded time, whatever arrives meanwhile",
    within=120,
)
async def drip_a_line(target: Target) -> None:
    """Sends one byte of a line every half second and never ends it."""
    wire = await target.connect()
    for _ in range(1000):
        await wire.send(b"a")
        await trio.sleep(0.5)


@attack(
    "lines/bytes",
    against="tracker",
    breaks="names, aliases and verbs are text",
    expect="answers each line and lists every name so that one line stays one line",
    within=10,
)
async def send_every_byte(target: Target) -> None:
    """Registers names that hold every byte, raw and quoted, line ends and NULs among them."""
    wire = await target.connect()
    await wire.send(b"ADDR x%0AFILE%20injected%00 127.0.0.1:1\n")
    for value in range(256):
        await wire.send(b"HAVE a%%%02Xb\nHAVE a%cb\n" % (value, value))
    await wire.send(bytes(range(256)) + b"\nQUIT\n")
    await wire.hold()
