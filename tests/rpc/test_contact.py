"""Contact records: signed by the node, read with care."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedDatagram, MalformedLine
from osp2p.overlay.bencode import Value
from osp2p.overlay.item import read_mutable, sign_item
from osp2p.rpc.contact import Contact, read_contact, sign_contact
from osp2p.rpc.identity import SALT, new_identity
from osp2p.wire.address import Address

IDENTITY = new_identity()
HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
PLACES = st.builds(Address, HOSTS, st.integers(1, 65535))


@given(st.lists(PLACES, max_size=8), st.integers(0, (1 << 63) - 1))
def test_a_record_is_read_as_it_was_signed(places: list[Address], sequence: int) -> None:
    item = sign_contact(IDENTITY, places, sequence)
    proved = read_mutable(item.key, item.salt, item.sequence, item.value, item.signature)
    contact = read_contact(proved, IDENTITY.address, 8)
    assert contact.sequence == sequence
    nobodys = [place for place in places if ipaddress.ip_address(place.host).is_unspecified or "::ffff:" in place.host]
    assert set(contact.addresses) >= set(places) - set(nobodys)
    assert len(contact.addresses) <= len(places)


def test_a_record_of_another_key_is_refused() -> None:
    other = new_identity()
    with pytest.raises(MalformedLine):
        read_contact(sign_contact(other, [], 1), IDENTITY.address, 8)
    forged = sign_contact(other, [], 1)
    with pytest.raises(MalformedDatagram):
        read_mutable(IDENTITY.key, SALT, 1, forged.value, forged.signature)


def test_another_item_of_the_key_is_no_record() -> None:
    with pytest.raises(MalformedLine):
        read_contact(sign_item(IDENTITY.private, {b"a": []}, 1, b"other"), IDENTITY.address, 8)


@pytest.mark.parametrize("value", [5, b"x", [b"192.0.2.7:5"], {}, {b"a": b"192.0.2.7:5"}, {b"b": []}])
def test_what_is_no_record_is_refused(value: Value) -> None:
    with pytest.raises(MalformedLine):
        read_contact(sign_item(IDENTITY.private, value, 1, SALT), IDENTITY.address, 8)


def test_what_cannot_be_read_in_a_record_is_left_out() -> None:
    words: list[Value] = [b"192.0.2.7:5", 5, b"host.example:5", b"192.0.2.7:0", b"0.0.0.0:5", [], b"[::1]:6", b"\xff"]
    item = sign_item(IDENTITY.private, {b"a": words, b"more": 1}, 7, SALT)
    places = (Address("192.0.2.7", 5), Address("::1", 6))
    assert read_contact(item, IDENTITY.address, 8) == Contact(IDENTITY.address, places, 7)
    assert read_contact(item, IDENTITY.address, 1).addresses == places[:1]
