"""Several sources of holders as if they were one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import OverlayUnreachable, TrackerUnreachable
from osp2p.limits import DEFAULT
from osp2p.peer.overlay_source import facts_from
from osp2p.peer.sources import Sources
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

ALICE = PeerEntry(b"alice", Address("192.0.2.1", 1), {b"v": b"2"})
BOB = PeerEntry(b"bob", Address("192.0.2.2", 2), {b"v": b"2"})
B3 = bytes(32)


class Source:
    """Says the same of everything, after a while; or cannot be asked."""

    def __init__(self, *holders: PeerEntry, after: float = 0.0, error: Exception | None = None) -> None:
        self._holders = holders
        self._after = after
        self._error = error

    async def _wait(self) -> None:
        await trio.sleep(self._after)
        if self._error is not None:
            raise self._error

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        await self._wait()
        return [TrackerFacts(self._holders) for _ in names]

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        await self._wait()
        return TrackerFacts(self._holders, b3=b3)

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        await self._wait()
        return list(self._holders)


async def ask(*sources: Source) -> tuple[list[PeerEntry], float]:
    """Ask for holders. Returns: them, and how long it took, in seconds, to the millisecond."""
    begun = trio.current_time()
    found = await Sources(sources, DEFAULT).holders(b"cat", B3)
    return found, round(trio.current_time() - begun, 3)


async def test_answers_are_put_together(autojump_clock: MockClock) -> None:
    both = Sources([Source(ALICE), Source(BOB, after=0.1)], DEFAULT)
    assert await both.holders(b"cat", B3) == [ALICE, BOB]
    assert (await both.facts_of(b"cat", B3)).holders == (ALICE, BOB)
    assert [fact.holders for fact in await both.facts([b"cat", b"dog"])] == [(ALICE, BOB)] * 2


async def test_who_has_named_holders_gives_the_others_a_moment(autojump_clock: MockClock) -> None:
    assert await ask(Source(ALICE), Source(BOB, after=60)) == ([ALICE], DEFAULT.source_patience)
    assert await ask(Source(), Source(BOB, after=2)) == ([BOB], 2.0)


async def test_one_that_fails_holds_nobody_up(autojump_clock: MockClock) -> None:
    gone = OverlayUnreachable("nobody")
    assert (await ask(Source(ALICE), Source(error=gone)))[0] == [ALICE]
    assert (await ask(Source(error=gone, after=3), Source(ALICE, after=1)))[0] == [ALICE]
    with pytest.raises(TrackerUnreachable, match="no tracker") as failed:
        await ask(Source(error=TrackerUnreachable("no tracker"), after=1), Source(error=gone))
    assert failed.value.__notes__ == ["nobody"], "what the others said is not lost"


async def test_without_any_source() -> None:
    with pytest.raises(TrackerUnreachable, match="--join"):
        await ask()


def test_what_most_holders_have_is_what_a_name_stands_for() -> None:
    def entry(number: int, b3: int | None, size: int = 5) -> PeerEntry:
        attributes = {b"v": b"2"}
        if b3 is not None:
            attributes |= {b"b3": bytes([b3] * 32).hex().encode(), b"size": b"%d" % size}
        return PeerEntry(b"x", Address("192.0.2.9", number), attributes)

    one, two, three, hashing = entry(1, 7), entry(2, 8), entry(3, 8), entry(4, None)
    facts = facts_from([one, two, three, hashing])
    assert (facts.b3, facts.size, facts.holders) == (bytes([8] * 32), 5, (two, three, hashing))
    assert facts_from([hashing]) == TrackerFacts((hashing,))
    assert facts_from([]) == TrackerFacts(())
