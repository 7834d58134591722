"""Lines and signed texts of calls: one way to write each, and no two calls with one text."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.rpc.message import (
    Call,
    is_address,
    is_method,
    is_service,
    parse_call_words,
    parse_result_words,
    split_method,
    write_call_line,
    write_result_line,
)
from osp2p.wire.request import parse_words

ADDRESSES = st.binary(min_size=20, max_size=20).map(bytes.hex)
SERVICES = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=64).filter(is_service)
METHODS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=64).filter(is_method)
NUMBERS = st.integers(0, (1 << 53) - 1)
CALLS = st.builds(
    Call,
    method=st.builds("{}.{}".format, SERVICES, METHODS),
    to=ADDRESSES,
    sender=ADDRESSES,
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=16, max_size=16),
    time=NUMBERS,
    timeout=NUMBERS,
    length=NUMBERS,
)
SIGNATURES = st.binary(min_size=64, max_size=64)
DOCUMENTS = st.binary(max_size=50)


def read(line: bytes) -> tuple[Call, bytes]:
    words, attributes = parse_words(line.split()[1:], attributes=True)
    return parse_call_words(words[0], attributes)


@given(CALLS, SIGNATURES)
def test_a_call_is_read_as_it_was_written(call: Call, signature: bytes) -> None:
    line = write_call_line(call, signature)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert len(line) < 1000
    assert read(line) == (call, signature)


@given(NUMBERS, st.binary(min_size=32, max_size=32), SIGNATURES)
def test_a_result_is_read_as_it_was_written(length: int, key: bytes, signature: bytes) -> None:
    words = write_result_line(length, key, signature).split()
    assert words[0] == b"RESULT"
    attributes = parse_words(words[2:], attributes=True)[1]
    assert parse_result_words(words[1], attributes) == (length, key, signature)


@given(CALLS, CALLS, DOCUMENTS, DOCUMENTS)
def test_calls_that_differ_have_texts_that_differ(one: Call, other: Call, document: bytes, another: bytes) -> None:
    """The key has no line of its own: the sender is its hash."""
    assume(dataclasses.replace(one, key=b"") != dataclasses.replace(other, key=b"") or document != another)
    assert one.text(document) != other.text(another)


@given(CALLS, st.sampled_from(["method", "to", "sender", "nonce", "time", "timeout", "length"]), CALLS, DOCUMENTS)
def test_every_fact_is_signed(call: Call, field: str, other: Call, document: bytes) -> None:
    value: Any = getattr(other, field)
    assume(value != getattr(call, field))
    assert dataclasses.replace(call, **{field: value}).text(document) != call.text(document)


@given(CALLS, DOCUMENTS, DOCUMENTS, st.binary(max_size=50))
def test_a_result_is_of_one_call(call: Call, document: bytes, another: bytes, text: bytes) -> None:
    result = call.result_text(call.text(document), document)
    if another != document:
        assert call.result_text(call.text(document), another) != result
    assert call.result_text(text, document) != result
    assert not result.startswith(b"OSP2P/2 call\n")
    assert call.text(document).startswith(b"OSP2P/2 call\n")


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("clock.add", True),
        ("a-b_C9.x_Y9", True),
        ("a" * 64 + "." + "b" * 64, True),
        ("a" * 65 + ".b", False),
        ("a." + "b" * 65, False),
        ("clock", False),
        ("clock.", False),
        (".add", False),
        ("clock.add.more", False),
        ("clock._add", False),
        ("clock.add_", False),
        ("clock.__add__", False),
        ("_clock.add", False),
        ("9clock.add", False),
        ("clock.9add", False),
        ("clock.a-b", False),
        ("clock.a b", False),
        ("clock.add\n", False),
        ("clöck.add", False),
        ("ab" * 20 + ".add", False),
        ("AB" * 20 + ".add", False),
        ("ab" * 20 + "a.add", True),
    ],
)
def test_names_of_methods(path: str, fits: bool) -> None:
    if fits:
        assert ".".join(split_method(path)) == path
    else:
        with pytest.raises(MalformedLine):
            split_method(path)


def test_names_of_nodes() -> None:
    assert is_address("0123456789abcdef" * 2 + "01234567")
    for text in ("", "ab" * 19, "ab" * 21, "AB" * 20, "g" * 40, "ab" * 20 + "\n"):
        assert not is_address(text)


GOOD = write_call_line(Call("clock.add", "ab" * 20, "cd" * 20, bytes(32), bytes(16), 1, 2, 3), bytes(64))


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b"to=abab", b"to=ABAB"),
        (b"to=ab", b"to="),
        (b"from=cd", b"from=zz"),
        (b"key=00", b"key=0"),
        (b"id=00", b"id=0000"),
        (b"sig=00", b"sig="),
        (b"time=1", b"time=01"),
        (b"time=1", b"time=-1"),
        (b"time=1", b"time=1e3"),
        (b"time=1", b"time=" + b"9" * 30),
        (b"timeout=2", b"timeout="),
        (b"length=3", b"longth=3"),
        (b"clock.add", b"clock%2Eadd%0A"),
        (b"clock.add", b"clock._add"),
    ],
)
def test_what_is_written_otherwise_is_refused(part: bytes, other: bytes) -> None:
    assert part in GOOD
    with pytest.raises(MalformedLine):
        read(GOOD.replace(part, other, 1))


def test_unknown_words_are_ignored() -> None:
    assert read(GOOD.rstrip() + b" colour=blue\n") == read(GOOD)
