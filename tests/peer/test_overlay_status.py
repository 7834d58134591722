"""What a node knows of the overlay, as lines, and who is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine, NobodyHasIt
from osp2p.limits import DEFAULT
from osp2p.net import MemoryNetwork, TcpNetwork
from osp2p.net.memory_datagrams import MemoryDatagrams
from osp2p.overlay.node import OverlayOptions
from osp2p.overlay.status import FamilyStatus, NeighbourStatus, OverlayStatus
from osp2p.peer.node import open_node
from osp2p.peer.overlay_status import ask_status, parse_status, write_status
from osp2p.wire.address import Address

NUMBERS = st.integers(0, 10**9)
IDS = st.binary(min_size=20, max_size=20)
PORTS = st.integers(1, 65535)
NEIGHBOURS = st.builds(
    NeighbourStatus,
    IDS,
    st.builds(Address, st.ip_addresses(v=4).filter(lambda ip: int(ip) != 0).map(str), PORTS),
    st.integers(0, 10**6).map(lambda milliseconds: milliseconds / 1000),
    st.integers(0, 5),
)
STATUSES = st.builds(
    OverlayStatus,
    network=st.none() | st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    port=PORTS,
    read_only=st.just(False),
    families=st.tuples(
        st.builds(
            FamilyStatus,
            ipv6=st.just(False),
            id=IDS,
            host=st.none() | st.just("20.0.0.1"),
            buckets=st.lists(st.integers(0, 8), min_size=1, max_size=9).map(tuple),
            spares=NUMBERS,
            neighbours=st.lists(NEIGHBOURS, max_size=4).map(tuple),
        )
    ),
    stored_keys=NUMBERS,
    stored_peers=NUMBERS,
    stored_items=NUMBERS,
    published=NUMBERS,
    published_taken=NUMBERS,
    counts=st.dictionaries(st.sampled_from(["packets in", "too many"]), NUMBERS),
)


@given(STATUSES)
def test_a_status_is_read_as_it_was_written(status: OverlayStatus) -> None:
    assert parse_status(write_status(status)) == status


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"NODE port=x",
        b"NODE",
        b"FAMILY 4 id=5 buckets=1 spares=0",
        b"FAMILY 4 id=" + b"a" * 40 + b" buckets=x spares=0",
        b"NEIGHBOUR 4 id=" + b"a" * 40 + b" at=nowhere quiet=0 failures=0",
        b"COUNT name=x",
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse_status([line])


async def ask(port: int, line: str) -> list[str]:
    """The lines of an answer."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{line}\nQUIT\n".encode())
        answer = b"".join([data async for data in stream])
    return answer.decode().removesuffix("200 goodbye\n").splitlines()


async def test_a_node_tells_its_own_machine_alone(tmp_path: Path) -> None:
    network, datagrams = MemoryNetwork("192.0.2.1"), MemoryDatagrams("192.0.2.1")
    async with open_node(
        network=network, overlay=OverlayOptions(), datagrams=datagrams, cache=tmp_path / "cache", port=5000
    ) as node:
        await node.listen()
        with pytest.raises(NobodyHasIt, match="own machine"):
            await ask_status(network.host("192.0.2.2"), "192.0.2.1", 5000, DEFAULT)
    async with open_node(overlay=OverlayOptions(), cache=tmp_path / "cache", port=0) as node:
        address = await node.listen()
        hello = await ask(address.port, "HELLO OSP2P/2")
        assert hello[-1] == "200 hello"
        assert "FEATURE overlay" in hello
        assert all(line.startswith("FEATURE ") for line in hello[:-1])
        status = await ask_status(TcpNetwork(), "127.0.0.1", address.port, DEFAULT)
        assert (status.port, status.network) == (address.port, "osp2p")
    async with open_node(cache=tmp_path / "cache", port=0) as node:
        address = await node.listen()
        with pytest.raises(NobodyHasIt, match=f"the node at 127.0.0.1:{address.port} is in no overlay"):
            await ask_status(TcpNetwork(), "127.0.0.1", address.port, DEFAULT)


async def test_a_node_that_shares_nothing_yet_answers_at_its_port(tmp_path: Path) -> None:
    """Its port is open from the beginning, for that of the overlay has the same number: then it answers, too."""
    async with open_node(overlay=OverlayOptions(), cache=tmp_path / "cache", port=0) as node:
        assert node.overlay is not None
        status = await ask_status(TcpNetwork(), "127.0.0.1", node.overlay.port, DEFAULT)
        assert status.port == node.overlay.port
        assert (await node.listen()).port == node.overlay.port
        again = await ask_status(TcpNetwork(), "127.0.0.1", node.overlay.port, DEFAULT)
        assert again.port == node.overlay.port
