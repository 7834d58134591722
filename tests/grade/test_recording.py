"""Recorded connections: everything is written down, in order, and nothing else changes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from osp2p.errors import ConnectionLost, StoreError
from osp2p.grade.recording import RecordedNetwork, Recorder, TranscriptFile, recorded
from osp2p.grade.transcript import Entry, parse_transcript, write_entry
from osp2p.net import Connection, MemoryNetwork, TcpNetwork


@asynccontextmanager
async def pair(entries: list[Entry]) -> AsyncIterator[tuple[Connection, Connection]]:
    """A client that nobody records, and the recorded server's side."""
    network = TcpNetwork()
    listener = await RecordedNetwork(network, Recorder(entries.append)).listen(0, "127.0.0.1")
    client = await network.connect("127.0.0.1", listener.address.port)
    server = await listener.accept()
    try:
        yield client, server
    finally:
        for one in (client, server, listener):
            one.close()


def told(entries: list[Entry]) -> list[tuple[str, bytes, int]]:
    return [(entry.kind, entry.data, entry.size) for entry in entries]


async def test_lines_both_ways_and_the_end() -> None:
    entries: list[Entry] = []
    async with pair(entries) as (client, server):
        assert (server.local.port, server.remote) == (client.remote.port, client.local)
        await client.send(b"LIST\nWHO")
        assert await server.receive(100) == b"LIST\nWHO"
        await server.send(memoryview(b"200 x\n"))
        await client.send_eof()
        buffer = memoryview(bytearray(10))
        assert await server.receive_into(buffer) == 0
        assert await server.receive(10) == b""
        await server.send_eof()
        server.close()
        server.close()
    assert entries[0] == Entry(entries[0].seconds, 1, "accept", address=str(client.local))
    assert told(entries)[1:] == [
        ("<", b"LIST", 0),
        (">", b"200 x", 0),
        ("<~", b"WHO", 0),
        ("<!", b"", 0),
        (">!", b"", 0),
        ("close", b"", 0),
    ]


async def test_files_that_the_system_sends(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    entries: list[Entry] = []
    with (tmp_path / "file").open("rb") as file:
        async with pair(entries) as (client, server), trio.open_nursery() as nursery:
            await client.send(b"GET file OSP2P\n")
            await server.receive(100)

            async def drain() -> None:
                while await client.receive(65536):
                    pass

            nursery.start_soon(drain)
            first = await server.send_file_some(file.fileno(), 0, len(content))
            assert await server.send_file(file.fileno(), first, len(content)) == len(content) - first
            server.close()
    assert told(entries)[1:] == [("<", b"GET file OSP2P", 0), (">=", b"", len(content)), ("close", b"", 0)]
    assert entries[2].sha256 == hashlib.sha256(content).hexdigest()


async def test_what_breaks_is_lost_once() -> None:
    entries: list[Entry] = []
    async with pair(entries) as (client, server):
        client.abort()
        with pytest.raises(ConnectionLost):
            await server.receive(10)
        server.close()
    assert told(entries)[1:] == [("lost", b"", 0)]
    entries.clear()
    async with pair(entries) as (_, server):
        server.abort()
    assert told(entries)[1:] == [("lost", b"", 0)]


async def test_connections_are_numbered_and_the_rest_is_the_networks() -> None:
    entries: list[Entry] = []
    memory = MemoryNetwork()
    network = RecordedNetwork(memory, Recorder(entries.append))
    listener = await network.listen(7)
    host = network.local_addresses()[0]
    assert (host, network.local_ipv6_addresses()) == (memory.local_addresses()[0], memory.local_ipv6_addresses())
    assert await network.resolve(host) == await memory.resolve(host)
    connections = [await network.connect(host, 7) for _ in range(2)]
    accepted = [await listener.accept() for _ in range(2)]
    for one in (*connections, *accepted):
        one.close()
    listener.close()
    assert [(entry.connection, entry.kind) for entry in entries[:4]] == [
        (1, "connect"), (2, "connect"), (3, "accept"), (4, "accept"),
    ]  # fmt: skip


async def test_a_transcript_on_the_disk_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    with recorded(MemoryNetwork(), str(path)) as network:
        listener = await network.listen(7)
        client = await network.connect(network.local_addresses()[0], 7)
        await client.send(b"caf\xe9\n")
        assert "connect" in path.read_text()  # line by line, as things happen
        client.close()
        listener.close()
    lines = path.read_text().splitlines()
    assert lines[0] == "# OSP2P transcript 1"
    assert [entry.kind for entry in parse_transcript(lines)] == ["connect", ">", "close"]


def test_a_transcript_that_cannot_be_made(tmp_path: Path) -> None:
    network = MemoryNetwork()
    with pytest.raises(StoreError, match="cannot write the transcript"), recorded(network, str(tmp_path / "no" / "t")):
        pass


def test_a_full_disk_ends_the_writing_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    transcript = TranscriptFile(Path("/dev/full"))
    with caplog.at_level(logging.WARNING, "osp2p"):
        for _ in range(3):
            transcript.write(Entry(0.0, 1, "close"))
    assert [record.message for record in caplog.records] == [
        "the transcript /dev/full ends here: no space left on device"
    ]
    assert write_entry(Entry(0.0, 1, "close"))
