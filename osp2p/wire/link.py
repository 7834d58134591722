"""Links: a file that needs no prior knowledge to be fetched, in one word.

Grammar: ``osp2p://tracker:port/name#b3=HEX``, or ``osp2p:///name#b3=HEX`` for a file that is found without a tracker.
In the name, all but letters, digits and ``/ . _ + , -`` is quoted as ``%XX``. The tracker is a host name, an IPv4
address or an IPv6 address in brackets; ``:port`` may be left out where it is 11111. HEX is 64 lower-case digits. So a
shell takes a link as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from osp2p.errors import MalformedLine
from osp2p.wire.address import DEFAULT_TRACKER_PORT, parse_port
from osp2p.wire.entry import parse_b3
from osp2p.wire.word import unquote

_UNSAFE = re.compile(rb"[^A-Za-z0-9/._+,-]")

SCHEME = "osp2p://"

_LINK = re.compile(
    r"osp2p://(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s/:\[\]#]+)(?::(?P<port>\d{1,5}))?)?/(?P<name>[^\s#]+)#b3=(?P<b3>\S+)"
)


@dataclass(frozen=True, slots=True)
class Link:
    """A content under a name at a tracker.

    Attributes:
        host: the tracker's name or address, IPv6 without brackets; empty where there is none.
        port: the tracker's; 0 where there is none.
        name: raw bytes.
        b3: the content id, 32 bytes. It proves the content, whoever sends it.
    """

    host: str
    port: int
    name: bytes
    b3: bytes

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], self.name).decode()
        place = f"{host}:{self.port}" if host else ""
        return f"{SCHEME}{place}/{name}#b3={self.b3.hex()}"


def parse_link(text: str) -> Link:
    """Read a link.

    Raises:
        MalformedLine: another form.
    """
    match = _LINK.fullmatch(text)
    if match is None or not text.isascii():
        raise MalformedLine("a link has the form osp2p://tracker:port/name#b3=HEX")
    host = match["host"] or ""
    port = parse_port(match["port"].encode()) if match["port"] else DEFAULT_TRACKER_PORT
    return Link(host.strip("[]"), port if host else 0, unquote(match["name"].encode()), parse_b3(match["b3"].encode()))
