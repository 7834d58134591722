"""160-bit ids of nodes and keys, their distance, and the tie between a node's id and its address.

A node's id begins with 21 bits that follow from its address and from three bits of its last byte, so whoever wants many
ids near a key needs many addresses. Addresses of private networks are exempt: there everybody may choose.

Source: Maymounkov and Mazières, 2002 (the distance); BEP 42 (the tie).
"""

from __future__ import annotations

import ipaddress
import random
from functools import lru_cache

from osp2p.errors import MalformedLine

#: Bytes of an id.
ID_BYTES = 20

#: Bits of an id.
ID_BITS = 8 * ID_BYTES

#: Which bits of an address count: the more, the further back. Source: BEP 42.
_IPV4_MASK = bytes([0x03, 0x0F, 0x3F, 0xFF])
_IPV6_MASK = bytes([0x01, 0x03, 0x07, 0x0F, 0x1F, 0x3F, 0x7F, 0xFF])

#: CRC-32C, reflected. Source: RFC 3720, appendix B.4.
_CASTAGNOLI = 0x82F63B78


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def distance(one: bytes, other: bytes) -> int:
    """The XOR of two ids, as a number."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


def shared_bits(one: bytes, other: bytes) -> int:
    """How many leading bits two ids have in common: 0 to 160."""
    return ID_BITS - distance(one, other).bit_length()


def random_id(rng: random.Random) -> bytes:
    """An id that nothing ties to anything."""
    return rng.randbytes(ID_BYTES)


def id_with_prefix(own: bytes, bits: int, rng: random.Random) -> bytes:
    """A random id that has exactly `bits` leading bits in common with `own`; 0 to 159."""
    tail = ID_BITS - bits
    number = int.from_bytes(own, "big") >> (tail - 1) ^ 1
    return (number << (tail - 1) | rng.getrandbits(tail) & ((1 << (tail - 1)) - 1)).to_bytes(ID_BYTES, "big")


@lru_cache(maxsize=4096)
def is_exempt(host: str) -> bool:
    """Whether a host's address is of a private network, loopback or link, where ids are free. Source: BEP 42."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _EXEMPT_IPV4)
    return any(address in network for network in _EXEMPT_IPV6)


_EXEMPT_IPV4 = tuple(
    map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"))
)
_EXEMPT_IPV6 = tuple(map(ipaddress.IPv6Network, ("::1/128", "fe80::/10", "fc00::/7")))


@lru_cache(maxsize=4096)
def _prefix(host: str, r: int) -> int:
    """The first 21 bits of an id that fits a host, as a number."""
    packed = ipaddress.ip_address(host).packed
    mask = _IPV4_MASK if len(packed) == 4 else _IPV6_MASK
    masked = bytearray(byte & bits for byte, bits in zip(packed, mask, strict=False))
    masked[0] |= r << 5
    return crc32c(bytes(masked)) >> 11


def id_for(host: str, rng: random.Random) -> bytes:
    """A random id that fits a host's address; any random id where the address is exempt."""
    if is_exempt(host):
        return random_id(rng)
    last = rng.randrange(256)
    tail = rng.getrandbits(ID_BITS - 21) >> 8 << 8 | last
    return (_prefix(host, last & 7) << (ID_BITS - 21) | tail).to_bytes(ID_BYTES, "big")


def fits(node_id: bytes, host: str) -> bool:
    """Whether a node with this address may have this id."""
    return is_exempt(host) or int.from_bytes(node_id[:3], "big") >> 3 == _prefix(host, node_id[-1] & 7)


def parse_id(text: str) -> bytes:
    """Read an id as people write it: 40 hex digits.

    Raises:
        MalformedLine.
    """
    if len(text) != 2 * ID_BYTES or not text.isascii() or not text.isalnum():
        raise MalformedLine("an address of a node has 40 hex digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise MalformedLine("an address of a node has 40 hex digits") from None
