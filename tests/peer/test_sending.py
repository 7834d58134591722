"""Sending file bytes: exactly those asked for, and not for ever to who does not take them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from osp2p.errors import ConnectionLost, SourceChanged
from osp2p.limits import MIB, Limits
from osp2p.net import Connection, MemoryNetwork, Network, TcpNetwork
from osp2p.peer.sending import Sender

LIMITS = Limits()
CONTENT = random.Random(5).randbytes(400_000)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(CONTENT)
    opened = os.open(tmp_path / "file", os.O_RDWR)
    yield opened
    os.close(opened)


async def pair(network: Network) -> tuple[Connection, Connection]:
    """A sender's connection and a reader's."""
    listener = await network.listen(0)
    reader = await network.connect("127.0.0.1", listener.address.port)
    sender = await listener.accept()
    listener.close()
    return sender, reader


async def read_all(connection: Connection, step: int = 65536, pause: float = 0.0) -> bytes:
    received = b""
    while data := await connection.receive(step):
        received += data
        if pause:
            await trio.sleep(pause)
    return received


@pytest.mark.parametrize("network", [MemoryNetwork(), TcpNetwork()])
@pytest.mark.parametrize(("offset", "count"), [(0, len(CONTENT)), (0, 0), (7, 1), (100_001, 299_999), (5, 70_000)])
async def test_exactly_the_range_arrives(fd: int, network: Network, offset: int, count: int) -> None:
    connection, reader = await pair(network)
    gone: list[int] = []

    async def send() -> None:
        await Sender(LIMITS).send_range(connection, fd, offset, count, gone.append)
        connection.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await read_all(reader) == CONTENT[offset : offset + count]
    assert sum(gone) == count
    reader.close()


@pytest.mark.parametrize("network", [MemoryNetwork(), TcpNetwork()])
async def test_a_file_that_ends_early_is_an_error(fd: int, network: Network) -> None:
    connection, reader = await pair(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, reader)
        with pytest.raises(SourceChanged):
            await Sender(LIMITS).send_range(connection, fd, 5, len(CONTENT))
        connection.close()
    reader.close()


async def test_who_reads_nothing_is_dropped(autojump_clock: MockClock, fd: int) -> None:
    connection, _reader = await pair(MemoryNetwork())
    with pytest.raises(ConnectionLost, match="less than 256 bytes/s"):
        await Sender(LIMITS).send_range(connection, fd, 0, len(CONTENT))
    assert trio.current_time() == LIMITS.upload_rate_window


async def test_who_reads_too_slowly_is_dropped(autojump_clock: MockClock, fd: int) -> None:
    connection, reader = await pair(MemoryNetwork())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, reader, 2000, 10.0)
        with pytest.raises(ConnectionLost, match="less than"):
            await Sender(LIMITS).send_range(connection, fd, 0, len(CONTENT))
        nursery.cancel_scope.cancel()
    assert LIMITS.upload_rate_window <= trio.current_time() <= 3 * LIMITS.upload_rate_window


async def test_who_reads_slowly_enough_gets_all(autojump_clock: MockClock, fd: int) -> None:
    connection, reader = await pair(MemoryNetwork())
    received: list[bytes] = []

    async def read() -> None:
        received.append(await read_all(reader, 4000, 10.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await Sender(LIMITS).send_range(connection, fd, 0, len(CONTENT))
        connection.close()
    assert received == [CONTENT]
    assert trio.current_time() > 5 * LIMITS.upload_rate_window


async def test_the_kernels_large_buffers_do_not_make_a_slow_reader_look_dead(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(24 * MIB))
    limits = replace(LIMITS, upload_rate_window=1.0, min_upload_rate=20_000.0)
    connection, reader = await pair(TcpNetwork())
    opened = os.open(path, os.O_RDONLY)

    async def send() -> None:
        await Sender(limits).send_range(connection, opened, 0, 24 * MIB)
        connection.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for _ in range(30):  # about 200 kB/s for two seconds and a half
                assert await reader.receive(16384)
                await trio.sleep(0.08)
            rest = 24 * MIB - 30 * 16384
            while rest > 0:
                data = await reader.receive(MIB)
                assert data
                rest -= len(data)
    os.close(opened)
    reader.close()


async def test_on_real_sockets_who_reads_nothing_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(24 * MIB))
    limits = replace(LIMITS, upload_rate_window=0.6, min_upload_rate=1000.0)
    connection, reader = await pair(TcpNetwork())
    opened = os.open(path, os.O_RDONLY)
    with trio.fail_after(10), pytest.raises(ConnectionLost, match="less than"):
        await Sender(limits).send_range(connection, opened, 0, 24 * MIB)
    os.close(opened)
    reader.close()
    connection.close()


async def test_who_leaves_ends_it(fd: int) -> None:
    connection, reader = await pair(MemoryNetwork())
    reader.close()
    with pytest.raises(ConnectionLost):
        await Sender(LIMITS).send_range(connection, fd, 0, len(CONTENT))
