"""Fuzz targets: datagrams of the overlay."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from osp2p.errors import LocalProtocolError, MalformedDatagram
from osp2p.overlay.bencode import MAX_DEPTH, Value, decode, encode
from osp2p.overlay.compact import pack_address, pack_contacts, unpack_address, unpack_contacts
from osp2p.overlay.item import read_immutable, read_mutable, sign_item
from osp2p.overlay.krpc import Failure, Query, parse_message, write_message
from tests.fuzz.target import Parameters, target

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)

ID = b"abcdefghij0123456789"
WORDS = (b"d", b"l", b"e", b"i1e", b"0:", b"1:a", b"20:" + ID, b"i-1e", b"i9223372036854775807e", b"le", b"de")


def depth_of(value: Value) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@target("overlay/bencode", *WORDS, b"l" * 40)
def bencode_has_one_form(data: bytes) -> bool:
    """What is read is written as the same bytes again, so that hashes and signatures hold; everything else is
    malformed. Values lie in each other only so deep.
    """
    try:
        value = decode(data)
    except MalformedDatagram:
        return False
    assert encode(value) == data
    assert depth_of(value) <= MAX_DEPTH
    return True


@target(
    "overlay/message", *WORDS, b"1:t2:aa", b"1:y1:q", b"1:q4:ping", b"1:ad2:id20:" + ID + b"e", b"2:ip6:\x7f\0\0\1\1\1"
)
def messages_come_back(data: bytes) -> bool:
    """A datagram is malformed, or a query, a response or an error, whose sender has an id of 20 bytes. Written again,
    it is read as the same.
    """
    try:
        message = parse_message(data)
    except MalformedDatagram:
        return False
    assert isinstance(message, Failure) or len(message.sender) == 20
    assert len(message.transaction) <= 32
    assert isinstance(message, Query) or message.claimed_address is None or message.claimed_address.port
    assert parse_message(write_message(message)) == message
    return True


@target(
    "overlay/contacts",
    ID + b"\x0a\0\0\1\x2b\x67",
    b"\0\0",
    b"\xff" * 6,
    ID + b"\x20\1\x0d\xb8" + b"\0" * 11 + b"\7\1\1",
)
def contacts_come_back(data: bytes) -> bool:
    """A packed list of nodes is malformed, or holds nodes of the family that was asked for, with addresses that a host
    can have. Written again, it is read as the same. So is every packed address.
    """
    if len(data) in (6, 18) and data[-2:] != b"\0\0":
        address = unpack_address(data)
        assert unpack_address(pack_address(address)) == address
    understood = False
    for ipv6 in (False, True):
        try:
            contacts = unpack_contacts(data, ipv6=ipv6)
        except MalformedDatagram:
            continue
        for contact in contacts:
            assert len(contact.id) == 20
            assert contact.address.is_ipv6 == ipv6
            assert 0 < contact.address.port < 65536
        assert unpack_contacts(pack_contacts(contacts), ipv6=ipv6) == contacts
        understood = understood or bool(contacts)
    return understood


@target("overlay/item", *WORDS, share=0.2, max_length=1300)
def items_are_signed_or_refused(data: bytes) -> bool:
    """A value that a stranger sends is refused with a code, or small enough to be kept. With what its owner signed it
    is taken; with one bit of anything else it is refused.
    """
    parameters = Parameters(data)
    sequence = parameters.number(1000)
    salt = parameters.number(70) * b"s"
    place, bit = parameters.number(200), parameters.number(9)
    try:
        value = decode(parameters.rest)
        assert len(read_immutable(value).target) == 20
        item = sign_item(KEY, value, sequence, salt)
    except (MalformedDatagram, LocalProtocolError):
        return False
    text = bytearray(item.signature + item.key + salt + parameters.rest)
    changed = bit < 8 and place < len(text)
    if changed:
        text[place] ^= 1 << bit
    signature, key, said = bytes(text[:64]), bytes(text[64:96]), bytes(text[96 : 96 + len(salt)])
    try:
        taken = read_mutable(key, said, sequence, decode(bytes(text[96 + len(salt) :])), signature)
    except MalformedDatagram:
        assert changed
        return True
    assert not changed
    assert taken == item
    return True
