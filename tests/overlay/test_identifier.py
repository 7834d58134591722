from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.overlay.identifier import (
    ID_BITS,
    crc32c,
    distance,
    fits,
    id_for,
    id_with_prefix,
    is_exempt,
    parse_id,
    random_id,
    shared_bits,
)

IDS = st.binary(min_size=20, max_size=20)
SEEDS = st.integers(0, 1 << 32)


def test_crc_of_the_check_string() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the polynomial's well-known check value


@pytest.mark.parametrize(
    ("host", "last", "prefix"),
    [  # Source: BEP 42
        ("124.31.75.21", 1, "5fbfbf"),
        ("21.75.31.124", 86, "5a3ce9"),
        ("65.23.51.170", 22, "a5d432"),
        ("84.124.73.14", 65, "1b0321"),
        ("43.213.53.83", 90, "e56f6c"),
    ],
)
def test_ids_of_the_standard(host: str, last: int, prefix: str) -> None:
    good = bytes.fromhex(prefix) + bytes(16) + bytes([last])
    assert fits(good, host)
    assert not fits(bytes([good[0] ^ 0x80]) + good[1:], host)
    assert not fits(good[:2] + bytes([good[2] ^ 0x08]) + good[3:], host)
    assert fits(good[:2] + bytes([good[2] ^ 0x07]) + good[3:], host)  # the 22nd bit on is free
    assert not fits(good[:-1] + bytes([good[-1] ^ 1]), host)


@given(st.ip_addresses().map(str), SEEDS)
def test_ids_that_we_choose_fit(host: str, seed: int) -> None:
    assert fits(id_for(host, random.Random(seed)), host)


def test_chosen_ids_are_spread() -> None:
    rng = random.Random(1)
    assert len({id_for("8.8.8.8", rng)[:2] for _ in range(200)}) == 8
    assert len({id_for("8.8.8.8", rng) for _ in range(200)}) == 200


@given(st.ip_addresses(network="2001:db8::/32"), SEEDS)
def test_only_the_network_part_of_ipv6_counts(address: ipaddress.IPv6Address, seed: int) -> None:
    node_id = id_for(str(address), random.Random(seed))
    neighbour = ipaddress.IPv6Address(int(address) ^ 0xFFFF)
    assert fits(node_id, str(neighbour))


@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("192.168.0.9", True),
        ("169.254.3.4", True),
        ("8.8.8.8", False),
        ("::1", True),
        ("fe80::1", True),
        ("fd00::1", True),
        ("2001:db8::1", False),
    ],
)
def test_private_networks_are_exempt(host: str, exempt: bool) -> None:
    assert is_exempt(host) is exempt


@given(IDS, IDS, IDS)
def test_the_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    assert distance(a, a) == 0
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert distance(a, b) ^ distance(b, c) == distance(a, c)


@given(IDS, st.integers(0, ID_BITS - 1), SEEDS)
def test_ids_with_a_prefix(own: bytes, bits: int, seed: int) -> None:
    assert shared_bits(own, id_with_prefix(own, bits, random.Random(seed))) == bits


def test_shared_bits_of_the_same() -> None:
    own = random_id(random.Random(3))
    assert shared_bits(own, own) == ID_BITS


@given(IDS)
def test_an_id_is_read_as_it_is_written(node_id: bytes) -> None:
    assert parse_id(node_id.hex()) == node_id


@pytest.mark.parametrize("text", ["", "ab", "g" * 40, "a" * 39, "a" * 41, "é" * 40, " " + "a" * 39, "a" * 38 + " a"])
def test_other_texts_are_no_ids(text: str) -> None:
    with pytest.raises(MalformedLine):
        parse_id(text)
