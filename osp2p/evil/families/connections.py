"""Connections: to a tracker, that stand and do nothing, take nothing, break at every step, or are simply too many."""

from __future__ import annotations

import contextlib
from functools import partial

import trio

from osp2p.evil.bounds import BoundReached, OtherSideLeft
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import Wire, beside, together

#: A step further each: what has been said when a connection breaks.
_STEPS = (
    b"",
    b"HEL",
    b"HELLO OSP2P/2\n",
    b"ADDR steps 127.0.0.1:9\n",
    b"ADDR steps 127.0.0.1:9\nHAVE steps\n",
    b"ADDR steps 127.0.0.1:9\nHAVE steps\nWANT st",
    b"ADDR steps 127.0.0.1:9\nNOTIFY\nBLOCKNOTIFY\n",
    b"BLOCKNOTIFY\n",
    b"LIST\nWHO\n" * 500,
    b"QUIT\n",
)


@attack("connections/idle", against="tracker", breaks="first_command_timeout", expect="out-waited", within=75)
async def say_nothing(target: Target) -> None:
    """Opens twenty connections and never says anything on any of them."""
    wires = [await target.connect() for _ in range(20)]
    await together(*(wire.hold for wire in wires))


@attack("connections/idle-later", against="tracker", breaks="idle_timeout", expect="out-waited", within=630)
async def fall_silent(target: Target) -> None:
    """Registers, asks once, and never says anything again on the connection, which stays open."""
    wire = await target.log_in(b"silent")
    await wire.expect(b"HAVE silence", 2)
    await wire.hold()


@attack(
    "connections/unread", against="tracker", breaks="send_timeout, farewell_timeout", expect="out-waited", within=150
)
async def never_read(target: Target) -> None:
    """Asks for help on ten connections as fast as it is taken, and reads none of the answers."""
    wires = [await target.connect() for _ in range(10)]
    await together(*(partial(_ask_for_ever, wire) for wire in wires))


async def _ask_for_ever(wire: Wire) -> None:
    while True:
        await wire.send(b"HELP\n" * 500)


@attack("connections/sip", against="tracker", breaks="send_timeout", expect="out-waited", within=150)
async def read_a_byte_a_second(target: Target) -> None:
    """Asks for megabytes of answers and reads one byte of them a second: each answer must have its own time."""
    wire = await target.connect()
    began = trio.current_time()

    async def sip() -> None:
        seconds = 0
        while await wire.receive(1):
            seconds += 1
            await trio.sleep_until(began + seconds)

    await beside(sip, partial(_ask_for_ever, wire))


@attack(
    "connections/half-closed",
    against="tracker",
    breaks="an end of one direction is not the end of the other",
    expect="survived",
    within=20,
)
async def end_our_direction(target: Target) -> None:
    """Sends commands and ends its direction at once, before any answer: they must be answered all the same, and the
    connection closed then."""
    wire = await target.connect()
    await wire.send(b"LIST\nWHO\nMD5SUM nothing\n")
    await wire.half_close()
    answers = 0
    while await wire.read_answer() is not None:
        answers += 1
    target.check(answers in (0, 4), f"answers {answers - 1} of 3 commands of one who has ended its direction")


@attack(
    "connections/resets",
    against="tracker",
    breaks="one connection's failure ends no other",
    expect="survived",
    within=30,
)
async def reset_at_every_step(target: Target) -> None:
    """Breaks and closes connections at every step of a conversation, in the middle of lines and of unread answers,
    ten times each."""
    for _ in range(10):
        for said in _STEPS:
            for end in ("reset", "close"):
                with contextlib.suppress(OtherSideLeft):
                    wire = await target.connect()
                    if said:
                        await wire.send(said)
                    await trio.lowlevel.checkpoint()
                    wire.reset() if end == "reset" else wire.close()


@attack(
    "connections/goodbye", against="tracker", breaks="linger_timeout, max_lingering_bytes", expect="closed", within=15
)
async def talk_on_after_goodbye(target: Target) -> None:
    """Says QUIT and then goes on sending, for as long as anybody takes it."""
    wire = await target.connect()
    await wire.send(b"QUIT\n")
    while True:
        await wire.send(b"LIST\n" * 2000)
        await trio.sleep(0.01)


@attack("connections/slow-goodbye", against="tracker", breaks="linger_timeout", expect="closed", within=15)
async def never_leave(target: Target) -> None:
    """Says QUIT, never closes, and sends a byte a second: whoever waits for the end waits for ever."""
    wire = await target.connect()
    await wire.send(b"QUIT\n")
    while True:
        await wire.send(b"x")
        await trio.sleep(1)


@attack("connections/flood", against="tracker", breaks="max_connections_per_host", expect="refused", within=60)
async def open_many(target: Target) -> None:
    """Opens 1,100 connections from one address and says nothing on any; those beyond the share of one address must be
    closed at once, and others find the tracker as it was."""
    await _flood(target, b"")


@attack("connections/flood-asking", against="tracker", breaks="max_connections_per_host", expect="refused", within=60)
async def open_many_and_ask(target: Target) -> None:
    """Opens 1,100 connections from one address and sends a command and the beginning of another on each."""
    await _flood(target, b"WHO\nHAVE unfinished")


async def _flood(target: Target, said: bytes) -> None:
    most = target.limits.max_connections_per_host
    count = 0
    with contextlib.suppress(OtherSideLeft, BoundReached):
        for _ in range(most + most // 10):
            wire = await target.connect()
            count += 1
            if said:
                with contextlib.suppress(OtherSideLeft):
                    await wire.send(said)
    if count <= most:
        return
    stood = 0

    async def look(wire: Wire) -> None:
        nonlocal stood
        with trio.move_on_after(3):
            await wire.hold()
            return
        stood += 1

    await together(*(partial(look, wire) for wire in target.wires))
    target.check(stood <= most, f"keeps {stood} connections of one address")


@attack(
    "connections/everywhere",
    against="tracker",
    breaks="max_connections, accept_backoff, reserved_descriptors",
    expect="survived",
    within=90,
    exhausts=True,
)
async def open_as_many_as_there_are(target: Target) -> None:
    """Opens connections from all of its addresses until the tracker, its descriptors or the attack's bounds are used
    up, and holds them for a while: whoever comes then may have to wait, and is served when they are gone."""
    count = min(target.bounds.connections, target.limits.max_connections + 50)
    with contextlib.suppress(OtherSideLeft, BoundReached):
        for number in range(count):
            await target.connect(number)
    await trio.sleep(2)
