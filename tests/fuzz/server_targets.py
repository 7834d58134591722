"""Fuzz targets: what strangers send to a tracker and to a sharer, and what they are answered."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from functools import cache

from osp2p.content.chunks import ChunkMap, chunk_count, chunk_hash, chunk_size, content_id
from osp2p.errors import NetworkError, Osp2pError
from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.net.groups import one_error
from osp2p.net.lane import Lane
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.tracker import TrackerOptions
from osp2p.tracker.commands import GREETING
from osp2p.tracker.conversation import Conversation
from osp2p.tracker.state import Session, TrackerState
from osp2p.wire.address import Address
from osp2p.wire.reply import Reply, ReplyParser
from osp2p.wire.request import Request, parse_request
from tests.fuzz.books import audit
from tests.fuzz.client_targets import run_virtually
from tests.fuzz.content_targets import small_chunks
from tests.fuzz.stream import Stream
from tests.fuzz.target import Parameters, target
from tests.tracker.talk import Told, answer

LIMITS = Limits(
    max_line=200,
    max_base_reply=300,
    max_base_files=4,
    max_files=6,
    max_registrations=12,
    max_contents_per_name=3,
    max_name=40,
    max_alias=60,
    max_base_peer_line=50,
    max_blocked_input=300,
    max_ranges=5,
    max_want_peers=3,
    max_list_page=4,
    max_uploads_per_host=1,
)

HOSTS = ("10.0.0.1", "10.0.0.2", "127.0.0.1", "2001:db8::7")
TRACKER = Address("127.0.0.1", 11111)

TRACKER_WORDS = (
    *(
        b"HELLO OSP2P/2\n",
        b"ADDR a 10.0.0.1:1\n",
        b"ADDR b [2001:db8::7]:2\n",
        b"HAVE f\n",
        b"HAVE f ",
        b"DONTHAVE f\n",
    ),
    *(b"WANT f\n", b"WANT b3=", b"STAT f\n", b"LIST\n", b"LIST max=1 after=f\n", b"WHO\n", b"MD5SUM f\n", b"QUIT\n"),
    *(b"BLOCKNOTIFY\n", b"NOTIFY\n", b"NONOTIFY\n", b"CHECKPEER a 10.0.0.1:1\n", b"HELP\n", b"\n", b"@1\n", b"@-\n"),
    *(b" size=5", b" part=yes", b" b3=" + b"1" * 64, b" b3=" + b"2" * 64, b"u3bJz@iaYsq6aMaMSJVq_b", b"%0A", b"g"),
)


def make_state(options: int = 0) -> TrackerState:
    """A tracker's state, with the options that a number stands for."""
    chosen = TrackerOptions(local=options == 1, own_host_only=options == 2, fakes=options == 3)
    return TrackerState(chosen, LIMITS, lambda: ("127.0.0.1",), Told(), random.Random(1), lambda: None)


def read_replies(data: bytes) -> list[Reply]:
    """Everything that a tracker said, as replies; there is nothing else in it."""
    parser = ReplyParser(10_000, 1 << 20)
    *lines, rest = data.split(b"\n")
    assert rest == b""
    replies = [parser.feed_line(line) for line in lines]
    assert not replies or replies[-1] is not None
    return [reply for reply in replies if reply is not None]


@target("tracker/lines", *TRACKER_WORDS, share=0.2, max_length=700)
def every_line_gets_one_reply(data: bytes) -> bool:
    """Whatever several clients say, line by line, each line is answered with one whole reply, or with none where it is
    blank or BLOCKNOTIFY waits. The books agree with themselves after each, bounded by the limits, and when everybody
    has left they are empty. A client without HELLO never sees more than fits its buffer, nor an attribute.

    In the input, a line ``@N`` goes to another client, and ``@-`` ends this one, as does whatever follows QUIT.
    """
    parameters = Parameters(data)
    state = make_state(parameters.number(8))
    sessions = {index: Session(state, Address(host, 50000), TRACKER) for index, host in enumerate(HOSTS)}
    current = 0
    registered = False
    for line in parameters.rest.split(b"\n"):
        session = sessions[current]
        if line.startswith(b"@") and line != b"@-":
            current = line[-1] % len(sessions)
            continue
        if line == b"@-" or session.closing:
            state.logout(session)
            session = sessions[current] = Session(state, session.remote, TRACKER)
            continue
        reply = answer(session, line)
        session.waiting = False
        check_reply(session, line, reply)
        audit(state.registry)
        check_bounds(state)
        registered = registered or state.registry.registrations > 0
    for session in sessions.values():
        state.logout(session)
    while state.registry.forget_some():
        audit(state.registry)
    audit(state.registry)
    assert not state.registry.by_name
    assert not state.registry.peers
    assert state.registry.registrations == 0
    return registered


def check_reply(session: Session, line: bytes, data: bytes) -> None:
    if not data:
        assert not line.split() or line.split()[0].upper() == b"BLOCKNOTIFY"
        return
    (reply,) = read_replies(data)
    assert reply.code in (200, 220, 300, 500)
    verb = line.split()[0].upper()
    if not session.hello:
        if verb in (b"WANT", b"WHO") and session.state.fakes is None:
            assert len(data) <= LIMITS.max_base_reply
        peers = [part for part in reply.data if part.startswith(b"PEER")]
        assert all(len(part.split()) == 3 and b"[" not in part for part in peers)


def check_bounds(state: TrackerState) -> None:
    registry = state.registry
    assert registry.registrations <= LIMITS.max_registrations
    for peer in registry.peers:
        assert len(peer.files) + len(peer.parts) <= LIMITS.max_files
        assert len(peer.alias) <= LIMITS.max_alias
    for name in registry.by_name:
        assert 0 < len(name) <= LIMITS.max_name
        assert len(registry.contents(name)) <= LIMITS.max_contents_per_name


@target("tracker/packets", *TRACKER_WORDS, share=0.06, max_length=700)
def packets_change_no_answer(data: bytes) -> bool:
    """However a client's bytes are cut into packets, it hears what it would hear if it said line after line; behind a
    BLOCKNOTIFY that waits for ever, it hears at most why the connection ends. Then the books are empty.
    """
    parameters = Parameters(data)
    hello = parameters.number(2)
    state, twin = make_state(), make_state()
    start = b"HELLO OSP2P/2\n" if hello else b""
    packets = [start, *parameters.packets()]
    stream = Stream(packets, Address("10.0.0.1", 50000))

    async def converse() -> bool:
        session = Session(state, stream.remote, TRACKER)
        try:
            with one_error():
                await Conversation(Visit(stream), session, Lane(LIMITS), LIMITS).run()
        finally:
            state.logout(session)
        return True

    run_virtually(converse)
    expected, waits = say_line_by_line(Session(twin, stream.remote, TRACKER), b"".join(packets))
    heard = bytes(stream.sent)
    assert heard.startswith(GREETING + expected)
    last_words = heard[len(GREETING) + len(expected) :]
    assert not last_words or (waits and read_replies(last_words)[0].code == 500)
    assert not state.registry.by_name
    assert not state.registry.peers
    return b"200" in expected


def say_line_by_line(session: Session, data: bytes) -> tuple[bytes, bool]:
    """What a client hears that says one line after the other, and whether BLOCKNOTIFY ends that."""
    heard = b""
    *lines, rest = data.split(b"\n")
    for line in [*lines, *([rest] if len(rest) > LIMITS.max_line else [])]:
        if len(line) > LIMITS.max_line:
            return heard + b"500 that line is too long; goodbye\n", False
        heard += answer(session, line)
        if session.closing or session.waiting:
            return heard, session.waiting
    return heard, False


SHARED = {
    b"a.txt": bytes(range(5)),
    b"dir/b.bin": bytes(range(61)),
    b"part.bin": bytes(range(100, 139)),
    b"empty": b"",
}
PART = b"part.bin"
HERE = (0, 2, 3)

PEER_WORDS = (
    *(b"HELLO OSP2P/2\n", b"GET a.txt OSP2P\n", b"GET a.txt OSP2P/2", b"GET dir%2Fb.bin OSP2P/2", b"STAT part.bin"),
    *(b" range=0-4", b" range=8-15", b" any=0-3", b" b3=", b"CHUNKS dir%2Fb.bin", b" 1-2", b" since=", b" wait=1"),
    *(b"LIST prefix=d max=1 after=a\n", b"HELP\n", b"QUIT\n", b"\n", b"..%2F..%2Fetc%2Fpasswd", b"empty", b"part.bin"),
)


class SmallShelf:
    """Four files in memory, one of which is only partly here."""

    def __init__(self) -> None:
        self.offers = {name: make_offer(name) for name in SHARED}

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        names = sorted(name for name in self.offers if name.startswith(prefix) and name > after and name != PART)
        return [self.offers[name] for name in names[:count]]


@cache
def file_of(name: bytes) -> int:
    fd = os.memfd_create("shared")
    os.write(fd, SHARED[name])
    return fd


def hashes_of(body: bytes) -> bytes:
    each = chunk_size(len(body))
    return b"".join(chunk_hash(body[start : start + each]) for start in range(0, len(body), each))


def make_offer(name: bytes) -> Offer:
    body = SHARED[name]
    hashes = hashes_of(body)
    offer = Offer(name, len(body), lambda: os.dup(file_of(name)), b3=content_id(len(body), hashes), hashes=hashes)
    if name == PART:
        offer.chunks = ChunkMap(chunk_count(len(body)))
        for index in HERE:
            offer.chunks.add(index)
    return offer


with small_chunks():
    B3S = tuple(content_id(len(body), hashes_of(body)).hex().encode() for body in SHARED.values())


@target("peer/session", *PEER_WORDS, *B3S, share=0.12, max_length=900)
def a_sharer_sends_what_it_shares(data: bytes) -> bool:
    """Whatever a stranger sends to a sharer, it hears nothing, one whole shared file as in 2007, or, behind HELLO, one
    reply for each line, in order. Every byte of a body is the byte of the file that was asked for, at its place, and of
    a partial file only chunks that are here. Nothing else of the machine is ever sent.
    """
    parameters = Parameters(data)
    packets = list(parameters.packets())
    stream = Stream(packets)
    with small_chunks():
        shelf = SmallShelf()

        async def serve() -> bool:
            try:
                with one_error():
                    await UploadServer(shelf, LIMITS, lambda event: None).serve(stream)
            except (NetworkError, Osp2pError):
                return False
            return True

        run_virtually(serve)
        *lines, rest = b"".join(packets).split(b"\n")
        requests = [line for line in [*lines, *([rest] if len(rest) > LIMITS.max_line else [])] if line.split()]
        heard = bytes(stream.sent)
        if not heard:
            return False
        first = parse_request(requests[0])
        assert first is not None
        if first.verb == b"GET":
            assert heard == SHARED[first.words[0]]
            assert first.words[0] != PART
            return True
        assert first.verb == b"HELLO"
        check_session(requests[1:], heard)
    return True


def check_session(requests: Iterable[bytes], heard: bytes) -> None:
    """Go through a session's answers, one for each request, as far as it went."""
    reply, heard = take_reply(heard)
    assert reply.ok
    for line in requests:
        if not heard:
            return
        reply, heard = take_reply(heard)
        assert reply.code in (200, 300, 301, 302, 303, 500)
        if reply.ok and reply.data and reply.data[0].startswith(b"DATA "):
            request = parse_request(line, attributes=True)
            assert request is not None
            expected = body_of(request, reply)
            assert heard.startswith(expected)
            heard = heard[len(expected) :]
    assert not heard


def take_reply(heard: bytes) -> tuple[Reply, bytes]:
    parser = ReplyParser(1000, 1 << 20)
    while True:
        line, end, heard = heard.partition(b"\n")
        assert end
        reply = parser.feed_line(line)
        if reply is not None:
            return reply, heard


def body_of(request: Request, reply: Reply) -> bytes:
    """The bytes that must follow a DATA reply."""
    assert request.verb == b"GET"
    name = request.words[0]
    body = SHARED[name]
    each = chunk_size(len(body))
    _, length, *details = reply.data[0].split()
    start, end = 0, len(body)
    if details and details[0].startswith(b"chunk="):
        start = int(details[0][6:]) * each
        end = min(len(body), start + each)
    elif b"range" in request.attributes:
        first, _, last = request.attributes[b"range"].partition(b"-")
        start, end = int(first), int(last) + 1
    if name == PART and end > start:
        assert all(index in HERE for index in range(start // each, (end - 1) // each + 1))
    assert int(length) == end - start
    return body[start:end]
