"""Transcripts: what is written can be read back, and bytes are cut into lines and bodies however they arrive."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.grade.transcript import (
    NOISE,
    Entry,
    Kind,
    Scribe,
    escape_text,
    parse_entry,
    parse_transcript,
    unescape_text,
    write_entry,
)

TEXTS: tuple[Kind, ...] = ("<", ">", "<~", ">~")
BODIES: tuple[Kind, ...] = ("<=", ">=")
ALONE: tuple[Kind, ...] = ("<!", ">!", "close", "lost")
ADDRESSES: tuple[Kind, ...] = ("accept", "connect")

seconds = st.integers(0, 10**9).map(lambda micros: micros / 10**6)
numbers = st.integers(1, 10**6)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
entries = st.one_of(
    st.builds(Entry, seconds, numbers, st.sampled_from(TEXTS), st.binary()),
    st.builds(Entry, seconds, numbers, st.sampled_from(ALONE)),
    st.builds(Entry, seconds, numbers, st.sampled_from(ADDRESSES), address=st.just("[::1]:4001")),
    st.builds(Entry, seconds, numbers, st.sampled_from(BODIES), size=st.integers(0, 10**12), sha256=hashes),
)


@given(st.binary())
def test_texts_can_be_had_back(data: bytes) -> None:
    text = escape_text(data)
    assert text.isascii()
    assert text == "" or text.isprintable()
    assert unescape_text(text) == data


@given(entries)
def test_entries_can_be_had_back(entry: Entry) -> None:
    line = write_entry(entry)
    assert line.isprintable()
    assert parse_entry(line) == entry


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        entry = parse_entry(text)
    except MalformedLine:
        return
    assert entry is None or parse_entry(write_entry(entry)) == entry


@pytest.mark.parametrize(
    "line",
    [
        "1 1 close",
        "1.0 x close",
        "1.0 1 close now",
        "1.0 1 <= 5",
        "1.0 1 <= 5 md5:00",
        "1.0 1 accept",
        "1.0 1 accept a b",
        "1.0 1 < caf\xe9",
        "1.0 1 < a\\b",
        "1.0 1 ? x",
    ],
)
def test_other_lines_are_refused_by_number(line: str) -> None:
    with pytest.raises(MalformedLine, match=r"^line 2: "):
        parse_transcript(["# remark\n", f"{line}\n"])


def test_remarks_and_blank_lines_are_no_entries() -> None:
    assert parse_transcript(["# OSP2P transcript 1\n", "\n", "0.5 1 close\n"]) == [Entry(0.5, 1, "close")]


def test_what_was_said_is_read_as_it_was_written() -> None:
    assert parse_entry("0.1 2 < ") == parse_entry("0.1 2 <") == Entry(0.1, 2, "<", b"")
    assert parse_entry("0.1 2 >~ a  b\\x0d\\\\") == Entry(0.1, 2, ">~", b"a  b\r\\")


def told(
    chunks: list[tuple[Literal["<", ">"], bytes]], kind: Literal["accept", "connect"] = "accept"
) -> list[tuple[str, bytes, int]]:
    """The entries of a connection without times and hashes."""
    scribe = Scribe(1, kind, "127.0.0.1:1")
    found: list[Entry] = []
    for way, data in chunks:
        found += scribe.moved(way, data, 0.0)
    found += scribe.closed(0.0)
    return [(entry.kind, entry.data, entry.size) for entry in found]


def test_lines_and_what_is_no_line() -> None:
    assert told([("<", b"LI"), ("<", b"ST\r\nWH"), (">", b"200 x\n")]) == [
        ("<", b"LIST\r", 0),
        (">", b"200 x", 0),
        ("<~", b"WH", 0),
        ("close", b"", 0),
    ]


@pytest.mark.parametrize("kind", ["accept", "connect"])
def test_the_body_of_2007_goes_on_until_the_end(kind: Literal["accept", "connect"]) -> None:
    asks, gives = ("<", ">") if kind == "accept" else (">", "<")
    body = b"line\n" * 10
    entries = told([(asks, b"GET a OSP2P\n"), (gives, body[:7]), (gives, body[7:])], kind)  # type: ignore[list-item]
    assert entries == [(asks, b"GET a OSP2P", 0), (f"{gives}=", b"", 50), ("close", b"", 0)]


def test_an_empty_body_is_a_body() -> None:
    assert told([("<", b"GET a OSP2P\n")])[1] == (">=", b"", 0)


def test_announced_bodies_stand_between_replies() -> None:
    reply = b"DATA 7\n200 here\nab\n200 " + b"DATA 0\n200 none\n" + b"DATA 9\n302 no\n" + b"200 x\n"
    assert told([("<", b"HELLO OSP2P/2\n"), (">", b"200 hello\n"), (">", reply)]) == [
        ("<", b"HELLO OSP2P/2", 0),
        (">", b"200 hello", 0),
        (">", b"DATA 7", 0),
        (">", b"200 here", 0),
        (">=", b"", 7),
        (">", b"DATA 0", 0),
        (">", b"200 none", 0),
        (">", b"DATA 9", 0),
        (">", b"302 no", 0),
        (">", b"200 x", 0),
        ("close", b"", 0),
    ]


def test_a_tracker_that_lists_data_announces_nothing() -> None:
    assert (">", b"DATA 5", 0) in told([("<", b"LIST\n"), (">", b"DATA 5\n200 x\nabcde\n")])


def test_noise_is_counted_and_lines_go_on_behind_it() -> None:
    noise = b"a" * (NOISE + 1)
    assert told([("<", noise), ("<", b"b\nLIST\n")]) == [
        ("<=", b"", NOISE + 3),
        ("<", b"LIST", 0),
        ("close", b"", 0),
    ]


def test_hashes_are_of_the_bytes() -> None:
    scribe = Scribe(1, "connect", "127.0.0.1:1")
    scribe.moved(">", b"GET a OSP2P\n", 0.0)
    scribe.moved("<", b"he", 0.0)
    scribe.moved("<", b"llo", 0.0)
    ended = scribe.ended("<", 2.0)
    assert ended == [Entry(2.0, 1, "<=", size=5, sha256=hashlib.sha256(b"hello").hexdigest()), Entry(2.0, 1, "<!")]
    assert scribe.closed(3.0, lost=True) == [Entry(3.0, 1, "lost")]


_SERVER = b"200-hi\n200 x\nDATA 12\n200 y\n" + b"body\nof\nfile" + b"FILE a\n200 z\n" + b"n" * 5000 + b"\n200 end\nrest"


@given(st.lists(st.integers(0, len(_SERVER)), max_size=12))
def test_it_does_not_matter_how_bytes_arrive(cuts: list[int]) -> None:
    whole = [("<", b"HELLO OSP2P/2\n"), (">", _SERVER)]
    edges = [0, *sorted(cuts), len(_SERVER)]
    parts = [(">", _SERVER[a:b]) for a, b in pairwise(edges)]
    assert told([whole[0], *parts]) == told(whole)  # type: ignore[list-item, arg-type]
