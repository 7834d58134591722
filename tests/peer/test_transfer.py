"""One file from what the trackers say of it: what is tried where those who were named do not give it, or lie."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from osp2p.content.chunk_store import open_chunks
from osp2p.content.chunks import MIN_CHUNK, chunk_hash, content_id
from osp2p.content.digest import FileDigest
from osp2p.content.store import open_target
from osp2p.errors import ChecksumMismatch, ConnectFailed, DiskFull, Stalled, StoreError, TooLarge
from osp2p.limits import Limits
from osp2p.net import Connection
from osp2p.peer.events import NamedContent, Remark, SeveralContents, SourceFailed, TransferDone
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.probe import Prober
from osp2p.peer.tracker_facts import ListedContent, TrackerFacts
from osp2p.peer.transfer import GetOptions, Surroundings, Transfer
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry
from osp2p.wire.request import Request
from tests.peer.holders import NAME, PORT, Holder, Script, World, gives, md5_of, silent
from tests.peer.odd_holders import OddHolder
from tests.peer.swarm import Truth, truth_of

#: One chunk, so that its b3 is made of one hash.
DATA = random.Random(7).randbytes(100_000)
B3 = content_id(len(DATA), chunk_hash(DATA))
LIMITS = replace(Limits(), retry_window=0.2, retry_pause=0.05, first_refresh=0.05, swarm_from=1000)

#: What a tracker says of a holder that said HELLO there, and of one that did not.
NEW = {"v": b"2"}
OLD = {"v": b"1"}


def lies(size: int, b3: bytes) -> Script:
    """Speaks OSP2P/2, claims to have all of a content of one chunk, and sends other bytes."""

    async def script(connection: Connection) -> None:
        await connection.send(b"200 hello\nSIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n200 x\n" % (size, b3.hex().encode()))
        await connection.send(b"DATA %d\n200 x\n" % size + bytes(min(size, 1 << 20)))
        await connection.send_eof()

    return script


class Speaker(OddHolder):
    """A holder of everything, in the base protocol too, where it closes behind a file."""

    def answer(self, request: Request) -> bytes:
        if request.verb == b"GET" and request.words[1] == b"OSP2P":
            return b"".join(map(self.truth.chunk, range(self.truth.content.count)))
        return super().answer(request)


async def speaker(
    world: World, truth: Truth, attributes: Mapping[str, bytes] | None = None, made: Speaker | None = None
) -> Speaker:
    """Add a holder that speaks OSP2P/2, whatever a tracker knows of it."""

    async def and_close(connection: Connection, request: Request, answer: bytes) -> None:
        await connection.send(answer)
        if request.verb == b"GET" and request.words[1] == b"OSP2P":
            connection.close()

    made = made or Speaker(truth, and_close)
    number = len(world.holders)
    said = {key.encode(): value for key, value in (attributes or {}).items()}
    entry = PeerEntry(b"s%d" % number, Address(f"10.1.0.{number}", PORT), said)
    world.holders.append(Holder(entry))
    listener = await world.network.host(entry.address.host).listen(PORT)

    async def serve(connection: Connection) -> None:
        await made.serve(connection)
        connection.close()

    async def accept() -> None:
        while True:
            world.nursery.start_soon(serve, await listener.accept())

    world.nursery.start_soon(accept)
    return made


def transfer_of(
    world: World,
    facts: TrackerFacts,
    *,
    b3: bytes | None = None,
    later: Callable[[], Awaitable[TrackerFacts]] | None = None,
    limits: Limits = LIMITS,
    others: Mapping[bytes, Sequence[Holder]] | None = None,
) -> Transfer:
    """A transfer from all of a world's holders, of whom a tracker says `facts` at first.

    Args:
        later: what it says afterwards.
        others: who holds contents of the name beside the one that it stands for.
    """
    beside = {holder.entry.address for holders in (others or {}).values() for holder in holders}
    entries = tuple(holder.entry for holder in world.holders if holder.entry.address not in beside)
    facts = replace(facts, holders=entries)

    async def same() -> TrackerFacts:
        return facts

    async def holders(b3: bytes) -> list[PeerEntry]:
        return [holder.entry for holder in (others or {}).get(b3, ())]

    async def contents(listed: Sequence[ListedContent]) -> tuple[NamedContent, ...]:
        return tuple(NamedContent(one.b3.hex(), one.size, 1, 0, "a link") for one in listed)

    around = Surroundings(
        network=world.network,
        limits=limits,
        rng=random.Random(1),
        facts=later or same,
        holders=holders,
        contents=contents,
        prober=Prober(world.network, limits),
        own=set,
        link=LinkRate(),
        fetching=lambda offer: nullcontext(),
        fetched=lambda offer, path: None,
    )
    options = GetOptions(sync=False)
    return Transfer(NAME, facts, world.directory / "film", options, around, world.events.append, b3=b3)


async def fetch(
    world: World,
    facts: TrackerFacts,
    *,
    b3: bytes | None = None,
    later: Callable[[], Awaitable[TrackerFacts]] | None = None,
    limits: Limits = LIMITS,
    others: Mapping[bytes, Sequence[Holder]] | None = None,
) -> TransferDone:
    with trio.fail_after(20):
        return await transfer_of(world, facts, b3=b3, later=later, limits=limits, others=others).run()


@pytest.mark.parametrize("told", ["b3", "md5", "both"])
async def test_a_copy_is_proved_by_what_is_known_at_its_end(world: World, told: str) -> None:
    await world.add(gives(DATA), v=b"2")
    known = TrackerFacts(
        tuple(holder.entry for holder in world.holders),
        b3=None if told == "md5" else B3,
        md5=None if told == "b3" else md5_of(DATA),
        size=len(DATA),
    )
    asked: list[float] = []

    async def later() -> TrackerFacts:
        asked.append(trio.current_time())
        return known if len(asked) > 2 else replace(known, b3=None, md5=None)

    limits = replace(LIMITS, digest_patience=0.15, digest_recheck=0.1)
    done = await fetch(world, TrackerFacts((), size=len(DATA)), later=later, limits=limits)
    assert done.verified == ("md5" if told == "md5" else "b3")
    assert done.path.read_bytes() == DATA


async def test_a_copy_that_proves_wrong_at_its_end_is_not_kept(world: World) -> None:
    await world.add(gives(bytes(len(DATA))), v=b"2")
    known = TrackerFacts((world.holders[0].entry,), b3=B3, size=len(DATA))
    asked: list[float] = []

    async def later() -> TrackerFacts:
        asked.append(trio.current_time())
        return known if len(asked) > 2 else replace(known, b3=None)

    limits = replace(LIMITS, digest_patience=0.15, digest_recheck=0.1)
    with pytest.raises(ChecksumMismatch, match="come to know since"):
        await fetch(world, TrackerFacts((), size=len(DATA)), later=later, limits=limits)
    assert not any(path.name.startswith("film") for path in world.directory.iterdir())


async def test_a_liar_that_speaks_osp2p_2_does_not_hide_an_old_holder(world: World) -> None:
    """The tracker puts the liar's b3 beside the MD5 of the old holder, since nothing contradicts it."""
    await world.add(gives(DATA))
    await world.add(lies(len(DATA), bytes(32)), v=b"2", b3=bytes(32).hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=len(DATA)))
    assert done.verified == "md5"
    assert done.path.read_bytes() == DATA
    assert any(source.error for source in done.sources)


def gives_chunks(content: bytes) -> Script:
    """Speaks OSP2P/2, and serves a content of one chunk rightly."""
    b3 = content_id(len(content), chunk_hash(content)).hex().encode()

    async def script(connection: Connection) -> None:
        await connection.send(b"200 hello\nSIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n200 x\n" % (len(content), b3))
        await connection.send(b"DATA %d\n200 x\n" % len(content) + content)
        await connection.send_eof()

    return script


async def test_another_content_that_proves_its_own_id_is_not_what_the_old_holder_registered(world: World) -> None:
    """Anybody may say the old holder's MD5, and with it a content id of his own."""
    other = random.Random(8).randbytes(5000)
    other_b3 = content_id(len(other), chunk_hash(other))
    await world.add(gives(DATA))
    await world.add(gives_chunks(other), v=b"2", b3=other_b3.hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=other_b3, size=len(other)))
    assert done.verified == "md5"
    assert done.path.read_bytes() == DATA


async def test_an_old_holder_beside_it_takes_nothing_from_the_right_content(world: World) -> None:
    await world.add(gives(b"never asked"))
    await world.add(gives_chunks(DATA), v=b"2", b3=B3.hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3, size=len(DATA)))
    assert done.verified == "b3"
    assert done.path.read_bytes() == DATA


async def test_nor_does_one_that_claims_another_size(world: World) -> None:
    await world.add(gives(DATA))
    await world.add(lies(5, bytes(32)), v=b"2", b3=bytes(32).hex().encode())
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=5))
    assert done.path.read_bytes() == DATA


async def test_old_holders_are_asked_though_the_tracker_has_gone(world: World) -> None:
    async def gone() -> TrackerFacts:
        return TrackerFacts(())

    await world.add(gives(DATA))
    await world.add(None, v=b"2")
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3, size=len(DATA)), later=gone)
    assert done.path.read_bytes() == DATA


async def test_where_nobody_else_gives_it_the_lie_is_the_reason(world: World) -> None:
    await world.add(None)
    await world.add(lies(len(DATA), bytes(32)), v=b"2")
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32), size=len(DATA)))
    assert list(world.directory.iterdir()) == []


async def test_a_content_that_the_user_names_is_proved_by_nothing_else(world: World) -> None:
    await world.add(gives(DATA))
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32)), b3=bytes(32))
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3), b3=B3)
    assert done.verified == "b3"


async def test_what_only_a_tracker_says_does_not_refute_what_its_md5_proves(world: World) -> None:
    await world.add(gives(DATA))
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=bytes(32)))
    assert done.verified == "md5"


async def test_a_trackers_b3_proves_where_it_knows_no_md5(world: World) -> None:
    await world.add(gives(DATA))
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), b3=bytes(32)))
    assert (await fetch(world, TrackerFacts((), b3=B3))).verified == "b3"


# --- claimed sizes ---


@pytest.mark.parametrize("claimed", [1 << 62, 1 << 40, 5, 0, None])
async def test_a_wrong_size_beside_a_content_id_spoils_nothing(world: World, claimed: int | None) -> None:
    """The id proves the size that goes with it, so its holders tell the right one, or are the ones who lie."""
    truth = truth_of(700_000)
    await world.add(silent, **NEW)
    holders = [await speaker(world, truth, NEW) for _ in range(2)]
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3, size=claimed))
    assert (done.size, done.verified) == (700_000, "b3")
    assert not any(source.error for source in done.sources if source.fetched)
    assert any(holder.requests for holder in holders)


async def test_one_who_claims_a_huge_size_hides_nobody(world: World) -> None:
    """Behind an old tracker; the honest content comes before whatever is larger."""
    truth, other = truth_of(700_000), truth_of(1)
    huge = replace(other, content=replace(other.content, size=1 << 62))
    await speaker(world, huge)
    await speaker(world, truth)
    done = await fetch(world, TrackerFacts((), b3=None, md5=md5_of(body_of(truth))))
    assert (done.size, done.verified) == (700_000, "md5")


async def test_a_size_that_is_too_large_ends_a_fetch_only_where_nobody_says_another(world: World) -> None:
    truth = truth_of(700_000)
    await speaker(world, truth, NEW)
    for error, limits in (
        (TooLarge, replace(LIMITS, max_size=600_000)),
        (DiskFull, replace(LIMITS, disk_reserve=1 << 62)),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("osp2p.content.store._RESERVE_SHARE", 1)
            with pytest.raises(error):
                await fetch(world, TrackerFacts((), b3=truth.content.b3, size=700_000), limits=limits)
    assert list(world.directory.iterdir()) == []


async def test_what_is_here_of_a_content_proves_its_size(world: World) -> None:
    """A wrong size that a tracker or a holder claims throws away nothing that an earlier fetch has left."""
    truth = truth_of(700_000)
    with open_target(world.directory / "film", LIMITS) as target:
        store = await open_chunks(target, 700_000, truth.content.b3)
        store.set_hashes(truth.hashes)
        store.put(1, truth.chunk(1))
    small = replace(truth, content=replace(truth.content, size=300_000))
    await speaker(world, small, NEW)
    await speaker(world, truth, NEW)
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3, size=5))
    assert (done.size, done.resumed) == (700_000, MIN_CHUNK)


# --- behind an old tracker ---


def body_of(truth: Truth) -> bytes:
    return b"".join(map(truth.chunk, range(truth.content.count)))


async def test_a_link_is_fetched_in_chunks_behind_an_old_tracker(world: World) -> None:
    """Of its holders those are found that speak OSP2P/2, and the id proves what they give."""
    truth = truth_of(3_000_000)
    speakers = [await speaker(world, truth) for _ in range(2)]
    await world.add(gives(b"an old peer that has something else"))
    await world.add(None)
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3), b3=truth.content.b3)
    assert (done.size, done.verified) == (3_000_000, "b3")
    assert done.path.read_bytes() == body_of(truth)
    assert all(b"GET" in holder.verbs for holder in speakers)
    (probe,) = world.holders[2].requests
    assert probe == b"HELLO OSP2P/2\nSTAT dir%%2Fcat%%201.jpg b3=%s\n" % truth.content.b3.hex().encode()


async def test_holders_that_have_another_content_than_a_link_names_leave_it_to_the_next(world: World) -> None:
    truth = truth_of(700_000)
    await speaker(world, truth_of(600_000))
    await world.add(lies(700_000, truth.content.b3))
    await world.add(gives(DATA))
    await world.add(gives(b""))
    await world.add(gives(body_of(truth)))
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3), b3=truth.content.b3)
    assert done.verified == "b3"
    assert done.path.read_bytes() == body_of(truth)


async def test_a_link_to_what_nobody_has_is_a_mismatch(world: World) -> None:
    await world.add(gives(DATA))
    await speaker(world, truth_of(600_000))
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), b3=bytes(32)), b3=bytes(32))
    assert list(world.directory.iterdir()) == []


async def test_each_holder_is_probed_once(world: World) -> None:
    old, new = await world.add(gives(DATA)), await speaker(world, truth_of(700_000))
    one = transfer_of(world, TrackerFacts((), b3=B3), b3=B3)
    assert (await one.run()).verified == "b3"
    assert sum(request.startswith(b"HELLO") for request in old.requests) == 1
    again = Transfer(
        NAME, one._facts, world.directory / "again", GetOptions(sync=False), one._around, world.events.append, b3=B3
    )
    assert (await again.run()).verified == "b3"
    assert sum(request.startswith(b"HELLO") for request in old.requests) == 1
    assert new.verbs.count(b"HELLO") == 2


async def test_chunks_from_many_holders_are_proved_by_an_old_trackers_checksum(world: World) -> None:
    truth = truth_of(3_000_000)
    speakers = [await speaker(world, truth) for _ in range(2)]
    done = await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))))
    assert (done.size, done.verified) == (3_000_000, "md5")
    assert done.path.read_bytes() == body_of(truth)
    assert all(b"GET" in holder.verbs for holder in speakers)


async def test_what_is_claimed_and_is_not_what_the_checksum_means_is_thrown_away(world: World) -> None:
    truth, lie = truth_of(700_000), truth_of(600_000)
    liar = await speaker(world, lie)
    await speaker(world, truth)
    done = await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))))
    assert done.path.read_bytes() == body_of(truth)
    (source,) = [source for source in done.sources if source.error]
    assert source.address == world.holders[0].entry.address
    assert "whose checksum a tracker knows" in str(source.error)
    assert liar.verbs.count(b"GET") >= 3
    assert [path.name for path in world.directory.iterdir()] == ["film"]


async def test_a_file_that_cannot_be_read_back_is_nobodys_lie_and_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = truth_of(700_000)
    await speaker(world, truth)

    def digest_file(path: Path, *arguments: object, **options: object) -> FileDigest:
        raise StoreError(f"cannot read {path}: too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("osp2p.content.digest.digest_file", digest_file)
        with pytest.raises(StoreError, match="too many open files"):
            await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))))
    assert not any(isinstance(event, SourceFailed) for event in world.events)
    done = await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))))
    assert (done.resumed, done.fetched, done.verified) == (700_000, 0, "md5")


async def test_where_all_claims_are_lies_whole_copies_are_asked_for(world: World) -> None:
    for size in (300_000, 400_000):
        await speaker(world, truth_of(size))
    await world.add(gives(DATA))
    done = await fetch(world, TrackerFacts((), md5=md5_of(DATA)))
    assert (done.path.read_bytes(), done.verified) == (DATA, "md5")


async def test_no_more_than_a_few_claims_are_tried(world: World) -> None:
    liars = [await speaker(world, truth_of(1000 + number)) for number in range(10)]
    with pytest.raises(ChecksumMismatch):
        await fetch(world, TrackerFacts((), md5=bytes(16)), limits=replace(LIMITS, max_claimed_contents=2))
    assert sum(any(request.attributes for request in asked) for liar in liars for asked in liar.requests) == 2


async def test_what_was_claimed_is_resumed(world: World) -> None:
    """A later fetch goes on with the content that it began, even if a smaller one is claimed, too."""
    truth = truth_of(700_000)
    with open_target(world.directory / "film", LIMITS) as target:
        store = await open_chunks(target, 700_000, truth.content.b3)
        store.set_hashes(truth.hashes)
        store.put(0, truth.chunk(0))
    await speaker(world, truth_of(600_000))
    await speaker(world, truth)
    done = await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))))
    assert (done.resumed, done.verified) == (MIN_CHUNK, "md5")


async def test_a_small_file_is_a_whole_copy_behind_an_old_tracker(world: World) -> None:
    truth = truth_of(700_000)
    holder = await speaker(world, truth)
    limits = replace(LIMITS, swarm_from=700_001)
    done = await fetch(world, TrackerFacts((), md5=md5_of(body_of(truth))), limits=limits)
    assert (done.size, done.verified) == (700_000, "md5")
    assert holder.verbs == [b"HELLO", b"STAT", b"GET"]


async def test_without_any_checksum_nobody_is_probed(world: World) -> None:
    holder = await world.add(gives(DATA))
    assert (await fetch(world, TrackerFacts(()))).verified is None
    assert holder.requests == [b"GET dir%2Fcat%201.jpg OSP2P\n"]


async def test_those_of_whom_a_new_tracker_says_that_they_are_old_are_not_probed(world: World) -> None:
    holder = await world.add(gives(DATA), **OLD)
    assert (await fetch(world, TrackerFacts((), md5=md5_of(DATA), b3=B3))).verified == "md5"
    assert holder.requests == [b"GET dir%2Fcat%201.jpg OSP2P\n"]


# --- a tracker that changes its mind ---


class Changing(Speaker):
    """A holder whose file becomes another one after some requests for chunks of it.

    Attributes:
        before: what it had at first.
        left: how many requests it still answers with that.
    """

    def __init__(self, before: Truth, after: Truth, left: int) -> None:
        super().__init__(before, send)
        self.before, self.after, self.left = before, after, left

    def answer(self, request: Request) -> bytes:
        self.left -= request.verb == b"GET"
        self.truth = self.before if self.left >= 0 else self.after
        named = request.attributes.get(b"b3")
        theirs = self.truth.content.b3.hex().encode()
        return super().answer(request) if named in (None, theirs) else b"B3 %s\n301 another content\n" % theirs


async def send(connection: Connection, request: Request, answer: bytes) -> None:
    await connection.send(answer)


@pytest.mark.parametrize("stays", [True, False])
async def test_a_content_id_that_changes_in_the_middle(world: World, stays: bool) -> None:
    """Where somebody still has the old content, that is what arrives; else the new one does, and never a mixture."""
    before, after = truth_of(3_000_000), truth_of(2_900_000)
    changing = Changing(before, after, left=2)
    await speaker(world, before, NEW, changing)
    if stays:
        await speaker(world, before, NEW)

    async def later() -> TrackerFacts:
        new = replace(world.holders[0].entry, attributes={b"v": b"2", b"b3": after.content.b3.hex().encode()})
        return TrackerFacts((new,), b3=after.content.b3, size=2_900_000)

    done = await fetch(world, TrackerFacts((), b3=before.content.b3, size=3_000_000), later=later)
    assert done.path.read_bytes() == body_of(before if stays else after)
    assert done.verified == "b3"
    remarks = [event.text for event in world.events if isinstance(event, Remark)]
    assert remarks == ([] if stays else ["its content has changed since the partial file was begun: begun anew"])
    assert stays or changing.left < 0
    assert [path.name for path in world.directory.iterdir()] == ["film"]


async def test_a_content_id_that_nobody_serves_any_more_leaves_what_is_proved(world: World) -> None:
    before, after = truth_of(3_000_000), truth_of(2_900_000)
    await speaker(world, before, NEW, Changing(before, after, left=3))
    with pytest.raises(Stalled):
        await fetch(world, TrackerFacts((), b3=before.content.b3, size=3_000_000))
    await speaker(world, before, NEW)
    done = await fetch(world, TrackerFacts((), b3=before.content.b3, size=3_000_000))
    assert done.resumed >= MIN_CHUNK
    assert done.path.read_bytes() == body_of(before)


# --- names with several contents ---


def listed(*truths: Truth) -> tuple[ListedContent, ...]:
    return tuple(ListedContent(truth.content.b3, truth.content.size, "10.0.0.1:11111") for truth in truths)


async def test_a_name_with_several_contents_is_told_of_before_it_is_fetched(world: World) -> None:
    truth, other = truth_of(700_000), truth_of(600_000)
    await speaker(world, truth, NEW)
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3, size=700_000, contents=listed(truth, other)))
    assert done.size == 700_000
    (told,) = [event for event in world.events if isinstance(event, SeveralContents)]
    assert told.chosen == truth.content.b3.hex()
    assert [content.size for content in told.contents] == [700_000, 600_000]
    assert world.events.index(told) == 0


@pytest.mark.parametrize("named", [True, False])
async def test_one_content_or_one_that_was_named_is_nothing_to_tell_of(world: World, named: bool) -> None:
    truth = truth_of(700_000)
    await speaker(world, truth, NEW)
    contents = listed(truth, truth_of(5)) if named else listed(truth)
    facts = TrackerFacts((), b3=truth.content.b3, size=700_000, contents=contents)
    await fetch(world, facts, b3=truth.content.b3 if named else None)
    assert not any(isinstance(event, SeveralContents) for event in world.events)


@pytest.mark.parametrize("lie", ["too large", "silent", "wrong bytes"])
async def test_one_liar_does_not_spoil_a_name(world: World, lie: str) -> None:
    """Who registered the name first, with a content that is not to be had. The next one is taken, and that is said."""
    truth = truth_of(700_000)
    size = 1 << 62 if lie == "too large" else 100_000
    if lie == "silent":
        await world.add(None, **NEW)
    else:
        await world.add(lies(size, bytes(32)), **NEW)
    await speaker(world, truth, NEW)
    contents = (ListedContent(bytes(32), size, "t"), *listed(truth))
    facts = TrackerFacts((), b3=bytes(32), size=size, contents=contents)
    done = await fetch(world, facts, others={truth.content.b3: world.holders[1:]})
    assert done.path.read_bytes() == body_of(truth)
    remarks = [event.text for event in world.events if isinstance(event, Remark)]
    assert len(remarks) == 1
    assert truth.content.b3.hex() in remarks[0]


async def test_a_content_that_the_user_named_is_never_exchanged_for_another(world: World) -> None:
    truth = truth_of(700_000)
    await world.add(None, **NEW)
    await speaker(world, truth, NEW)
    facts = TrackerFacts((), b3=bytes(32), size=5, contents=listed(truth))
    with pytest.raises(ConnectFailed):
        await fetch(world, facts, b3=bytes(32), others={truth.content.b3: world.holders[1:]})


async def test_nor_one_of_which_something_is_here(world: World) -> None:
    truth, other = truth_of(700_000), truth_of(600_000)
    with open_target(world.directory / "film", LIMITS) as target:
        store = await open_chunks(target, 700_000, truth.content.b3)
        store.set_hashes(truth.hashes)
        store.put(0, truth.chunk(0))
    await world.add(None, **NEW)
    await speaker(world, other, NEW)
    facts = TrackerFacts((), b3=truth.content.b3, size=700_000, contents=listed(truth, other))
    failing = transfer_of(world, facts, others={other.content.b3: world.holders[1:]})
    with trio.fail_after(20), pytest.raises(Exception, match="tried") as caught:
        await failing.run()
    event = failing.failed(caught.value)  # type: ignore[arg-type]
    assert (event.size, event.resumed, event.proved) == (700_000, MIN_CHUNK, MIN_CHUNK)
    assert len(list(world.directory.iterdir())) == 2


@pytest.mark.parametrize("liars", [0, 3])
async def test_who_answers_late_is_not_forgotten_beside_quick_liars(world: World, liars: int) -> None:
    """Of a content whose size nobody knows for sure, liars claim others at once; the honest holder is busy."""
    truth = truth_of(3 * MIN_CHUNK)

    class Busy(Speaker):
        async def serve(self, connection: Connection) -> None:
            await trio.sleep(2 * LIMITS.probe_timeout)
            await super().serve(connection)

    for number in range(liars):
        await world.add(lies((2 + number) * truth.content.size, truth.content.b3), **NEW)
    await speaker(world, truth, NEW, Busy(truth, send))
    done = await fetch(world, TrackerFacts((), b3=truth.content.b3))
    assert (done.size, done.verified) == (truth.content.size, "b3")
