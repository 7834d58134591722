"""PEER and FILE lines, numbers, and content ids."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.address import Address
from osp2p.wire.entry import (
    FileEntry,
    PeerEntry,
    parse_b3,
    parse_file_line,
    parse_number,
    parse_peer_line,
    write_file_line,
    write_peer_line,
)

NAMES = st.binary(min_size=1, max_size=30)
ATTRIBUTES = st.dictionaries(st.from_regex(rb"[a-z][a-z0-9-]{0,8}", fullmatch=True), st.binary(max_size=10), max_size=3)


def can_be_reached(address: Address) -> bool:
    ip = ipaddress.ip_address(address.host)
    return not ip.is_unspecified and getattr(ip, "ipv4_mapped", None) is None


ADDRESSES = st.builds(Address, st.ip_addresses().map(str), st.integers(min_value=1, max_value=65535)).filter(
    can_be_reached
)
BASE_ADDRESSES = ADDRESSES.filter(lambda address: not address.is_ipv6)


@given(st.builds(PeerEntry, NAMES, ADDRESSES, ATTRIBUTES))
def test_a_peer_line_comes_back(entry: PeerEntry) -> None:
    line = write_peer_line(entry)
    assert b"\n" not in line
    assert parse_peer_line(line) == entry
    assert parse_peer_line(line + b"\r") == entry


@given(st.builds(PeerEntry, NAMES, BASE_ADDRESSES))
@example(PeerEntry(b"a=b", Address("1.2.3.4", 5)))
def test_a_base_peer_line_is_four_words_that_old_programs_can_read(entry: PeerEntry) -> None:
    line = write_peer_line(entry)
    keyword, alias, address = line.split(b" ")
    assert (keyword, address) == (b"PEER", str(entry.address).encode())
    assert b"=" not in alias
    assert parse_peer_line(line, hello=False) == entry


@given(st.builds(FileEntry, NAMES, ATTRIBUTES))
@example(FileEntry(b"a=b/c d"))
def test_a_file_line_comes_back(entry: FileEntry) -> None:
    assert parse_file_line(write_file_line(entry)) == entry
    if not entry.attributes:
        assert parse_file_line(write_file_line(entry), hello=False) == entry


def test_before_hello_an_equals_sign_is_a_part_of_the_name() -> None:
    """Old trackers write aliases as they came."""
    assert parse_peer_line(b"PEER a=b 1.2.3.4:5", hello=False) == PeerEntry(b"a=b", Address("1.2.3.4", 5))
    assert parse_file_line(b"FILE x=1", hello=False) == FileEntry(b"x=1")
    with pytest.raises(MalformedLine):
        parse_peer_line(b"PEER a=b 1.2.3.4:5")
    with pytest.raises(MalformedLine):
        parse_file_line(b"FILE x=1")


def test_before_hello_there_is_no_ipv6() -> None:
    assert parse_peer_line(b"PEER a [::1]:5").address == Address("::1", 5)
    with pytest.raises(MalformedLine):
        parse_peer_line(b"PEER a [::1]:5", hello=False)


def test_unknown_attributes_are_kept_for_whoever_knows_them() -> None:
    entry = parse_peer_line(b"PEER a 1.2.3.4:5 zzz=1 v=2")
    assert entry.attributes == {b"zzz": b"1", b"v": b"2"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"PEER",
        b"PEER a",
        b"PEER 1.2.3.4:5",
        b"PEER a b 1.2.3.4:5",
        b"PEER a 1.2.3.4:5 x",
        b"PEER a 1.2.3.4:0",
        b"PEER a 0.0.0.0:5",
        b"PEER a host:5",
        b"PEER a 1.2.3.4:5 v=2 v=2",
        b"PEER v=2 a 1.2.3.4:5",
        b"peer a 1.2.3.4:5",
        b"FILE a",
        b"PEERa 1.2.3.4:5",
    ],
)
def test_what_is_no_peer_line(line: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse_peer_line(line)


@pytest.mark.parametrize("line", [b"", b"FILE", b"FILE a b", b"FILE a size=1 size=1", b"FILE size=1 a", b"file a"])
def test_what_is_no_file_line(line: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse_file_line(line)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda rest: b"PEER a 1.2.3.4:5 " + rest)))
@example(b"PEER \0 1.2.3.4:5")
def test_any_line_is_an_entry_or_malformed(line: bytes) -> None:
    for hello in (False, True):
        try:
            entry = parse_peer_line(line, hello=hello)
        except MalformedLine:
            continue
        assert parse_peer_line(write_peer_line(entry)) == entry
    for hello in (False, True):
        try:
            file = parse_file_line(line, hello=hello)
        except MalformedLine:
            continue
        assert parse_file_line(write_file_line(file)) == file


def test_an_empty_name_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        write_file_line(FileEntry(b""))
    with pytest.raises(LocalProtocolError):
        write_peer_line(PeerEntry(b"", Address("1.2.3.4", 5)))


@given(st.integers(min_value=0, max_value=2**64), st.integers(min_value=0, max_value=2**64))
def test_numbers_up_to_the_maximum(number: int, maximum: int) -> None:
    if number <= maximum:
        assert parse_number(b"%d" % number, maximum) == number
    else:
        with pytest.raises(MalformedLine):
            parse_number(b"%d" % number, maximum)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"-1", b"+1", b"-0", b" 1", b"1 ", b"1\n", b"1_0", b"1.0", b"1e3", b"0x1", b"1\0", b"\xb2"),
        *("١".encode(), "²".encode(), b"1001", b"00001"),
        pytest.param(b"9" * 1_000_000, id="many digits"),
        pytest.param(b"0" * 1_000_000, id="many zeros"),
    ],
)
def test_what_is_no_number(text: bytes) -> None:
    with pytest.raises(MalformedLine, match="a size is"):
        parse_number(text, 1000, "a size")


def test_a_huge_number_is_refused_before_any_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """int() of digits takes quadratic time, and Python refuses more than 4300 with a ValueError."""

    def no_arithmetic(*_: object) -> int:
        raise AssertionError("the digits were converted")

    monkeypatch.setattr("osp2p.wire.entry.int", no_arithmetic, raising=False)
    with pytest.raises(MalformedLine):
        parse_number(b"9" * 5, 1000)
    with pytest.raises(AssertionError):
        parse_number(b"9" * 4, 1000)


def test_where_nothing_makes_sense_nothing_is_a_number() -> None:
    with pytest.raises(MalformedLine):
        parse_number(b"0", -1)


@given(st.binary(min_size=32, max_size=32))
def test_a_content_id_comes_back(raw: bytes) -> None:
    assert parse_b3(raw.hex().encode()) == raw


@pytest.mark.parametrize(
    "text", [b"", b"a" * 63, b"a" * 65, b"A" * 64, b"g" * 64, b" " * 64, b"a" * 62 + b"\r\n", b"0x" + b"a" * 62]
)
def test_what_is_no_content_id(text: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse_b3(text)


@given(st.binary(max_size=70))
@example("é".encode() * 32)
def test_any_bytes_are_a_content_id_or_malformed(text: bytes) -> None:
    try:
        raw = parse_b3(text)
    except MalformedLine:
        return
    assert raw.hex().encode() == text
