"""Data lines of a tracker's answers, and of a peer's LIST: who is where, and what there is.

Grammar: ``PEER alias address [attributes]`` and ``FILE name [attributes]``; alias and name are quoted words.
Attributes stand only in answers to programs that said HELLO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from osp2p.errors import MalformedLine
from osp2p.wire.address import Address, parse_address
from osp2p.wire.request import parse_words, write_words
from osp2p.wire.word import quote

_HEX = frozenset(b"0123456789abcdef")

#: How many hex digits a BLAKE3 hash has.
B3_TEXT_LENGTH = 64


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """A PEER line.

    Attributes:
        alias: what the peer calls itself, raw bytes, at least one.
        address: where it listens.
        attributes: ``v``, ``size``, ``b3``, ``part`` and whatever else came; all of it only claimed.
    """

    alias: bytes
    address: Address
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A FILE line.

    Attributes:
        name: raw bytes, at least one.
        attributes: ``size``, ``b3`` and whatever else came; all of it only claimed.
    """

    name: bytes
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)


def _parse_data_line(
    line: bytes, keyword: bytes, words: int, hello: bool
) -> tuple[tuple[bytes, ...], Mapping[bytes, bytes]]:
    parts = line.split()
    if not parts or parts[0] != keyword:
        raise MalformedLine(f"expected a {keyword.decode()} line")
    plain, attributes = parse_words(parts[1:], attributes=hello)
    if len(plain) != words:
        raise MalformedLine(f"a {keyword.decode()} line has {words} words")
    return plain, attributes


def parse_peer_line(line: bytes, *, hello: bool = True) -> PeerEntry:
    """Read a PEER line.

    Args:
        line: without its LF.
        hello: whether the tracker answered HELLO. An old one writes aliases raw, so that a ``=`` is a part of them.

    Raises:
        MalformedLine: another form, or an address that cannot be one.
    """
    (alias, address), attributes = _parse_data_line(line, b"PEER", 2, hello)
    return PeerEntry(alias, parse_address(address, ipv6=hello), attributes)


def parse_file_line(line: bytes, *, hello: bool = True) -> FileEntry:
    """Read a FILE line.

    Args:
        line: without its LF.
        hello: as in `parse_peer_line`.

    Raises:
        MalformedLine: another form.
    """
    (name,), attributes = _parse_data_line(line, b"FILE", 1, hello)
    return FileEntry(name, attributes)


def write_peer_line(entry: PeerEntry) -> bytes:
    """Write a PEER line without its LF. The address stands unquoted: its form is its own.

    Raises:
        LocalProtocolError: an empty alias, or a key that cannot be one.
    """
    line = b"PEER %s %s" % (quote(entry.alias), str(entry.address).encode())
    return line + b" " + write_words((), entry.attributes) if entry.attributes else line


def write_file_line(entry: FileEntry) -> bytes:
    """Write a FILE line without its LF.

    Raises:
        LocalProtocolError: an empty name, or a key that cannot be one.
    """
    return b"FILE " + write_words((entry.name,), entry.attributes)


def parse_number(text: bytes, maximum: int, what: str = "a number") -> int:
    """Read a decimal number of 0 to `maximum`: digits alone, at most as many as `maximum` has.

    Args:
        text: the unquoted value.
        maximum: the largest value that makes sense; the number of digits is checked before any arithmetic.
        what: names the value in the error.

    Raises:
        MalformedLine: anything else.
    """
    if 0 < len(text) <= len(str(maximum)) and text.isdigit() and (number := int(text)) <= maximum:
        return number
    raise MalformedLine(f"{what} is a decimal number of 0 to {maximum}")


def parse_b3(text: bytes) -> bytes:
    """Read 64 lower-case hex digits as a 32-byte hash.

    Raises:
        MalformedLine: anything else.
    """
    if len(text) == B3_TEXT_LENGTH and _HEX.issuperset(text):
        return bytes.fromhex(text.decode())
    raise MalformedLine("a b3 is 64 lower-case hex digits")
