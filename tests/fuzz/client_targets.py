"""Fuzz targets: answers of trackers and holders, as the clients read them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio
import trio.testing

from osp2p.content.chunks import ChunkMap, chunk_hash, content_id
from osp2p.errors import (
    LineTooLong,
    MalformedLine,
    NetworkError,
    NobodyHasIt,
    RemoteProtocolError,
    StoreError,
    TrackerError,
    TransferError,
)
from osp2p.limits import Limits
from osp2p.net import LineConnection
from osp2p.peer.chunk_client import ChunkClient, Content
from osp2p.peer.chunk_fetch import ChunkFetch
from osp2p.peer.events import Event, SourceFailed
from osp2p.peer.tracker_client import TrackerClient
from osp2p.wire.address import parse_tracker
from osp2p.wire.entry import FileEntry, PeerEntry
from tests.fuzz.content_targets import SMALL_CHUNK, small_chunks
from tests.fuzz.stream import HERE, THERE, Stream, Streams
from tests.fuzz.target import Parameters, target

LIMITS = Limits(
    max_line=300,
    max_reply_lines=40,
    max_reply_bytes=3000,
    max_listed_files=20,
    max_listed_bytes=4000,
    max_holders=5,
    thread_batch=1 << 40,
)

NAME = b"cat 1.jpg"
BODY = bytes(range(40))[:37]
with small_chunks():
    CHUNKS = [BODY[start : start + SMALL_CHUNK] for start in range(0, len(BODY), SMALL_CHUNK)]
    HASHES = b"".join(map(chunk_hash, CHUNKS))
    CONTENT = Content(NAME, len(BODY), content_id(len(BODY), HASHES))
COUNT = len(CHUNKS)
B3_HEX = CONTENT.b3.hex().encode()

TRACKER_WORDS = (
    *(b"200-hi\n200 hi\n", b"FEATURE b3\n", b"FILE ", b"PEER a 10.0.0.2:11112", b"SIZE 37\n", b"MD5 ", b"B3 ", B3_HEX),
    *(b" v=2", b" part=yes", b" size=37", b" b3=", b"300 no\n", b"500 what\n", b"200 ok\n", b"\n", b"\r\n", b"200-"),
    b"u3bJz@iaYsq6aMaMSJVq_b",
)
HOLDER_WORDS = (
    *(b"200 hello\n", b"SIZE 37\n", b"SERIAL 1\n", b"HAVE all\n", b"HAVE 0-4\n", b"HAVE 1,3\n", b"SINCE 1\n"),
    *(b"DATA 8\n200 x\n", b"DATA 5\n200 x\n", b"DATA 8 chunk=1\n200 x\n", b" new=0-2", b" chunk=4", b"CHUNK 0 "),
    *(b"302 not here\n", b"303 busy\n", b"RETRY 1\n", b"301 other\n", b"300 no\n", b"B3 " + B3_HEX + b"\n"),
    *(
        BODY,
        BODY[:8],
        BODY[32:],
        b"".join(b"CHUNK %d %s\n" % (n, chunk_hash(c).hex().encode()) for n, c in enumerate(CHUNKS)),
    ),
)


def run_virtually(task: Callable[[], Awaitable[bool]]) -> bool:
    """Run a task in virtual time."""
    return trio.run(task, clock=trio.testing.MockClock(autojump_threshold=0))


@target("wire/tracker-name", b"[::1]", b":", b"11111", b"tracker.example", b"[", b"]")
def trackers_have_a_host_and_a_port(data: bytes) -> bool:
    """What a user writes for a tracker is refused, or a host without white space, and a port."""
    try:
        host, port = parse_tracker(data.decode("utf-8", "surrogateescape"))
    except MalformedLine:
        return False
    assert host
    assert 0 < port < 65536
    assert not any(sign.isspace() for sign in host)
    return True


@target("peer/tracker-answers", *TRACKER_WORDS, share=0.12, max_length=1500)
def any_tracker_can_be_heard(data: bytes) -> bool:
    """Whatever a tracker says, each question to it ends in an answer or in an error that the caller is told of. What is
    kept of it has the form that the rest of the program relies on, and no more of it than the limits say.
    """

    async def talk() -> bool:
        parameters = Parameters(data)
        question = parameters.number(8)
        client = TrackerClient(LineConnection(Stream(parameters.packets()), LIMITS), LIMITS, "tracker:1")
        try:
            await client.read_greeting()
            await client.say_hello()
            await ask(client, question)
        except (NetworkError, LineTooLong, TrackerError, NobodyHasIt):
            return False
        return True

    return run_virtually(talk)


async def ask(client: TrackerClient, question: int) -> None:
    """Ask one question and check what comes."""
    if question == 0:
        for entry in await client.list_files():
            check_entry(entry)
    elif question == 1:
        check_peers(await client.list_peers(), client.hello)
    elif question == 2:
        assert len(await client.checksum(NAME)) == 16
    elif question == 3:
        check_holders(await client.holders(NAME, CONTENT.b3), client.hello)
    elif question == 4:
        assert (await client.facts_of(NAME, CONTENT.b3)).b3 == CONTENT.b3
    elif question == 5:
        assert isinstance(await client.wait_closed(), str)
    elif question == 6:
        await client.quit()
    else:
        names = [NAME, b"", b"x" * 5000, b"b"]
        facts = await client.facts(names)
        assert len(facts) == len(names)
        assert not facts[1].holders
        for fact in facts:
            check_holders(list(fact.holders), client.hello)
            assert fact.md5 is None or len(fact.md5) == 16
            assert fact.b3 is None or len(fact.b3) == 32
            assert fact.size is None or 0 <= fact.size < 2**63


def check_holders(entries: list[PeerEntry], hello: bool) -> None:
    assert len(entries) <= LIMITS.max_holders
    check_peers(entries, hello)


def check_peers(entries: list[PeerEntry], hello: bool) -> None:
    for entry in entries:
        assert entry.alias
        assert hello or not entry.address.is_ipv6
        assert 0 < entry.address.port < 65536
        check_entry(entry)


def check_entry(entry: FileEntry | PeerEntry) -> None:
    assert isinstance(entry, PeerEntry) or entry.name
    assert entry.attributes.keys() <= {b"v", b"size", b"b3", b"part", b"name"}


@target("peer/holder-answers", *HOLDER_WORDS, share=0.12, max_length=1500)
def any_holder_can_be_heard(data: bytes) -> bool:
    """Whatever a holder says, each request to it ends in an answer or in an error. Chunk numbers that come out exist,
    and what is taken for a chunk has its number and its length, was asked for, and comes in order.
    """

    async def talk() -> bool:
        parameters = Parameters(data)
        plan = [parameters.number(5) for _ in range(3)]
        first = parameters.number(COUNT)
        last = first + parameters.number(COUNT - first)
        client = ChunkClient(LineConnection(Stream(parameters.packets()), LIMITS), CONTENT, LIMITS)
        try:
            for question in plan:
                await ask_holder(client, question, first, last)
        except (NetworkError, RemoteProtocolError, TransferError):
            return False
        return True

    with small_chunks():
        return run_virtually(talk)


async def ask_holder(client: ChunkClient, question: int, first: int, last: int) -> None:
    """Ask for one thing and check what comes."""
    taken: list[int] = []

    async def take(index: int, chunk: memoryview) -> None:
        assert len(chunk) == len(CHUNKS[index])
        taken.append(index)

    def begins(gained: list[tuple[int, int]]) -> None:
        check_ranges(gained)

    if question == 0:
        state = await client.read_stat()
        check_ranges(state.ranges or [])
        assert 0 <= state.serial < 2**63
    elif question == 1:
        assert len(await client.read_chunks()) == 32 * COUNT
    elif question == 2:
        await client.read_data(first, last, take, begins)
        assert taken == list(range(first, last + 1))
    elif question == 3:
        await client.read_any(1 << first | 1 << last, take, begins)
        assert taken in ([first], [last])
    else:
        await client.send([client.stat(), client.chunks(), client.get_run(first, last), client.get_any(1 << last)])


def check_ranges(ranges: list[tuple[int, int]]) -> None:
    before = -1
    for first, last in ranges:
        assert before < first <= last < COUNT
        before = last


class ProvedStore:
    """A store that takes nothing but the truth."""

    def __init__(self) -> None:
        self.chunks = ChunkMap(COUNT)
        self.hashes: bytes | None = None
        self._written: set[int] = set()

    def set_hashes(self, hashes: bytes) -> None:
        assert hashes == HASHES
        self.hashes = hashes

    def write_run(self, first: int, data: memoryview) -> None:
        last = first + -(-len(data) // SMALL_CHUNK) - 1
        assert data == b"".join(CHUNKS[first : last + 1])
        for index in range(first, last + 1):
            assert index not in self.chunks
            self._written.add(index)

    def mark_proved(self, first: int, last: int) -> None:
        for index in range(first, last + 1):
            assert index in self._written
            assert self.chunks.add(index)


@target("peer/fetch", b"\xff\xff", *HOLDER_WORDS, share=0.04, max_length=2500)
def no_wrong_chunk_is_kept(data: bytes) -> bool:
    """Whatever the holders of a content say, on however many connections, a fetch ends: with the whole content, or with
    an error. No chunk is kept but right ones, and no holder is named that was not there.
    """
    connections = data.split(b"\xff\xff")
    store = ProvedStore()
    limits = replace(LIMITS, stall_timeout=5.0, max_chunk_sources=2)
    holders = [PeerEntry(b"a", THERE, {b"v": b"2"}), PeerEntry(b"b", THERE._replace(port=2), {b"part": b"yes"})]

    def report(event: Event) -> None:
        assert not isinstance(event, SourceFailed) or event.address in {holder.address for holder in holders}

    async def refresh() -> list[PeerEntry]:
        await trio.lowlevel.checkpoint()
        return holders

    async def fetch() -> bool:
        task = ChunkFetch(
            CONTENT,
            holders,
            store,
            network=Streams(Stream(Parameters(connection).packets()) for connection in connections),
            limits=limits,
            rng=random.Random(1),
            own=lambda: {HERE},
            refresh=refresh,
            gained=lambda: None,
            report=report,
        )
        try:
            await task.run()
        except (TransferError, NetworkError):
            assert not store.chunks.complete
            return False
        except StoreError as error:
            raise AssertionError("the store takes everything that is right") from error
        assert store.chunks.complete
        return True

    with small_chunks():
        return run_virtually(fetch)
