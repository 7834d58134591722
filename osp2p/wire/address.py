"""Addresses as they stand in ADDR and PEER lines.

Grammar: ``a.b.c.d:port`` with four decimal numbers of 0 to 255, or, between programs that said HELLO,
``[ipv6]:port``. The four numbers have no leading zeros, which some systems read as octal. An IPv6 address
has no zone; one that maps an IPv4 address (``::ffff:a.b.c.d``) is that IPv4 address, so that it cannot pass
for something else than it is. The port is decimal, 1 to 65535, in at most five digits.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple

from osp2p.errors import MalformedLine

#: Where a tracker listens unless it is told otherwise. Source: the 2007 programs.
DEFAULT_TRACKER_PORT = 11111

#: Where a peer listens unless its port is taken. Source: the 2007 programs.
DEFAULT_NODE_PORT = 11112

#: Longest host in bytes that is looked at: more than any IPv6 address with its brackets has.
_MAX_HOST = 64


#: Four numbers of 0 to 255 without leading zeros: nearly every address. The library takes several times as long.
_IPV4 = re.compile(rb"\.".join([rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"] * 4))


class Address(NamedTuple):
    """Where a peer listens.

    Attributes:
        host: a numeric IPv4 or IPv6 address, in canonical text, IPv6 without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        """Whether only programs that said HELLO may be told of this address."""
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Whether the host is 127.x or ::1."""
        return self.host.startswith("127.") or self.host == "::1"


def parse_port(word: bytes) -> int:
    """Read a port.

    Raises:
        MalformedLine: not one to five decimal digits, or not 1 to 65535. Its code is 300, as the 2007 tracker's.
    """
    if not (0 < len(word) <= 5 and word.isdigit() and 0 < int(word) < 65536):
        raise MalformedLine("a port is a number from 1 to 65535", code=300)
    return int(word)


def parse_address(word: bytes, *, ipv6: bool = False) -> Address:
    """Read ``host:port``.

    Args:
        word: one unquoted word.
        ipv6: whether ``[ipv6]:port`` is allowed too.

    Raises:
        MalformedLine: not an address; 0.0.0.0 and :: are none. Its code is 300, as the 2007 tracker's.
    """
    host, colon, port = word.rpartition(b":")
    if not colon or len(host) > _MAX_HOST:
        raise MalformedLine("an address has the form ip:port", code=300)
    if _IPV4.fullmatch(host) and host != b"0.0.0.0":
        return Address(host.decode("ascii"), parse_port(port))
    try:
        ip = _parse_ip(host.decode("ascii"), ipv6)
    except ValueError:
        raise MalformedLine("an address has the form ip:port, with a numeric ip", code=300) from None
    if ip.is_unspecified:
        raise MalformedLine(f"{ip} is no address that anybody can connect to", code=300)
    return Address(str(ip), parse_port(port))


def _parse_ip(text: str, ipv6: bool) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read a host. Raises: ValueError."""
    if not (ipv6 and text.startswith("[") and text.endswith("]")):
        return ipaddress.IPv4Address(text)
    ip = ipaddress.IPv6Address(text[1:-1])
    if ip.scope_id is not None:
        raise ValueError("a zone means nothing on another machine")
    return ip.ipv4_mapped or ip


def parse_tracker(text: str) -> tuple[str, int]:
    """Read how a user names a tracker: ``host``, ``port``, ``host:port`` or ``[ipv6]:port``.

    Returns: host, IPv6 without brackets, and port; 127.0.0.1 and 11111 where they are left out.

    Raises:
        MalformedLine: none of these.
    """
    return _parse_place(text, "tracker", DEFAULT_TRACKER_PORT)


def parse_node(text: str) -> tuple[str, int]:
    """Read how a user names a node: likewise, with 11112 where the port is left out.

    Raises:
        MalformedLine: none of these.
    """
    return _parse_place(text, "node", DEFAULT_NODE_PORT)


def _parse_place(text: str, what: str, default_port: int) -> tuple[str, int]:
    try:
        if text.isascii() and text.isdigit():
            return "127.0.0.1", parse_port(text.encode())
        host, port = _split_tracker(text)
        if host and not any(character.isspace() for character in host):
            return host, default_port if port is None else parse_port(os.fsencode(port))
    except MalformedLine as error:
        raise MalformedLine(f"{text!r} names no {what}: {error}") from None
    raise MalformedLine(f"{text!r} names no {what}: write HOST, PORT, HOST:PORT or [IPV6]:PORT")


def _split_tracker(text: str) -> tuple[str, str | None]:
    """Cut a tracker's name into host and port. Returns: no host where it has not the form; no port if none stands."""
    if not text.startswith("["):
        host, colon, port = text.partition(":")
        return ("", None) if ":" in port else (host, port if colon else None)
    host, bracket, rest = text[1:].partition("]")
    if not bracket or (rest and not rest.startswith(":")):
        return "", None
    return host, rest[1:] if rest else None
