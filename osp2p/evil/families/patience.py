"""Patience: as slow as one may be, just inside each limit. Whoever is that slow is served."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import Wire

#: How much of a time limit is used up.
_NEARLY = 0.9


async def _say_slowly(wire: Wire, line: bytes, seconds: float) -> None:
    """Send a line byte by byte, so that it is there after `seconds`."""
    for value in line + b"\n":
        await wire.send(bytes([value]))
        await trio.sleep(seconds / (len(line) + 1))


@attack(
    "patience/first-command",
    against="tracker",
    breaks="first_command_timeout, line_timeout",
    expect="survived",
    within=150,
)
async def come_late(target: Target) -> None:
    """Says its first command when nine tenths of the time for it are over, and takes nine tenths of the time for a
    line; it must be answered."""
    wire = await target.greet()
    await trio.sleep(_NEARLY * target.limits.first_command_timeout)
    await _say_slowly(wire, b"LIST", _NEARLY * target.limits.line_timeout)
    target.check(await wire.read_answer() is not None, "ends a connection before its time is up")


@attack("patience/idle", against="tracker", breaks="idle_timeout", expect="survived", within=600)
async def speak_seldom(target: Target) -> None:
    """Registers and then says nothing but one blank line, when nine tenths of the time are over; it must still be
    listed."""
    wire = await target.log_in(b"seldom")
    await wire.expect(b"HAVE seldom", 2)
    await trio.sleep(_NEARLY * target.limits.idle_timeout)
    await wire.send(b"\n")
    answer = await (await target.greet()).ask(b"WANT seldom")
    target.check(answer.code == 200, "forgets a peer before its time is up")


@attack("patience/request", against="uploader", breaks="request_timeout", expect="survived", within=30)
async def ask_slowly(target: Target) -> None:
    """Sends a request byte by byte, so that nine tenths of the time for it are used up; it must be served."""
    if not target.name:
        return
    wire = await target.connect()
    line = b"GET %s OSP2P" % target.name.replace(b" ", b"%20")
    await _say_slowly(wire, line, _NEARLY * target.limits.request_timeout)
    target.check(bool(await wire.receive()), "closes on a request before its time is up")
