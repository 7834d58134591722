"""Requests: verbs, words and attributes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.request import Request, parse_request, parse_words, write_request, write_words

VERBS = st.sampled_from([b"HAVE", b"WANT", b"GET", b"X"])
WORDS = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
KEYS = st.from_regex(rb"[a-z][a-z0-9-]{0,8}", fullmatch=True)
ATTRIBUTES = st.dictionaries(KEYS, st.binary(max_size=20), max_size=4)


@given(VERBS, WORDS, ATTRIBUTES)
@example(b"HAVE", [b"a=b", b"=", b"%3D"], {b"size": b""})
def test_a_request_comes_back(verb: bytes, words: list[bytes], attributes: dict[bytes, bytes]) -> None:
    line = write_request(verb, *words, attributes=attributes)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_request(line[:-1], attributes=True) == Request(verb, tuple(words), attributes)


@given(VERBS, WORDS)
def test_without_attributes_a_request_means_the_same_before_and_after_hello(verb: bytes, words: list[bytes]) -> None:
    line = write_request(verb, *words)
    assert parse_request(line, attributes=False) == parse_request(line, attributes=True)


@given(VERBS, WORDS, st.text(alphabet=" \t\r\v\f", min_size=1, max_size=3).map(str.encode))
def test_any_white_space_separates_words(verb: bytes, words: list[bytes], space: bytes) -> None:
    line = write_request(verb, *words).strip()
    assert parse_request(space + line.replace(b" ", space) + space) == parse_request(line)


@given(st.binary(), st.booleans())
@example(b"\0", True)
@example(b"\xff %zz \xfe", True)
def test_any_bytes_are_a_request_or_blank_or_malformed(line: bytes, attributes: bool) -> None:
    try:
        request = parse_request(line, attributes=attributes)
    except MalformedLine:
        assert attributes  # before HELLO there is nothing that can be malformed here
        return
    assert (request is None) == (not line.split())


@pytest.mark.parametrize("line", [b"", b" ", b"\r", b"\t\v\f \r"])
def test_a_blank_line_is_no_request(line: bytes) -> None:
    assert parse_request(line) is None
    assert parse_request(line, attributes=True) is None


@pytest.mark.parametrize("verb", [b"have", b"Have", b"hAvE", b"HAVE"])
def test_verbs_are_case_insensitive_and_words_are_not(verb: bytes) -> None:
    assert parse_request(verb + b" File\r") == Request(b"HAVE", (b"File",))


def test_a_verb_is_not_unquoted() -> None:
    assert parse_request(b"%48AVE x") == Request(b"%48AVE", (b"x",))


def test_before_hello_there_are_no_attributes() -> None:
    assert parse_request(b"HAVE a=b size=1 c size=1") == Request(b"HAVE", (b"a=b", b"size=1", b"c", b"size=1"))


@pytest.mark.parametrize(
    ("rest", "words", "attributes"),
    [
        (b"a size=1 b3=xy", (b"a",), {b"size": b"1", b"b3": b"xy"}),
        (b"a b3=xy size=1", (b"a",), {b"size": b"1", b"b3": b"xy"}),
        (b"a%3Db", (b"a=b",), {}),
        (b"a k=b=c", (b"a",), {b"k": b"b=c"}),
        (b"a k=%3D%20%00", (b"a",), {b"k": b"= \0"}),
        (b"a k=", (b"a",), {b"k": b""}),
        (b"k=v", (), {b"k": b"v"}),
        (b"a x-9-=1", (b"a",), {b"x-9-": b"1"}),
    ],
)
def test_attributes_after_hello(rest: bytes, words: tuple[bytes, ...], attributes: dict[bytes, bytes]) -> None:
    assert parse_request(b"HAVE " + rest, attributes=True) == Request(b"HAVE", words, attributes)


@pytest.mark.parametrize(
    "rest",
    [
        b"a k=1 k=1",  # a key twice
        b"a k=1 b",  # a word behind an attribute
        b"a =1",
        b"a =",
        b"a K=1",
        b"a 9=1",
        b"a -k=1",
        b"a k_=1",
        b"a k.x=1",
        b"a %6B=1",  # a key is not unquoted
        b"a k\0=1",
        b"a \xff=1",
        b"http://host/?q=1",
    ],
)
def test_malformed_attributes(rest: bytes) -> None:
    with pytest.raises(MalformedLine) as caught:
        parse_request(b"HAVE " + rest, attributes=True)
    assert caught.value.code == 500
    assert parse_request(b"HAVE " + rest) is not None


def test_a_line_full_of_attributes_costs_no_more_than_its_length() -> None:
    words = [b"k%d=1" % number for number in range(100_000)]
    plain, attributes = parse_words(words, attributes=True)
    assert plain == ()
    assert len(attributes) == 100_000


@pytest.mark.parametrize("key", [b"", b"K", b"9", b"a b", b"a=b", b"a\n", b"\xff"])
def test_a_key_that_cannot_be_one_is_our_mistake(key: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        write_request(b"HAVE", b"a", attributes={key: b"1"})
    with pytest.raises(LocalProtocolError):
        write_words((), {key: b"1"})


def test_an_empty_word_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        write_request(b"HAVE", b"")


def test_a_verb_alone() -> None:
    assert write_request(b"LIST") == b"LIST\n"
    assert write_request(b"LIST", attributes={b"max": b"5"}) == b"LIST max=5\n"
