"""What the tracker's books are made of: peers, the contents of names, and who holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple, TypeAlias

from osp2p.wire.address import Address

#: What `Content.size` is when its holders do not agree about it.
DISPUTED = -1


class Claim(NamedTuple):
    """What a HAVE says of a file.

    Attributes:
        md5: 22 characters, checked.
        b3: 32 bytes.
        size: bytes.
        part: whether the holder still fetches it.
    """

    md5: bytes | None = None
    b3: bytes | None = None
    size: int | None = None
    part: bool = False


NOTHING = Claim()
"""What a bare HAVE claims."""


class Peer:
    """A connection that has said ADDR.

    Attributes:
        alias: raw bytes.
        address: where it listens.
        source: the host that its connection comes from, or of IPv6 the network of 64 bits.
        hello: whether it said HELLO.
        base_line: its PEER line with LF for base clients; b"" if they may not see it.
        hello_line: its PEER line with LF for programs that said HELLO; b"" once it has left.
        files: name to content of what it holds whole.
        parts: name to content of what it still fetches.
        rejected: name to the MD5 with which it was refused, so that leaving it out afterwards does not help.
        gone: whether it has left.
    """

    __slots__ = (
        "address", "alias", "base_line", "files", "gone", "hello", "hello_line", "parts", "rejected", "source"
    )  # fmt: skip

    def __init__(
        self, alias: bytes, address: Address, source: str, *, hello: bool, base_line: bytes, hello_line: bytes
    ) -> None:
        self.alias = alias
        self.address = address
        self.source = source
        self.hello = hello
        self.base_line = base_line
        self.hello_line = hello_line
        self.files: dict[bytes, Content] = {}
        self.parts: dict[bytes, Content] = {}
        self.rejected: dict[bytes, bytes] = {}
        self.gone = False

    def content(self, name: bytes) -> Content | None:
        """What it registered under this name."""
        content = self.files.get(name)
        return self.parts.get(name) if content is None and self.parts else content


#: The holders of a content in their order: a tuple while they are few. Most names have one or two holders; a tuple of
#: these takes half the memory of a list, and looking at it is one place less that no cache holds: a tenth of the time
#: of HAVE and WANT over 100,000 names.
Holders: TypeAlias = list[Peer] | tuple[Peer, ...]

#: The longest such tuple.
_FEW = 16


def with_one_more(holders: Holders, peer: Peer) -> Holders:
    """The holders with one behind them; a list is extended itself."""
    if isinstance(holders, list):
        holders.append(peer)
        return holders
    return (*holders, peer) if len(holders) < _FEW else [*holders, peer]


def without(holders: Holders, peer: Peer) -> Holders:
    """The holders but for one of them, who is there once; a list loses it itself."""
    if isinstance(holders, tuple):
        return tuple(other for other in holders if other is not peer)
    holders.remove(peer)
    return holders


def collect(peers: Iterable[Peer]) -> Holders:
    """The peers as the holders of a content."""
    found = list(peers)
    return found if len(found) > _FEW else tuple(found)


class Content:
    """One content of one name, and who holds it.

    Attributes:
        b3: 32 bytes, or None while nobody has named one.
        md5: 22 characters, or None.
        size: bytes, None, or `DISPUTED`.
        complete: holders of the whole file, in the order in which they came to be that: a tuple while they are few.
        partial: holders that still fetch it, likewise.
        gone: how many places among both belong to registrations that are struck out.
        rivals: all contents of the name, if there are several.
    """

    __slots__ = ("b3", "complete", "gone", "md5", "name", "partial", "rivals", "size")

    def __init__(self, name: bytes, b3: bytes | None = None, md5: bytes | None = None, size: int | None = None) -> None:
        self.name = name
        self.b3 = b3
        self.md5 = md5
        self.size = size
        self.complete: Holders = ()
        self.partial: Holders = ()
        self.gone = 0
        self.rivals: Rivals | None = None

    @property
    def known_size(self) -> int | None:
        """The size, if its holders agree about one."""
        return None if self.size == DISPUTED else self.size

    def agrees(self, other: Content) -> bool:
        """Whether neither a known MD5 nor a known size tells the two apart."""
        same_md5 = self.md5 is None or other.md5 is None or self.md5 == other.md5
        return same_md5 and (self.known_size is None or other.known_size in (None, self.known_size))

    def sweep(self) -> None:
        """Drop the places of peers that have left, but for those whose registration is still to be struck out."""
        self.complete = collect(peer for peer in self.complete if not peer.gone or self.name in peer.files)
        self.partial = collect(peer for peer in self.partial if not peer.gone or self.name in peer.parts)
        self.gone = 0


class Rivals:
    """The contents of a name that stands for several.

    Attributes:
        contents: at least two.
        complete: each holder of the whole file to its content, the oldest registration of the name first.
        partial: the others likewise.
        default: what `Registry.default` found, until something changes.
    """

    __slots__ = ("complete", "contents", "default", "partial")

    def __init__(self, content: Content) -> None:
        content.sweep()
        self.contents = [content]
        self.complete = dict.fromkeys(content.complete, content)
        self.partial = dict.fromkeys(content.partial, content)
        self.default: tuple[Content, ...] | None = None

    def by_age(self) -> Iterator[Content]:
        """The holders' contents, the oldest registration first."""
        order = chain(self.complete.items(), self.partial.items())
        return (content for peer, content in order if not peer.gone)

    def find_default(self) -> tuple[Content, ...]:
        """The default: the oldest registration's content, and its companion, if there is one.

        Two that disagree about the size are two contents: else the size of one would stand beside the b3 of the other.
        """
        oldest = next(self.by_age(), None)
        if oldest is None:
            return ()
        if oldest.b3 is not None:
            companions: Iterable[Content] = (content for content in self.contents if content.b3 is None)
        else:
            companions = (content for content in self.by_age() if content.b3 is not None)
        companion = next((content for content in companions if oldest.agrees(content)), None)
        return (oldest,) if companion is None else (oldest, companion)
