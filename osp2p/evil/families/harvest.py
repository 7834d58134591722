"""Harvest: asking a tracker whom there is, and attacking everybody found."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from functools import partial

import trio

from osp2p.evil.bounds import OtherSideLeft
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import together

_PEER = re.compile(rb"PEER \S+ (\d+\.\d+\.\d+\.\d+):(\d+)")

_MOST = 50

_SAID = (
    b"",
    b"GET ../../../../etc/passwd OSP2P\n",
    b"GET " + b"n" * 10_249 + b" OSP2P\n",
    b"HELLO OSP2P/2\n" + b"GET x OSP2P/2 range=9-0\n" * 50,
    b"\0" * 1030 + b"\n",
)


def _addresses(lines: Iterable[bytes]) -> list[tuple[str, int]]:
    found = [match for match in map(_PEER.match, lines) if match]
    return [(match[1].decode(), int(match[2])) for match in found][:_MOST]


@attack(
    "harvest/everyone", against="tracker", breaks="who registers is found by everybody", expect="survived", within=60
)
async def attack_everyone(target: Target) -> None:
    """Asks who is there, and connects to each peer that it may attack, several times each: silent, with requests that
    lead outside, that are too long, that are none, and with a reset. All of them must be there afterwards."""
    asker = await target.greet()
    found = _addresses((await asker.expect(b"WHO", 2)).data)
    for address in found:
        for said in _SAID:
            with contextlib.suppress(OtherSideLeft):
                wire = await target.connect(to=address)
                if said:
                    await wire.send(said)
                await trio.lowlevel.checkpoint()
                wire.reset() if b"x" in said else wire.close()
    listed = _addresses((await asker.expect(b"WHO", 2)).data)
    gone = [address for address in found if address not in listed]
    target.check(len(found) > 20 or not gone, f"lost {len(gone)} peers that were attacked")


@attack(
    "harvest/files", against="tracker", breaks="min_upload_rate, max_uploads_per_host", expect="survived", within=60
)
async def fetch_from_everyone(target: Target) -> None:
    """Asks for every file and its holders, and begins to fetch each from all of them on five connections, none of
    which is ever read."""
    asker = await target.greet()
    names = [line.split()[1] for line in (await asker.expect(b"LIST", 2)).data if len(line.split()) > 1][:_MOST]

    async def fetch(name: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(OtherSideLeft):
            wire = await target.connect(to=address)
            await wire.send(b"GET %s OSP2P\n" % name)
            with trio.move_on_after(5):
                await wire.linger()

    for name in names:
        answer = await asker.ask(b"WANT " + name)
        for address in _addresses(answer.data)[:3]:
            await together(*[partial(fetch, name, address)] * 5)
