from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedDatagram
from osp2p.overlay.bencode import MAX_DEPTH, Value, decode, encode

VALUES: st.SearchStrategy[Value] = st.recursive(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=64) | st.text("idle0123456789:-ab", max_size=40).map(str.encode))
def test_what_is_read_is_written_the_same(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedDatagram:
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_a_part_of_a_value_is_none(value: Value, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MalformedDatagram):
        decode(encoded[:cut])


@given(VALUES, st.binary(min_size=1, max_size=4))
def test_nothing_may_follow(value: Value, more: bytes) -> None:
    with pytest.raises(MalformedDatagram):
        decode(encode(value) + more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i-0e",
        b"i01e",
        b"i+1e",
        b"i 1e",
        b"i1_0e",
        b"ie",
        b"i9223372036854775808e",
        b"i99999999999999999999e",
        b"01:a",
        b"-1:a",
        b"2:a",
        b"999999999:a",
        b"9999999999999:a",
        b"d1:a1:b1:a1:ce",
        b"d1:b0:1:a0:e",
        b"di1e0:e",
        b"d1:ae",
        b"le1:a",
        b"x",
        b"\xff",
        "i٣e".encode(),
    ],
)
def test_other_forms_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedDatagram):
        decode(data)


def test_depth_is_limited() -> None:
    assert decode(b"l" * MAX_DEPTH + b"e" * MAX_DEPTH)
    with pytest.raises(MalformedDatagram):
        decode(b"l" * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1))
    with pytest.raises(MalformedDatagram):
        decode(b"l" * 60_000)
    with pytest.raises(MalformedDatagram):
        decode(b"d0:" * 20_000)
    deep: Value = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(LocalProtocolError):
        encode(deep)


def test_integers_fit_64_bits() -> None:
    assert decode(b"i-9223372036854775808e") == -(1 << 63)
    with pytest.raises(LocalProtocolError):
        encode(1 << 63)


def test_keys_are_written_in_order() -> None:
    assert encode({b"b": 1, b"a": [b"x", -2]}) == b"d1:al1:xi-2ee1:bi1ee"
