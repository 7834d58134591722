from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedDatagram
from osp2p.overlay.compact import (
    Contact,
    is_reachable,
    pack_address,
    pack_contacts,
    unpack_address,
    unpack_contacts,
)
from osp2p.wire.address import Address

PORTS = st.integers(1, 65535)
IPV4 = st.builds(Address, st.ip_addresses(v=4).map(str), PORTS)
IPV6 = st.builds(Address, st.ip_addresses(v=6).map(str).filter(lambda host: "::ffff:" not in host), PORTS)
IDS = st.binary(min_size=20, max_size=20)


@given(IPV4 | IPV6)
def test_an_address_is_read_as_it_was_written(address: Address) -> None:
    packed = pack_address(address)
    assert len(packed) == (18 if address.is_ipv6 else 6)
    assert unpack_address(packed) == address


@given(st.lists(st.builds(Contact, IDS, IPV4)), st.lists(st.builds(Contact, IDS, IPV6)))
def test_contacts_are_read_as_they_were_written(four: list[Contact], six: list[Contact]) -> None:
    assert unpack_contacts(pack_contacts(four), ipv6=False) == [c for c in four if is_reachable(c.address)]
    assert unpack_contacts(pack_contacts(six), ipv6=True) == [c for c in six if is_reachable(c.address)]


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_contacts_or_malformed(data: bytes, ipv6: bool) -> None:
    try:
        found = unpack_contacts(data, ipv6=ipv6)
    except MalformedDatagram:
        assert len(data) % (38 if ipv6 else 26)
        return
    assert all(len(contact.id) == 20 and contact.address.port for contact in found)


@pytest.mark.parametrize("packed", [b"", bytes(5), bytes(7), bytes(17), bytes([8, 8, 8, 8, 0, 0])])
def test_what_is_no_address(packed: bytes) -> None:
    with pytest.raises(MalformedDatagram):
        unpack_address(packed)


def test_an_ipv4_address_does_not_pass_for_ipv6() -> None:
    mapped = bytes(20) + bytes(10) + b"\xff\xff\x08\x08\x08\x08\x00\x50"
    assert unpack_contacts(mapped, ipv6=True) == []


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("ff02::1", False),
        ("127.0.0.1", True),
        ("223.1.1.1", True),
        ("2001:db8::1", True),
    ],
)
def test_groups_and_nobody_are_no_contacts(host: str, reachable: bool) -> None:
    assert is_reachable(Address(host, 1)) is reachable
