"""The twin of the overlay's grammar, and ports that count."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedDatagram
from osp2p.evil.bounds import BoundReached, Bounds, Budget
from osp2p.evil.datagrams import Port, Value, decode, encode, pack, refused, returned
from osp2p.evil.network import SocketNetwork
from osp2p.overlay import bencode
from osp2p.overlay.compact import pack_address
from osp2p.wire.address import Address

VALUES: st.SearchStrategy[Value] = st.recursive(
    st.integers(-(2**60), 2**60) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_what_a_node_reads(value: Value) -> None:
    assert bencode.decode(encode(value)) == value == decode(encode(value))


@given(st.binary(max_size=60))
def test_what_is_none_is_none_for_both(data: bytes) -> None:
    try:
        value = bencode.decode(data)
    except MalformedDatagram:
        return  # a node is stricter: about the order of keys, for one
    assert decode(data) == value


def test_addresses() -> None:
    assert pack("192.0.2.7", 11112) == pack_address(Address("192.0.2.7", 11112))


def test_answers() -> None:
    assert returned({b"y": b"r", b"r": {b"id": b"x"}}) == {b"id": b"x"}
    assert returned(None) == returned({b"r": 5}) == {}
    assert refused({b"y": b"e", b"e": [203, b"no"]}) == 203
    assert refused({b"y": b"r"}) == refused(None) == refused({b"e": []}) == 0


async def test_a_port_counts_and_is_bounded() -> None:
    network = SocketNetwork(None)
    other = await network.open_datagrams(0)
    budget = Budget(Bounds(total_bytes=250))
    port = Port(await network.open_datagrams(0), ("127.0.0.1", other.address.port), budget, 0, Random(1))
    try:
        await port.send(bytes(100))
        data, source = await other.receive()
        assert (data, source.port) == (bytes(100), port.place.port)
        other.send(encode({b"t": b"x", b"y": b"q"}), source)
        assert await port.receive(5) == {b"t": b"x", b"y": b"q"}
        assert await port.receive(0.01) is None
        await port.send(bytes(100))
        with pytest.raises(BoundReached):
            await port.send(bytes(100))
        assert (port.sent, port.exchange.sent, port.exchange.parts[0]) == (200, 200, (">", bytes(100)))
    finally:
        port.close()
        other.close()
