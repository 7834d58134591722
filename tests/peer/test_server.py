"""The upload server in the base protocol: exact bytes or none, and nothing that passes for a whole file but is not."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.content.chunks import ChunkMap, chunk_count
from osp2p.errors import ConnectionLost, NetworkError, SourceChanged, StoreError, UnsafeName
from osp2p.limits import MIB, Limits
from osp2p.net import Connection, MemoryNetwork, Network, TcpNetwork, serve_connections
from osp2p.peer.announce import Announcement, Announcer
from osp2p.peer.events import Event, Uploaded
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.wire.address import Address
from osp2p.wire.word import quote
from tests.standins.odd import send_odd_request
from tests.standins.old_client import Listed, fetch, fetch_from, open_old_connection
from tests.standins.old_tracker import open_old_tracker

LIMITS = Limits()
CONTENT = random.Random(6).randbytes(200_000)
NAMES = [b"cat.jpg", b"sub/a b.txt", b"caf\xe9 100%.txt", b"%41", b"a=b", b"\xff\x00\n", b"-rf", b"..."]


class Files:
    """A shelf of files in a directory, by any name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.offers: dict[bytes, Offer] = {}

    def add(self, name: bytes, content: bytes) -> Path:
        path = self.directory / f"file{len(self.offers)}"
        path.write_bytes(content)
        state = path.stat()
        self.offers[name] = Offer(name, len(content), lambda: os.open(path, os.O_RDONLY), mtime_ns=state.st_mtime_ns)
        return path

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []


class Serving:
    """A server that runs, and what it reports."""

    def __init__(self, files: Files, network: Network, limits: Limits, port: int) -> None:
        self.files = files
        self.network = network
        self.events: list[Event] = []
        self.reported = trio.Event()
        self.server = UploadServer(files, limits, self.report)
        self.port = port
        self.scope = trio.CancelScope()

    def report(self, event: Event) -> None:
        self.events.append(event)
        self.reported.set()

    async def connect(self) -> Connection:
        return await self.network.connect("127.0.0.1", self.port)

    async def ask(self, *pieces: bytes) -> bytes:
        """Send pieces and read to the end. Raises: ConnectionLost for a reset."""
        connection = await self.connect()
        try:
            for piece in pieces:
                await connection.send(piece)
            return await read_all(connection)
        finally:
            connection.close()


async def read_all(connection: Connection) -> bytes:
    received = b""
    while data := await connection.receive(65536):
        received += data
    return received


@asynccontextmanager
async def serving(files: Files, network: Network | None = None, limits: Limits = LIMITS) -> AsyncIterator[Serving]:
    network = network or MemoryNetwork()
    listener = await network.listen(0)
    made = Serving(files, network, limits, listener.address.port)

    async def run() -> None:
        with made.scope:
            await serve_connections(listener, made.server.serve, limits)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield made
        nursery.cancel_scope.cancel()
    listener.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# --- what is served ---


@pytest.mark.parametrize("network", [MemoryNetwork, TcpNetwork])
@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
async def test_exactly_the_files_bytes(files: Files, network: Callable[[], Network], size: int) -> None:
    files.add(b"cat.jpg", CONTENT[:size])
    async with serving(files, network()) as made:
        with trio.fail_after(5):
            assert await made.ask(b"GET cat.jpg OSP2P\n") == CONTENT[:size]
        (uploaded,) = made.events
        assert isinstance(uploaded, Uploaded)
        assert (uploaded.name, uploaded.sent, uploaded.error) == (b"cat.jpg", size, None)
        assert made.server.slots.running == 0


async def test_names_are_bytes_quoted_or_raw(files: Files) -> None:
    for name in NAMES:
        files.add(name, b"content of " + name)
    async with serving(files) as made:
        for name in NAMES:
            assert await made.ask(b"GET %s OSP2P\n" % quote(name)) == b"content of " + name
            everything_quoted = b"".join(b"%%%02x" % byte for byte in name)
            assert await made.ask(b"GET %s OSP2P\n" % everything_quoted) == b"content of " + name
        assert await made.ask(b"GET caf\xe9%20100%.txt OSP2P\n") == b"content of caf\xe9 100%.txt"
        assert await made.ask(b"get a=b osp2p\r\n") == b"content of a=b"


async def test_old_downloaders_are_served(files: Files) -> None:
    files.add(b"cat 3.jpg", CONTENT)
    async with serving(files, TcpNetwork()) as made:
        holder = Listed(b"us", "127.0.0.1", made.port)
        with trio.fail_after(10):
            assert await fetch_from(holder, b"cat%203.jpg") == CONTENT
            assert await fetch_from(holder, b"dog.jpg") == b""
            assert await send_odd_request("127.0.0.1", made.port) == b""


async def test_an_old_downloader_finds_us_at_an_old_tracker(files: Files) -> None:
    files.add(b"caf\xe9 3.jpg", CONTENT)
    async with (
        open_old_tracker() as tracker,
        serving(files, TcpNetwork()) as made,
        open_old_connection(tracker.host, tracker.port) as downloader,
        trio.open_nursery() as nursery,
    ):
        announcer = Announcer(TcpNetwork(), tracker.host, tracker.port, b"J\xfcrgen 1", made.port, LIMITS, made.report)
        announcer.offer([(b"caf\xe9 3.jpg", Announcement(len(CONTENT)))])
        nursery.start_soon(announcer.run)
        with trio.fail_after(5):
            await announcer.wait_settled()
            assert await fetch(downloader, b"caf%E9%203.jpg") == CONTENT
        nursery.cancel_scope.cancel()


async def test_many_at_a_time(files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    arrived: list[bytes] = []
    async with serving(files, TcpNetwork()) as made:

        async def fetch_one() -> None:
            arrived.append(await made.ask(b"GET cat.jpg OSP2P\n"))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(fetch_one)
    assert arrived == [CONTENT] * 40


async def test_blank_lines_without_end_are_the_end(autojump_clock: MockClock, files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        for count, expected in ((LIMITS.max_blank_lines - 1, CONTENT), (LIMITS.max_blank_lines, b"")):
            assert await made.ask(b"\n" * count + b"GET cat.jpg OSP2P\n") == expected


async def test_blank_lines_and_a_request_that_comes_byte_by_byte(autojump_clock: MockClock, files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        pieces = [bytes([byte]) for byte in b"\n\r\n  \nGET cat.jpg OSP2P\n"]
        assert await made.ask(*pieces) == CONTENT


async def test_one_who_ended_its_own_direction_is_served(files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files, TcpNetwork()) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\n")
        await connection.send_eof()
        assert await read_all(connection) == CONTENT
        connection.close()


async def test_hello_begins_a_session(files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        answer = await made.ask(b"HELLO OSP2P/2 key=value\nQUIT\n")
        assert answer.startswith(b"FEATURE ")
        assert b"\n200 " in answer


# --- what is not ---

WRONG = [
    b"GET dog.jpg OSP2P\n",
    b"GET cat.jpg\n",
    b"GET cat.jpg OSP2P/2\n",
    b"GET cat.jpg OSP2P more\n",
    b"GET  OSP2P\n",
    b"GET\n",
    b"GET ../cat.jpg OSP2P\n",
    b"GET %2e%2e/cat.jpg OSP2P\n",
    b"GET /etc/passwd OSP2P\n",
    b"GET cat.jpg%00 OSP2P\n",
    b"CHECKUPLOAD cat3.jpg successful!\n",
    b"NOTIFY anna 10.0.0.1:4001 OSP2P\n",
    b"HTTP/1.1 GET /cat.jpg\r\n\r\n",
    b"HELLO\n",
    b"HELLO OSP2P/3\n",
    b"LIST\n",
    b"QUIT\n",
    b"\n" * 1000,
    b"\xff\xfe\x00\n",
    b"GET cat.jpg OSP2P garbage" * 2000 + b"\n",
    b"x" * 100_000,
]


@pytest.mark.parametrize("request_line", WRONG)
async def test_whatever_is_wrong_ends_without_a_byte(
    autojump_clock: MockClock, files: Files, request_line: bytes
) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        try:
            assert await made.ask(request_line) == b""
        except ConnectionLost:
            assert len(request_line) > LIMITS.max_line, "only a line that was not read to its end is reset"
        assert made.events == []
        assert await made.ask(b"GET cat.jpg OSP2P\n") == CONTENT
        assert trio.current_time() < LIMITS.request_timeout


@given(line=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes_get_no_byte_unless_they_ask_for_a_file(
    autojump_clock: MockClock, files: Files, line: bytes
) -> None:
    files.offers.clear()
    async with serving(files) as made:
        try:
            answer = await made.ask(line + b"\n", b"\n", b"\n")
        except ConnectionLost:
            return
        assert answer == b"" or line.lstrip().upper().startswith(b"HELLO")


async def test_half_a_line_and_an_end_is_no_request(files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P")
        await connection.send_eof()
        assert await connection.receive(10) == b""


@pytest.mark.parametrize("error", [UnsafeName("x"), SourceChanged("x"), StoreError("x")])
async def test_a_file_that_cannot_be_opened_any_more_is_none(files: Files, error: Exception) -> None:
    files.add(b"cat.jpg", CONTENT)

    def gone() -> int:
        raise error

    files.offers[b"cat.jpg"].open = gone
    async with serving(files) as made:
        assert await made.ask(b"GET cat.jpg OSP2P\n") == b""
        assert made.events == []


async def test_a_file_that_is_still_being_fetched_is_none(files: Files) -> None:
    content = CONTENT * 4
    files.add(b"cat.jpg", content)
    chunks = ChunkMap(chunk_count(len(content)))
    files.offers[b"cat.jpg"].chunks = chunks
    async with serving(files) as made:
        for index in range(chunks.count):
            assert await made.ask(b"GET cat.jpg OSP2P\n") == b""
            chunks.add(index)
        assert await made.ask(b"GET cat.jpg OSP2P\n") == content


# --- deadlines and slots ---


@pytest.mark.parametrize("pause", [1000.0, 1.0])
async def test_a_request_has_an_absolute_deadline(autojump_clock: MockClock, files: Files, pause: float) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        connection = await made.connect()

        async def drip() -> None:
            with pytest.raises(ConnectionLost):
                for byte in b"\n" + b"x" * 3000:
                    await connection.send(bytes([byte]))
                    await trio.sleep(pause)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert await connection.receive(10) == b""
            assert trio.current_time() == LIMITS.request_timeout


async def test_silence_costs_nobody_else_anything(autojump_clock: MockClock, files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        for _ in range(300):
            await made.connect()
        assert await made.ask(b"GET cat.jpg OSP2P\n") == CONTENT
        assert trio.current_time() < 1


@pytest.mark.parametrize("limits", [{"max_uploads": 2}, {"max_uploads_per_host": 2}])
async def test_beyond_the_slots_a_download_ends_without_a_byte(
    autojump_clock: MockClock, files: Files, limits: dict[str, int]
) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files, limits=replace(LIMITS, **limits)) as made:
        readers = [await made.connect() for _ in range(2)]
        for reader in readers:
            await reader.send(b"GET cat.jpg OSP2P\n")
        await trio.testing.wait_all_tasks_blocked()
        assert made.server.slots.running == 2
        assert await made.ask(b"GET cat.jpg OSP2P\n") == b""
        for reader in readers:
            assert await read_all(reader) == CONTENT
        assert await made.ask(b"GET cat.jpg OSP2P\n") == CONTENT


async def test_who_lingers_holds_no_slot(autojump_clock: MockClock, files: Files) -> None:
    files.add(b"cat.jpg", b"small")
    async with serving(files, limits=replace(LIMITS, max_uploads=1)) as made:
        lingering = await made.connect()
        await lingering.send(b"GET cat.jpg OSP2P\n")
        await trio.testing.wait_all_tasks_blocked()
        assert await made.ask(b"GET cat.jpg OSP2P\n") == b"small"


async def test_who_does_not_read_is_dropped_with_a_reset(autojump_clock: MockClock, files: Files) -> None:
    files.add(b"cat.jpg", CONTENT)
    async with serving(files) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\n")
        await trio.sleep(2 * LIMITS.upload_rate_window)
        with pytest.raises(ConnectionLost):
            await read_all(connection)
        (uploaded,) = made.events
        assert isinstance(uploaded, Uploaded)
        assert isinstance(uploaded.error, ConnectionLost)
        assert 0 < uploaded.sent < len(CONTENT)
        assert made.server.slots.running == 0


# --- the end of a connection ---


async def test_extra_lines_take_nothing_from_the_file(files: Files) -> None:
    content = random.Random(8).randbytes(6 * MIB)
    files.add(b"cat.jpg", content)
    async with serving(files, TcpNetwork()) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\nGET cat.jpg OSP2P\nCHECKUPLOAD cat.jpg successful!\n")
        received = b""
        with trio.fail_after(20):
            while data := await connection.receive(MIB):
                received += data
                if len(received) < MIB:
                    await trio.sleep(0.05)
                await connection.send(b"and another line\n")
        assert received == content
        connection.close()


async def test_lines_in_the_last_moment_take_nothing_either(files: Files) -> None:
    """The whole answer waits in the reader's buffer when its lines come; a plain close would have reset it away."""
    files.add(b"cat.jpg", CONTENT[:30_000])
    async with serving(files, TcpNetwork()) as made:
        for _ in range(5):
            connection = await made.connect()
            await connection.send(b"GET cat.jpg OSP2P\n")
            await trio.sleep(0.02)
            await connection.send(b"CHECKUPLOAD cat.jpg successful!\n" * 10)
            await trio.sleep(0.02)
            with trio.fail_after(5):
                assert await read_all(connection) == CONTENT[:30_000]
            connection.close()


@pytest.mark.parametrize("request_line", [b"GET cat.jpg OSP2P\n", b"nonsense\n"])
async def test_lingering_has_an_end(autojump_clock: MockClock, files: Files, request_line: bytes) -> None:
    files.add(b"cat.jpg", b"small")
    async with serving(files) as made:
        connection = await made.connect()
        await connection.send(request_line)
        await trio.sleep(LIMITS.linger_timeout + 1)
        with pytest.raises(ConnectionLost):
            for _ in range(2):
                await connection.send(b"still here\n")
        flood = await made.connect()
        await flood.send(request_line)
        started = trio.current_time()
        with pytest.raises(ConnectionLost):
            for _ in range(100):
                await flood.send(b"x" * 10_000)
        assert trio.current_time() - started < 0.1


# --- files that change while they are sent ---


@pytest.mark.parametrize("network", [MemoryNetwork, TcpNetwork])
@pytest.mark.parametrize("change", ["shrinks", "grows", "changes"])
async def test_a_file_that_changes_meanwhile_is_cut_off_with_a_reset(
    files: Files, network: Callable[[], Network], change: str
) -> None:
    path = files.add(b"cat.jpg", bytes(40 * MIB))
    async with serving(files, network()) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\n")
        received = len(await connection.receive(1000))
        if change == "shrinks":
            os.truncate(path, 20 * MIB)
        elif change == "grows":
            with path.open("ab") as file:
                file.write(b"more")
        else:
            with path.open("r+b") as file:
                file.write(b"other bytes")
            os.utime(path, ns=(1, 1))
        with trio.fail_after(20), pytest.raises(ConnectionLost):
            while data := await connection.receive(MIB):
                received += len(data)
        assert received <= (20 if change == "shrinks" else 40) * MIB
        with trio.fail_after(5):
            await made.reported.wait()
        (uploaded,) = made.events
        assert isinstance(uploaded, Uploaded)
        assert isinstance(uploaded.error, SourceChanged)
        connection.close()


@pytest.mark.parametrize("network", [MemoryNetwork, TcpNetwork])
async def test_an_upload_that_is_cancelled_does_not_look_whole(files: Files, network: Callable[[], Network]) -> None:
    files.add(b"cat.jpg", bytes(40 * MIB))
    async with serving(files, network()) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\n")
        await connection.receive(1000)
        made.scope.cancel()
        with trio.fail_after(5), pytest.raises(ConnectionLost):
            await read_all(connection)
        (uploaded,) = made.events
        assert isinstance(uploaded, Uploaded)
        assert isinstance(uploaded.error, NetworkError)
        assert uploaded.remote == Address("127.0.0.1", connection.local.port)
        connection.close()


async def test_who_leaves_in_the_middle_is_reported(files: Files) -> None:
    files.add(b"cat.jpg", bytes(40 * MIB))
    async with serving(files, TcpNetwork()) as made:
        connection = await made.connect()
        await connection.send(b"GET cat.jpg OSP2P\n")
        await connection.receive(1000)
        connection.close()
        with trio.fail_after(5):
            await made.reported.wait()
        (uploaded,) = made.events
        assert isinstance(uploaded, Uploaded)
        assert isinstance(uploaded.error, ConnectionLost)
        assert 0 < uploaded.sent < 40 * MIB
