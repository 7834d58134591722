"""Addresses and nodes as they stand in messages: a few bytes each, one after the other.

An address is 4 or 16 bytes of IP and 2 of port, most significant byte first; a node is its id and its address.

Source: BEP 5 (IPv4), BEP 32 (IPv6).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from osp2p.errors import MalformedDatagram
from osp2p.overlay.identifier import ID_BYTES
from osp2p.wire.address import Address

IPV4_BYTES = 6
IPV6_BYTES = 18

#: Hosts that no node can have: nobody, everybody, and groups.
_NOBODY = frozenset({"0.0.0.0", "255.255.255.255", "::"})


class Contact(NamedTuple):
    """A node, as somebody tells of it: its id and where it is said to be."""

    id: bytes
    address: Address


@lru_cache(maxsize=8192)
def pack_address(address: Address) -> bytes:
    """Write an address: 6 bytes, or 18 for IPv6."""
    host, port = address
    if ":" in host:
        return ipaddress.IPv6Address(host).packed + port.to_bytes(2, "big")
    return bytes(map(int, host.split("."))) + port.to_bytes(2, "big")


@lru_cache(maxsize=8192)
def unpack_address(packed: bytes) -> Address:
    """Read an address.

    Raises:
        MalformedDatagram: another length, or port 0.
    """
    port = int.from_bytes(packed[-2:], "big")
    if len(packed) == IPV4_BYTES:
        host = ".".join(map(str, packed[:4]))
    elif len(packed) == IPV6_BYTES:
        ip = ipaddress.IPv6Address(packed[:16])
        host = str(ip.ipv4_mapped or ip)
    else:
        raise MalformedDatagram("an address has 6 bytes, or 18")
    if port == 0:
        raise MalformedDatagram("port 0 is nobody's")
    return Address(host, port)


def is_reachable(address: Address) -> bool:
    """Whether a single host can have this address."""
    if address.host in _NOBODY:
        return False
    if ":" in address.host:
        return not address.host.startswith("ff")
    first = int(address.host.partition(".")[0])
    return 0 < first < 224


def pack_contacts(contacts: Iterable[Contact]) -> bytes:
    """Write nodes, one after the other."""
    return b"".join([contact.id + pack_address(contact.address) for contact in contacts])


def unpack_contacts(packed: bytes, *, ipv6: bool) -> list[Contact]:
    """Read nodes of one family; those with an address that nobody can have are left out.

    Raises:
        MalformedDatagram: another length.
    """
    size = ID_BYTES + (IPV6_BYTES if ipv6 else IPV4_BYTES)
    if len(packed) % size:
        raise MalformedDatagram(f"nodes have {size} bytes each")
    found: list[Contact] = []
    for at in range(0, len(packed), size):
        address = _usable_address(packed[at + ID_BYTES : at + size])
        if address is not None:
            found.append(Contact(packed[at : at + ID_BYTES], address))
    return found


@lru_cache(maxsize=8192)
def _usable_address(packed: bytes) -> Address | None:
    """An address that a node can have, of the family that its length tells; None for any other."""
    if packed[-2:] == b"\0\0":
        return None
    address = unpack_address(packed)
    return address if is_reachable(address) and address.is_ipv6 == (len(packed) == IPV6_BYTES) else None
