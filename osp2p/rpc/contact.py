"""Where a node listens, signed by it: the record that its address leads to.

The record is the value of a signed item with the salt ``osp2p``: a dictionary whose ``a`` is a list of ``host:port``
and ``[ipv6]:port``, the likeliest first. Its sequence number is the time in milliseconds, so that the record of a later
start is the newer one. Unknown keys are ignored.

Source: BEP 44.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from osp2p.errors import MalformedLine
from osp2p.overlay.bencode import Value
from osp2p.overlay.item import MutableItem, sign_item
from osp2p.rpc.identity import SALT, Identity
from osp2p.wire.address import Address, parse_address


@dataclass(frozen=True, slots=True)
class Contact:
    """A node's contact record.

    Attributes:
        address: the node's, 40 hex digits.
        addresses: where it says that it listens. That it said so is proved; that it does is not.
        sequence: the higher is the newer.
    """

    address: str
    addresses: tuple[Address, ...]
    sequence: int


def sign_contact(identity: Identity, addresses: Sequence[Address], sequence: int) -> MutableItem:
    """Make the signed item of a contact record."""
    value: Value = {b"a": [str(address).encode("ascii") for address in addresses]}
    return sign_item(identity.private, value, sequence, SALT)


def read_contact(item: MutableItem, address: str, most: int) -> Contact:
    """Read the contact record of a node.

    Args:
        item: its signature holds: `overlay.item.read_mutable` made sure of that.
        address: the node's; an item of another key is refused.
        most: how many addresses are taken from it. What cannot be read among them is left out.

    Raises:
        MalformedLine: it is not this node's, or no contact record.
    """
    if item.salt != SALT or item.target.hex() != address:
        raise MalformedLine(f"the record is not that of {address}")
    listed = item.value.get(b"a") if isinstance(item.value, dict) else None
    if not isinstance(listed, list):
        raise MalformedLine(f"the record of {address} names no addresses")
    found: list[Address] = []
    for word in listed[:most]:
        try:
            if isinstance(word, bytes):
                found.append(parse_address(word, ipv6=True))
        except MalformedLine:
            continue
    return Contact(address, tuple(found), item.sequence)
