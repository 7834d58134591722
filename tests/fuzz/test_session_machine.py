"""A sharer's sessions of OSP2P/2 against a simple model: what each request is answered, in whatever order chunks come,
files change, time passes and several clients ask.

The model answers each request from what is here at that moment. A held STAT waits in it as the protocol says; what is
asked behind it waits, too.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from unittest.mock import patch

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from osp2p.content import chunks as chunks_module
from osp2p.content.chunks import ChunkMap, chunk_hash, content_id
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork, serve_connections
from osp2p.net.memory import MemoryConnection
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from tests.fuzz.server_targets import take_reply
from tests.fuzz.virtual import VirtualRun

EACH = 8
LIMITS = Limits(idle_timeout=1e9, max_held_stat=60.0)
PORT = 11112

WHOLE, PART = b"whole.bin", b"part.bin"
SIZES = {WHOLE: 61, PART: 77}
COUNTS = {WHOLE: 8, PART: 10}

CHUNK_SETS = st.sets(st.integers(0, 9), min_size=1, max_size=5)
WHICH = st.sampled_from([PART, PART, PART, PART, WHOLE, b"missing"])
B3 = st.sampled_from(["right", "right", "right", "right", None, "other"])


@dataclass(eq=False)
class File:
    """One content that is offered, and what the model knows of it.

    Attributes:
        here: the chunks, in the order in which they came.
        sent: how often each chunk was sent.
    """

    name: bytes
    version: int
    offer: Offer
    body: bytes
    here: list[int]
    first_serial: int
    sent: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return COUNTS[self.name]

    @property
    def serial(self) -> int:
        return self.first_serial + len(self.here)

    @property
    def b3(self) -> bytes:
        assert self.offer.b3 is not None
        return self.offer.b3.hex().encode()


@dataclass
class Answer:
    """What a request must be answered: its code, its data lines, and the bytes behind it."""

    code: int
    data: list[bytes] = field(default_factory=list)
    body: bytes = b""


@dataclass(eq=False)
class Request:
    """What was asked: a verb, about which file, and with which attributes."""

    verb: bytes
    name: bytes = b""
    b3: bytes | None = None
    since: int | None = None
    wait: int = 0
    chunks: set[int] = field(default_factory=set)
    range: tuple[int, int] | None = None
    held_until: float | None = None

    @property
    def line(self) -> bytes:
        parts = [self.verb]
        if self.name:
            parts.append(self.name)
        if self.verb == b"GET":
            parts.append(b"OSP2P/2")
        if self.since is not None:
            parts += [b"since=%d" % self.since, b"wait=%d" % self.wait]
        if self.chunks:
            parts.append(b"any=" + b",".join(b"%d" % index for index in sorted(self.chunks)))
        if self.range is not None:
            parts.append(b"range=%d-%d" % self.range)
        if self.b3 is not None:
            parts.append(b"b3=" + self.b3)
        return b" ".join(parts) + b"\n"


@dataclass(eq=False)
class Client:
    """One connection, and what the session behind it should remember.

    Attributes:
        told: up to which serial it knows the chunks of a file.
        given: the chunks of the last file that it was given by the server's own choice.
        asked: what is not answered yet.
    """

    connection: MemoryConnection
    told: dict[File, int] = field(default_factory=dict)
    given: tuple[File | None, set[int]] = (None, set())
    asked: deque[Request] = field(default_factory=deque)
    heard: bytes = b""
    over: bool = False


def ranges(chunks: list[int]) -> bytes:
    """Chunk numbers as one word, neighbours put together."""
    words: list[list[int]] = []
    for index in sorted(chunks):
        if words and words[-1][-1] == index - 1:
            words[-1].append(index)
        else:
            words.append([index])
    return b",".join(b"%d-%d" % (word[0], word[-1]) if len(word) > 1 else b"%d" % word[0] for word in words)


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = patch.object(chunks_module, "MIN_CHUNK", EACH)
        self.patch.start()
        self.run = VirtualRun()
        self.files: dict[bytes, File] = {}
        self.fds: list[int] = []
        self.clients: list[Client] = []
        self.versions = 0

    def teardown(self) -> None:
        self.run.close()
        for fd in self.fds:
            os.close(fd)
        self.patch.stop()

    # the shelf

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        file = self.files.get(name)
        return None if file is None else file.offer

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return [self.files[WHOLE].offer]

    def put(self, name: bytes, here: list[int]) -> None:
        """Offer a new content under a name."""
        self.versions += 1
        body = bytes((index * 7 + self.versions) % 251 for index in range(SIZES[name]))
        hashes = b"".join(chunk_hash(body[start : start + EACH]) for start in range(0, len(body), EACH))
        fd = os.memfd_create("shared")
        os.write(fd, body)
        self.fds.append(fd)
        chunks = None if name == WHOLE else ChunkMap(COUNTS[name], first_serial=100 * self.versions)
        offer = Offer(name, len(body), lambda: os.dup(fd), content_id(len(body), hashes), hashes, chunks)
        if chunks is not None:
            for index in here:
                chunks.add(index)
        first = 0 if chunks is None else 100 * self.versions
        self.files[name] = File(name, self.versions, offer, body, here, first)

    @initialize(here=st.sets(st.integers(0, 9), max_size=4))
    def begin(self, here: set[int]) -> None:
        self.put(WHOLE, list(range(8)))
        self.put(PART, sorted(here))
        self.network = MemoryNetwork("10.0.0.1", capacity=1 << 20)

        async def serve() -> None:
            listener = await self.network.listen(PORT)
            server = UploadServer(self, LIMITS, lambda event: None)
            self.run.nursery.start_soon(serve_connections, listener, server.serve, LIMITS)

        self.run.call(serve)
        self.connect()

    @precondition(lambda self: len(self.clients) < 3)
    @rule()
    def connect(self) -> None:
        async def greet() -> MemoryConnection:
            connection = await self.network.host("10.0.0.2").connect("10.0.0.1", PORT)
            await connection.send(b"HELLO OSP2P/2\n")
            return connection

        client = Client(self.run.call(greet))
        self.run.call(self.listen, client)
        reply, client.heard = take_reply(client.heard)
        assert reply.ok
        self.clients.append(client)

    async def listen(self, client: Client) -> None:
        """Keep all that comes on a connection."""

        async def receive() -> None:
            while data := await client.connection.receive(65536):
                client.heard += data
            client.over = True

        self.run.nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()

    # --- what happens ---

    @precondition(lambda self: PART in self.files)
    @rule(chunks=CHUNK_SETS, tell=st.booleans())
    def gain(self, chunks: set[int], tell: bool) -> None:
        """Chunks come; the next one tells of those before it, too."""
        file = self.files[PART]
        assert file.offer.chunks is not None
        new = [index for index in sorted(chunks) if index not in file.here]
        for index in new:
            file.offer.chunks.add(index)
        file.here += new
        if new and tell:
            self.notify(file)

    def notify(self, file: File) -> None:
        async def tell() -> None:
            file.offer.notify()

        self.run.call(tell)
        for client in self.clients:
            request = client.asked[0] if client.asked else None
            if request is not None and request.held_until is not None and request.name == file.name:
                request.held_until = 0.0

    @precondition(lambda self: PART in self.files)
    @rule()
    def withdraw(self) -> None:
        self.notify(self.files.pop(PART))

    @rule(here=st.sets(st.integers(0, 9), max_size=4))
    def change(self, here: set[int]) -> None:
        """Another content stands under the name."""
        before = self.files.get(PART)
        self.put(PART, sorted(here))
        if before is not None:
            self.notify(before)

    def renew(self) -> None:
        """Begin anew with files of which something was sent so often that the server no longer counts it exactly."""
        for file in list(self.files.values()):
            if max(file.sent.values(), default=0) > 9:
                self.put(file.name, list(file.here))
                self.notify(file)

    @rule(seconds=st.sampled_from([0.5, 10.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.run.advance(seconds)

    # --- what is asked ---

    @rule(data=st.data(), count=st.integers(1, 4), cut=st.integers(0, 200))
    def ask(self, data: st.DataObject, count: int, cut: int) -> None:
        """Several requests in two packets, cut anywhere."""
        self.renew()
        client = data.draw(st.sampled_from(self.clients), label="client")
        self.send(client, [self.request(data) for _ in range(count)], cut)

    def send(self, client: Client, requests: list[Request], cut: int) -> None:
        text = b"".join(request.line for request in requests)

        async def send() -> None:
            for part in (text[:cut], text[cut:]):
                if part:
                    await client.connection.send(part)
                    await trio.testing.wait_all_tasks_blocked()

        client.asked += requests
        self.run.call(send)

    def request(self, data: st.DataObject) -> Request:
        verb = data.draw(st.sampled_from([b"GET", b"STAT", b"GET", b"STAT", b"GET", b"CHUNKS", b"LIST", b"SING"]))
        if verb in (b"LIST", b"SING"):
            return Request(verb)
        request = Request(verb, data.draw(WHICH))
        known = self.files.get(request.name)
        if (said := data.draw(B3)) is not None:
            request.b3 = known.b3 if known is not None and said == "right" else b"1" * 64
        if verb == b"STAT" and data.draw(st.booleans()):
            request.since = max(0, (known.serial if known else 0) - data.draw(st.integers(-1, 3)))
            request.wait = data.draw(st.sampled_from([0, 5, 1000]))
        if verb == b"GET":
            kind = data.draw(st.sampled_from(["any", "chunk", "any", "chunk", "range", "all"]))
            if kind == "any":
                request.chunks = data.draw(CHUNK_SETS)
            elif kind == "range":
                request.range = (data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80)))
            elif kind == "chunk" and known is not None and known.here:
                index = data.draw(st.sampled_from(known.here))
                request.range = (
                    index * EACH + data.draw(st.integers(0, 2)),
                    index * EACH + data.draw(st.integers(2, 4)),
                )
        return request

    @precondition(lambda self: PART in self.files)
    @rule(data=st.data(), chunks=CHUNK_SETS)
    def follow(self, data: st.DataObject, chunks: set[int]) -> None:
        """Somebody learns what is here, more comes, and he hears of it with the next chunk that he gets."""
        client = data.draw(st.sampled_from(self.clients), label="client")
        if client.asked:
            return
        file = self.files[PART]
        self.send(client, [Request(b"STAT", PART)], 0)
        self.answers_are_the_models()
        self.gain(chunks, True)
        index = data.draw(st.sampled_from(file.here))
        self.send(client, [Request(b"GET", PART, file.b3, range=(index * EACH, index * EACH))], 0)

    @rule(data=st.data(), name=st.sampled_from([WHOLE, PART]), count=st.integers(2, 5))
    def take_any(self, data: st.DataObject, name: bytes, count: int) -> None:
        """Somebody leaves the choice to the server, again and again."""
        self.renew()
        client = data.draw(st.sampled_from(self.clients), label="client")
        file = self.files.get(name)
        if file is not None and file.here:
            chunks = set(data.draw(st.lists(st.sampled_from(file.here), min_size=1, max_size=4)))
            self.send(client, [Request(b"GET", name, file.b3, chunks=chunks) for _ in range(count)], 0)

    # --- what is answered ---

    @invariant()
    def answers_are_the_models(self) -> None:
        now = self.run.now
        for client in self.clients:
            assert not client.over
            while client.asked:
                answer = self.answer(client, client.asked[0], now)
                if answer is None:
                    break
                client.asked.popleft()
                reply, rest = take_reply(client.heard)
                assert reply.code == answer.code
                if answer.code != 500:
                    assert list(reply.data) == answer.data
                assert rest.startswith(answer.body)
                client.heard = rest[len(answer.body) :]
            assert client.heard == b""

    def answer(self, client: Client, request: Request, now: float) -> Answer | None:
        """What the model answers now; None while it waits."""
        if request.verb == b"SING":
            return Answer(500)
        if request.verb == b"LIST":
            whole = self.files[WHOLE]
            return Answer(200, [b"FILE %s size=%d b3=%s" % (WHOLE, SIZES[WHOLE], whole.b3)])
        refusal = self.refusal(request)
        file = self.files.get(request.name)
        if refusal is not None:
            return refusal
        assert file is not None
        if request.verb == b"STAT":
            return self.answer_stat(client, request, file, now)
        if request.verb == b"CHUNKS":
            assert file.offer.hashes is not None
            digits = file.offer.hashes.hex().encode()
            return Answer(200, [b"CHUNK %d %s" % (n, digits[64 * n : 64 * n + 64]) for n in range(file.count)])
        return self.answer_get(client, request, file)

    def refusal(self, request: Request) -> Answer | None:
        file = self.files.get(request.name)
        if file is None:
            return Answer(300)
        if request.b3 is not None and request.b3 != file.b3:
            return Answer(301, [b"B3 " + file.b3])
        return None

    def answer_stat(self, client: Client, request: Request, file: File, now: float) -> Answer | None:
        serial = file.serial if file.name == PART else file.count
        if request.held_until is None and request.since == serial:
            request.held_until = now + min(request.wait, LIMITS.max_held_stat)
        if request.held_until is not None and now < request.held_until:
            return None
        lines = [b"SIZE %d" % len(file.body), b"B3 " + file.b3, b"SERIAL %d" % serial]
        known = self.known_since(file, request.since)
        complete = len(file.here) == file.count
        if known is not None and (request.since == serial or not complete):
            lines.append(b"SINCE %d" % (request.since or 0))
            lines += [b"HAVE " + ranges(known)] if known else []
        elif complete:
            lines.append(b"HAVE all")
        else:
            lines += [b"HAVE " + ranges(file.here)] if file.here else []
        client.told[file] = file.serial
        return Answer(200, lines)

    @staticmethod
    def known_since(file: File, since: int | None) -> list[int] | None:
        """The chunks gained since a serial that the file has had."""
        if since is None:
            return None
        if file.name == WHOLE:
            return [] if since == file.count else None
        known = since - file.first_serial
        return file.here[known:] if 0 <= known <= len(file.here) else None

    def answer_get(self, client: Client, request: Request, file: File) -> Answer:
        detail = b""
        if request.chunks:
            if request.b3 is None or max(request.chunks) >= file.count:
                return Answer(500)
            choice = self.choose(client, request.chunks, file)
            if choice is None:
                return Answer(302)
            start, end, detail = choice * EACH, min(len(file.body), choice * EACH + EACH), b" chunk=%d" % choice
        else:
            first, last = request.range or (0, len(file.body) - 1)
            if last >= len(file.body) or last < first:
                return Answer(500)
            start, end = first, last + 1
            if not set(range(start // EACH, (end - 1) // EACH + 1)) <= set(file.here):
                return Answer(302)
        for index in range(start // EACH, (end - 1) // EACH + 1):
            file.sent[index] += 1
        return Answer(200, [b"DATA %d%s%s" % (end - start, detail, self.news(client, file))], file.body[start:end])

    def choose(self, client: Client, asked: set[int], file: File) -> int | None:
        """Of the chunks that are here, one that was sent least; of several, the first that this client has not."""
        given = client.given[1] if client.given[0] is file else set()
        here = asked & set(file.here)
        here = here - given or here
        if not here:
            return None
        choice = min(here, key=lambda index: (file.sent[index], index))
        client.given = (file, given | {choice})
        return choice

    @staticmethod
    def news(client: Client, file: File) -> bytes:
        """What the client is told in passing: what came since it was told last."""
        told = client.told.get(file)
        if file.name == WHOLE or told is None or told == file.serial:
            return b""
        client.told[file] = file.serial
        return b" new=" + ranges(file.here[told - file.first_serial :])


TestSession = SessionMachine.TestCase
TestSession.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
