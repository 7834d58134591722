"""Uploads: taking all that an uploader has to give, and taking it slowly."""

from __future__ import annotations

import contextlib
from functools import partial

import trio

from osp2p.evil.bounds import BoundReached, OtherSideLeft
from osp2p.evil.encounter import Target
from osp2p.evil.families.requests import get
from osp2p.evil.registry import attack
from osp2p.evil.wire import Wire, together

#: How long it may take to read what buffers hold, in seconds.
_TIME_TO_READ = 10.0


@attack(
    "uploads/unread", against="uploader", breaks="min_upload_rate, upload_rate_window", expect="out-waited", within=150
)
async def never_read(target: Target) -> None:
    """Asks for a file on ten connections and reads none of what comes; after the time over which rates are averaged,
    each must have been dropped, if the file is more than buffers hold."""
    whole = await _fetch(target)
    wires = [await target.connect() for _ in range(10)]
    for wire in wires:
        await wire.send(get(target.name))
    await trio.sleep(1.5 * target.limits.upload_rate_window)
    await together(*(partial(_must_be_cut_off, target, wire, whole) for wire in wires))


async def _fetch(target: Target) -> int:
    """Fetch the file. Returns: how many bytes it has."""
    wire = await target.connect()
    await wire.send(get(target.name))
    await wire.hold()
    wire.close()
    return wire.received


async def _must_be_cut_off(target: Target, wire: Wire, whole: int) -> None:
    """Read what is left: it must come to an end, before the file does, if buffers alone cannot hold it."""
    with trio.move_on_after(max(_TIME_TO_READ, 0.3 * target.limits.upload_rate_window)) as scope:
        await wire.hold()
    target.check(not scope.cancelled_caught, "keeps a connection that is not read")
    if whole > target.bounds.buffer_bytes:
        target.check(wire.received < whole, "serves on who has not read for over a minute")


@attack(
    "uploads/sip", against="uploader", breaks="min_upload_rate, upload_rate_window", expect="out-waited", within=150
)
async def read_a_byte_a_second(target: Target) -> None:
    """Asks for a file on five connections and reads one byte a second of it: there is always progress."""
    whole = await _fetch(target)
    wires = [await target.connect() for _ in range(5)]
    for wire in wires:
        await wire.send(get(target.name))

    async def sip(wire: Wire) -> None:
        began = trio.current_time()
        for second in range(int(1.5 * target.limits.upload_rate_window)):
            await wire.receive(1)
            await trio.sleep_until(began + second)
        await _must_be_cut_off(target, wire, whole)

    await together(*(partial(sip, wire) for wire in wires))


@attack("uploads/greedy", against="uploader", breaks="max_uploads_per_host, busy_retry", expect="survived", within=120)
async def take_all_places(target: Target) -> None:
    """Begins more uploads from one address than there are places at all, in the base protocol and after HELLO, and
    reads none; whoever comes from another address must be served as before."""
    count = target.limits.max_uploads + 20
    for number in range(count):
        with contextlib.suppress(OtherSideLeft, BoundReached):
            wire = await target.connect()
            if number % 2:
                await wire.send(get(target.name))
            else:
                await wire.send(b"HELLO OSP2P/2\n" + get(target.name).replace(b"OSP2P", b"OSP2P/2"))
    await trio.sleep(5)


@attack("uploads/everybody", against="uploader", breaks="max_uploads", expect="survived", within=300, exhausts=True)
async def take_all_places_from_everywhere(target: Target) -> None:
    """Begins as many uploads as there may be at all, from all of its addresses, and reads none; others may be turned
    away, but only until the time for those who take nothing is up."""
    for number in range(target.limits.max_uploads + 20):
        with contextlib.suppress(OtherSideLeft, BoundReached):
            wire = await target.connect(number)
            await wire.send(get(target.name))
    await trio.sleep(1.2 * target.limits.upload_rate_window)


@attack("uploads/flood", against="uploader", breaks="max_connections_per_host", expect="survived", within=60)
async def open_many(target: Target) -> None:
    """Opens 1,100 connections from one address and says nothing on any of them."""
    await _flood(target, b"")


@attack(
    "uploads/flood-asking",
    against="uploader",
    breaks="max_connections_per_host, max_uploads_per_host",
    expect="survived",
    within=60,
)
async def open_many_and_ask(target: Target) -> None:
    """Opens 1,100 connections from one address, asks for a file on each, and closes none."""
    await _flood(target, get(b"nothing of that name"))


async def _flood(target: Target, said: bytes) -> None:
    most = target.limits.max_connections_per_host
    with contextlib.suppress(OtherSideLeft, BoundReached):
        for _ in range(most + most // 10):
            wire = await target.connect()
            if said:
                with contextlib.suppress(OtherSideLeft):
                    await wire.send(said)
    await trio.sleep(3)


@attack("uploads/hanger-on", against="uploader", breaks="served_grace", expect="survived", within=60)
async def never_be_done(target: Target) -> None:
    """Says HELLO and asks for one byte of a file every half second, so that it always counts as being served, as a
    downloader does for whose sake a program that would end goes on."""
    wire = await target.session()
    for _ in range(20):
        await wire.send(get(target.name).replace(b"OSP2P", b"OSP2P/2 range=0-0"))
        await wire.read_answer()
        await wire.receive(1)
        await trio.sleep(0.5)


@attack(
    "uploads/hello-and-close",
    against="uploader",
    breaks="one connection's failure ends no other",
    expect="survived",
    within=30,
)
async def ask_and_leave(target: Target) -> None:
    """Asks for many ranges in one packet and leaves before they come, three hundred times, half of them by a reset:
    what was being sent has nowhere to go."""
    request = get(target.name).replace(b"OSP2P", b"OSP2P/2")
    for number in range(300):
        with contextlib.suppress(OtherSideLeft):
            wire = await target.connect()
            await wire.send(b"HELLO OSP2P/2\n" + request * 20)
            wire.reset() if number % 2 else wire.close()
