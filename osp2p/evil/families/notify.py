"""Notify: having a tracker tell of new peers, faster than anybody listens."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Target, Victim
from osp2p.evil.registry import attack
from osp2p.evil.wire import beside

_NEWS = 40


@attack(
    "notify/storm", against="tracker", breaks="max_notify_connections, notify_timeout", expect="survived", within=60
)
async def have_many_told(target: Target) -> None:
    """Registers eighty peers that want to be told of new ones, all at one port that accepts and never reads, and then
    forty new peers: three thousand connections that the tracker would have to make."""
    port, serve = await target.serve({}, Victim.linger)

    async def storm() -> None:
        await _storm(target, port)

    await beside(serve, storm)


async def _storm(target: Target, port: int) -> None:
    for number in range(80):
        wire = await target.log_in(b"deaf%d" % number, port)
        await wire.expect(b"NOTIFY", 2)
    for number in range(_NEWS):
        await target.log_in(b"news%d" % number, 1000 + number)
        await (await target.greet()).expect(b"LIST", 2)


@attack(
    "notify/reflect",
    against="tracker",
    breaks="what a tracker is told is not what others do",
    expect="survived",
    within=30,
)
async def point_at_others(target: Target) -> None:
    """Registers at the tracker's own port, at port 22 and at ports where nobody listens, asks to be told of new peers,
    and makes new ones: the tracker is to bother itself, and others in its name."""
    for port in (target.port, 22, 25, 1, 65535):
        wire = await target.log_in(b"reflect%d" % port, port)
        await wire.expect(b"NOTIFY", 2)
    for number in range(_NEWS):
        await target.log_in(b"news%d" % number, 1000 + number)
    await trio.sleep(1)


@attack("notify/queue", against="tracker", breaks="max_block_queue", expect="survived", within=60)
async def let_news_pile_up(target: Target) -> None:
    """Waits for one new peer, lets hundreds come without asking for the next, and then asks for all of them: what was
    kept must be bounded."""
    wire = await target.greet()
    await wire.send(b"BLOCKNOTIFY\n")
    await trio.sleep(0.1)
    most = target.limits.max_block_queue
    for number in range(most + 50):
        await target.log_in(b"news%d" % number, 1000 + number)
    kept = 0
    await wire.send(b"BLOCKNOTIFY\n" * (most + 50))
    with trio.move_on_after(3):
        while await wire.read_answer() is not None:
            kept += 1
    target.check(kept <= most + 1, f"keeps {kept} new peers for one who does not ask")


@attack("notify/flood", against="tracker", breaks="max_blocked_input", expect="closed", within=30)
async def go_on_while_waiting(target: Target) -> None:
    """Says BLOCKNOTIFY, whose answer waits without limit, and goes on sending commands, none of which can be answered
    before it."""
    wire = await target.greet()
    await wire.send(b"BLOCKNOTIFY\n")
    while True:
        await wire.send(b"LIST\n" * 2000)


@attack("notify/drip", against="tracker", breaks="max_blocked_input", expect="survived", within=90)
async def wait_for_ever(target: Target) -> None:
    """Says BLOCKNOTIFY on a hundred connections and leaves them waiting, a byte now and then on each; nobody else may
    feel them, and the next new peer must still be told to all."""
    wires = [await target.greet() for _ in range(100)]
    for wire in wires:
        await wire.send(b"BLOCKNOTIFY\n")
    for _ in range(10):
        for wire in wires:
            await wire.send(b"x")
        await trio.sleep(1)
    await target.log_in(b"news", 1000)
    for wire in wires:
        target.check(await wire.read_answer() is not None, "does not tell of a new peer")
