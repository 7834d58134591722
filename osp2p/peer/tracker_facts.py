"""What a tracker's replies say of a file. Pure: replies in, facts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from osp2p.errors import MalformedLine
from osp2p.wire.checksum import parse_md5
from osp2p.wire.entry import FileEntry, PeerEntry, parse_b3, parse_number
from osp2p.wire.reply import Reply

Value = TypeVar("Value")
Entry = TypeVar("Entry", FileEntry, PeerEntry)
Entry_co = TypeVar("Entry_co", covariant=True)

#: The attributes that mean something. A line has room for a thousand others, which take thirty times its bytes.
_KEPT_ATTRIBUTES = frozenset([b"v", b"size", b"b3", b"part", b"name"])

#: What a line of a kept reply takes beside its bytes.
_LINE_WEIGHT = 64


class _ParseLine(Protocol[Entry_co]):
    """A parser of data lines."""

    def __call__(self, line: bytes, *, hello: bool) -> Entry_co:
        """Read one line. Raises: MalformedLine."""


@dataclass(frozen=True, slots=True)
class ListedContent:
    """One content of a name, as a tracker lists it, or as holders claim it.

    Attributes:
        b3: 32 bytes.
        size: bytes, or None.
        tracker: who lists it: ``host:port``; empty where it was found without one.
        counts: how many hold all of it, and a part of it, where that is known already.
    """

    b3: bytes
    size: int | None
    tracker: str
    counts: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TrackerFacts:
    """What a tracker says of one file: all of it claimed by whoever registered it.

    Attributes:
        holders: in the tracker's order, those with unreadable addresses left out. `v` in their attributes is ``2`` for
            one that speaks OSP2P/2, ``1`` for one that does not; an old tracker does not know.
        md5: 16 bytes, or None.
        b3: 32 bytes, or None.
        size: bytes, or None.
        contents: what the name stands for, where that was asked: several contents, one, or none whose id is known.
    """

    holders: tuple[PeerEntry, ...]
    md5: bytes | None = None
    b3: bytes | None = None
    size: int | None = None
    contents: tuple[ListedContent, ...] = ()


def parse_or_none(parse: Callable[[bytes], Value], text: bytes) -> Value | None:
    """What `parse` reads, or None where the tracker's word has not the form that it should have."""
    try:
        return parse(text)
    except MalformedLine:
        return None


def parse_entries(lines: Iterable[bytes], parse: _ParseLine[Entry], *, hello: bool) -> Iterator[Entry]:
    """The lines that can be read, without attributes that mean nothing; one that cannot says nothing about others."""
    for line in lines:
        try:
            entry = parse(line, hello=hello)
        except MalformedLine:
            continue
        if not entry.attributes.keys() <= _KEPT_ATTRIBUTES:
            known = {key: value for key, value in entry.attributes.items() if key in _KEPT_ATTRIBUTES}
            entry = replace(entry, attributes=known)
        yield entry


def weight_of(reply: Reply) -> int:
    """About how much memory a reply takes, for bounding that of many."""
    if not reply.data and not reply.context:
        return 0
    lines = len(reply.data) + len(reply.context)
    return sum(map(len, reply.data)) + sum(len(text) for _, text in reply.context) + _LINE_WEIGHT * lines


def _parse_count(text: bytes) -> int | None:
    return parse_or_none(lambda digits: parse_number(digits, 2**63 - 1), text)


def md5_of(reply: Reply) -> bytes | None:
    """The checksum in an answer to MD5SUM, if there is one that can be read."""
    return parse_or_none(parse_md5, reply.data[0].strip()) if reply.ok and reply.data else None


def _words(stat: Reply) -> dict[bytes, bytes]:
    """The data lines of an answer to STAT."""
    return {key: value for key, _, value in (line.partition(b" ") for line in stat.data)}


def facts_of_stat(holders: tuple[PeerEntry, ...], stat: Reply) -> TrackerFacts:
    """Put holders together with what an answer to STAT says."""
    if not stat.ok:
        return TrackerFacts(holders)
    words = _words(stat)
    return TrackerFacts(
        holders,
        md5=parse_or_none(parse_md5, words.get(b"MD5", b"")),
        b3=parse_or_none(parse_b3, words.get(b"B3", b"")),
        size=_parse_count(words.get(b"SIZE", b"")),
    )


def counts_of_stat(stat: Reply) -> tuple[int, int]:
    """How many whole holders and how many partial ones an answer to STAT tells of."""
    words = _words(stat)
    return _parse_count(words.get(b"PEERS", b"")) or 0, _parse_count(words.get(b"PARTIAL", b"")) or 0


def listed_contents(name: bytes, listed: Iterable[FileEntry], tracker: str, most: int) -> tuple[ListedContent, ...]:
    """The contents of a name in a page of LIST, `most` at most; those are left out whose id is not known."""
    found: dict[bytes, ListedContent] = {}
    for entry in listed:
        b3 = parse_or_none(parse_b3, entry.attributes.get(b"b3", b""))
        if entry.name == name and b3 is not None and len(found) < most:
            found.setdefault(b3, ListedContent(b3, _parse_count(entry.attributes.get(b"size", b"")), tracker))
    return tuple(found.values())
