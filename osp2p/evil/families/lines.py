"""Lines: commands to a tracker that are too long, never end, or hold what no text holds."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack

_MIB = 1024 * 1024


@attack("lines/overlong", against="tracker", breaks="max_line", expect="closed", within=10)
async def send_an_overlong_line(target: Target) -> None:
    """Sends a command of a megabyte without an end of line."""
    wire = await target.greet()
    await wire.send(b"HAVE " + b"a" * _MIB)
    await wire.hold()


@attack("lines/endless", against="tracker", breaks="max_line", expect="closed", within=30)
async def send_without_end(target: Target) -> None:
    """Sends bytes and never a line end, for as long as they are taken."""
    wire = await target.greet()
    while True:
        await wire.send(b"a" * 65536)


@attack("lines/drip", against="tracker", breaks="line_timeout", expect="out-waited", within=75)
async def drip_a_line(target: Target) -> None:
    """Sends one byte of a line every half second, with a CR now and then, and never ends it."""
    wire = await target.greet()
    for number in range(4000):
        await wire.send(b"\r" if number % 100 == 99 else b"a")
        await trio.sleep(0.5)


@attack("lines/bytes", against="tracker", breaks="names, aliases and verbs are bytes", expect="survived", within=10)
async def send_every_byte(target: Target) -> None:
    """Registers names that hold every byte, raw and quoted, line ends and NULs among them, and looks whether one line
    of the list stays one line."""
    wire = await target.greet()
    await wire.send(b"ADDR x%%0AFILE%%20injected 127.0.0.1:1\n" % ())
    sent = 1
    for value in range(256):
        await wire.send(b"HAVE a%%%02Xb\n" % value)
        sent += 1
        if value not in b"\n\r\t\x0b\x0c ":
            await wire.send(b"HAVE a%cb\n" % value)
            sent += 1
    for _ in range(sent):
        target.check(await wire.read_answer() is not None, "closes at names that hold odd bytes")
    listed = await wire.expect(b"LIST", 2)
    target.check(all(line.startswith(b"FILE ") for line in listed.data), "lists what is no FILE line")
    target.check(b"FILE injected" not in listed.data, "lists a file that came in an alias")
