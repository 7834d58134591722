"""Requests: what an uploader is asked for that it must not give, or must not wait for."""

from __future__ import annotations

from osp2p.evil.encounter import Target, quote
from osp2p.evil.registry import attack

_OUTSIDE = (b"../../../../etc/passwd", b"/etc/passwd", b"a/../../../../../etc/passwd", b"/dev/zero", b".", b"..", b"\0")


@attack(
    "requests/outside",
    against="uploader",
    breaks="a name is the name of a shared file",
    expect="closes without a byte, as for any name that it does not share",
    within=10,
)
async def ask_for_what_is_outside(target: Target) -> None:
    """Asks for names that lead out of the shared directory, quoted and raw."""
    for name in _OUTSIDE:
        for word in dict.fromkeys((quote(name), name.replace(b"\0", b"%00"), name.replace(b"/", b"%2f"))):
            wire = await target.connect()
            await wire.send(b"GET %s OSP2P\n" % word)
            await wire.hold()


@attack(
    "requests/overlong",
    against="uploader",
    breaks="a request ends before memory does",
    expect="closes after a bounded number of bytes and serves the others on",
    within=10,
)
async def send_an_overlong_request(target: Target) -> None:
    """Sends a megabyte without an end of line."""
    wire = await target.connect()
    await wire.send(b"GET " + b"a" * 1024 * 1024)
    await wire.hold()


@attack(
    "requests/silent",
    against="uploader",
    breaks="who connects says what he wants",
    expect="closes after a bounded time and serves the others meanwhile",
    within=30,
)
async def say_nothing(target: Target) -> None:
    """Opens ten connections and says nothing on any of them."""
    wires = [await target.connect() for _ in range(10)]
    for wire in wires:
        await wire.hold()


@attack(
    "requests/unread",
    against="uploader",
    breaks="who asks for a file reads it",
    expect="drops the connection after a bounded time and serves the others meanwhile",
    within=120,
)
async def never_read(target: Target) -> None:
    """Asks for a file on ten connections and reads none of what comes."""
    wires = [await target.connect() for _ in range(10)]
    for wire in wires:
        await wire.send(b"GET %s OSP2P\n" % quote(target.name or b"nothing"))
    await wires[0].linger()
