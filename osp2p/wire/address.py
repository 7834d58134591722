"""Addresses as they stand in ADDR and PEER lines.

Grammar: ``a.b.c.d:port`` with four decimal numbers of 0 to 255, or, between programs that said HELLO,
``[ipv6]:port``. The port is decimal, 1 to 65535.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from osp2p.errors import MalformedLine


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
    if not colon or len(host) > 64:
        raise MalformedLine("an address has the form ip:port", code=300)
    try:
        text = host.decode("ascii")
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address
        if ipv6 and text.startswith("[") and text.endswith("]"):
            ip = ipaddress.IPv6Address(text[1:-1])
        else:
            ip = ipaddress.IPv4Address(text)
    except ValueError:
        raise MalformedLine("an address has the form ip:port, with a numeric ip", code=300) from None
    if ip.is_unspecified or (ip.version == 6 and getattr(ip, "scope_id", None)):
        raise MalformedLine(f"{ip} is no address that anybody can connect to", code=300)
    return Address(str(ip), parse_port(port))
