"""Addresses and ports."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.wire.address import DEFAULT_TRACKER_PORT, Address, parse_address, parse_port, parse_tracker

PORTS = st.integers(min_value=1, max_value=65535)


@given(st.ip_addresses(v=4), PORTS)
def test_an_ipv4_address_comes_back(ip: ipaddress.IPv4Address, port: int) -> None:
    address = Address(str(ip), port)
    if ip.is_unspecified:
        with pytest.raises(MalformedLine):
            parse_address(str(address).encode())
    else:
        assert parse_address(str(address).encode()) == address
        assert parse_address(str(address).encode(), ipv6=True) == address
        assert not address.is_ipv6
        assert address.is_loopback == ip.is_loopback


@given(st.ip_addresses(v=6), PORTS)
def test_an_ipv6_address_comes_back_in_brackets(ip: ipaddress.IPv6Address, port: int) -> None:
    address = Address(str(ip), port)
    word = f"[{ip.exploded}]:{port}".encode()
    if ip.is_unspecified:
        with pytest.raises(MalformedLine):
            parse_address(word, ipv6=True)
    elif ip.ipv4_mapped is None:
        assert parse_address(word, ipv6=True) == address
        assert str(address) == f"[{ip}]:{port}"
        assert address.is_ipv6
        assert address.is_loopback == ip.is_loopback
    with pytest.raises(MalformedLine):  # not before HELLO
        parse_address(word)


@pytest.mark.parametrize(
    "word",
    [
        b"",
        b":",
        b":80",
        b"1.2.3.4",
        b"1.2.3.4:",
        b"1.2.3:80",
        b"1.2.3.4.5:80",
        b"1.2.3.256:80",
        b"1.2.3.-4:80",
        b"1.2.3.+4:80",
        b"01.2.3.4:80",
        b"1.2.3.004:80",
        b"0x1.2.3.4:80",
        b"16909060:80",
        b" 1.2.3.4:80",
        b"1.2.3.4 :80",
        b"1.2.3.4/8:80",
        b"1.2.3.4\0:80",
        b"0.0.0.0:80",
        b"localhost:80",
        "１.2.3.4:80".encode(),
        b"\xff:80",
        b"::1:80",
        b"[]:80",
        b"[:80",
        b"]:80",
        b"[::1:80",
        b"::1]:80",
        b"[1.2.3.4]:80",
        b"[[::1]]:80",
        b"[::]:80",
        b"[::ffff:0.0.0.0]:80",
        b"[::1%lo]:80",
        b"[fe80::1%25eth0]:80",
        b"[fe80::1%]:80",
        b"[1::2::3]:80",
        b"[::1]80",
        b"[::1]",
        pytest.param(b"1" * 4000 + b":80", id="many digits"),
        pytest.param(b"[" + b":" * 4000 + b"]:80", id="many colons"),
    ],
)
def test_what_is_no_address(word: bytes) -> None:
    for ipv6 in (False, True):
        with pytest.raises(MalformedLine) as caught:
            parse_address(word, ipv6=ipv6)
        assert caught.value.code == 300


@pytest.mark.parametrize("word", [b"[::ffff:127.0.0.1]:80", b"[::ffff:7f00:1]:80"])
def test_a_mapped_address_is_the_ipv4_address_that_it_means(word: bytes) -> None:
    """Else a loopback address could pass for another machine's."""
    address = parse_address(word, ipv6=True)
    assert address == Address("127.0.0.1", 80)
    assert address.is_loopback
    assert not address.is_ipv6


@pytest.mark.parametrize(("word", "port"), [(b"1", 1), (b"80", 80), (b"00080", 80), (b"65535", 65535)])
def test_ports(word: bytes, port: int) -> None:
    assert parse_port(word) == port
    assert parse_address(b"1.2.3.4:" + word) == Address("1.2.3.4", port)


@pytest.mark.parametrize(
    "word",
    [
        *(b"", b"0", b"00000", b"65536", b"99999", b"000080", b"-1", b"+1", b" 1", b"1 ", b"1_0", b"1.0", b"1e3"),
        *(b"0x50", "١".encode(), "²".encode(), b"80\n", b"80\0", b"x"),
        pytest.param(b"9" * 100_000, id="many digits"),
    ],
)
def test_what_is_no_port(word: bytes) -> None:
    with pytest.raises(MalformedLine) as caught:
        parse_port(word)
    assert caught.value.code == 300
    with pytest.raises(MalformedLine):
        parse_address(b"1.2.3.4:" + word)


#: Words near to addresses, which pure noise hardly ever is.
NEARLY = st.text(alphabet="0123456789abf.:[]%- ", max_size=30).map(str.encode)


@given(st.one_of(st.binary(max_size=80), NEARLY), st.booleans())
@example(b"[::ffff:1.2.3.4]:1", True)
def test_any_word_is_an_address_or_malformed(word: bytes, ipv6: bool) -> None:
    try:
        address = parse_address(word, ipv6=ipv6)
    except MalformedLine:
        return
    assert parse_address(str(address).encode(), ipv6=ipv6) == address
    assert 0 < address.port < 65536
    assert str(ipaddress.ip_address(address.host)) == address.host


# --- how users name a tracker ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12345", ("127.0.0.1", 12345)),
        ("example.org", ("example.org", DEFAULT_TRACKER_PORT)),
        ("example.org:1", ("example.org", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]", ("::1", DEFAULT_TRACKER_PORT)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_a_tracker_is_named(text: str, expected: tuple[str, int]) -> None:
    assert parse_tracker(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":1",
        "0",
        "65536",
        "123456",
        "a:",
        "a:0",
        "a:x",
        "a:1:2",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[]:1",
        "a b",
        "a:\udcff",
        "a:१",
    ],
)
def test_what_names_no_tracker(text: str) -> None:
    with pytest.raises(MalformedLine, match="names no tracker") as caught:
        parse_tracker(text)
    assert str(caught.value).startswith(repr(text))


@given(st.text(max_size=30))
def test_any_text_names_a_tracker_or_is_malformed(text: str) -> None:
    try:
        host, port = parse_tracker(text)
    except MalformedLine:
        return
    assert host
    assert not any(character.isspace() for character in host)
    assert 0 < port < 65536


NUMBERS = ["0", "1", "00", "01", "9", "99", "199", "249", "250", "255", "256", "260", "1000", ""]


@given(st.lists(st.sampled_from(NUMBERS), min_size=3, max_size=5))
def test_ipv4_addresses_are_those_of_the_standard_library(numbers: list[str]) -> None:
    text = ".".join(numbers)
    expected: Address | None = None
    with suppress(ValueError):
        expected = Address(str(ipaddress.IPv4Address(text)), 5)
    if expected is None or text == "0.0.0.0":
        with pytest.raises(MalformedLine):
            parse_address(f"{text}:5".encode())
    else:
        assert parse_address(f"{text}:5".encode()) == expected
