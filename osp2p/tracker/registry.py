"""The tracker's books: who is logged in, and who has what. Pure: no socket, no clock, and randomness comes in.

A name stands for one or more contents. Each registration of a peer for a name belongs to one of them. A content is
known by its b3; where that is not known, by its MD5; else it is the unknown content, of which a name has at most one.
A content lives as long as it has a registration, and so does its checksum.

The *default* content of a name is that of its oldest whole registration. It is the only one that base clients see.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from osp2p.limits import Limits
from osp2p.wire.address import Address


class Outcome(Enum):
    """What became of a HAVE."""

    NEW = "registered"
    CHANGED = "changed"
    SAME = "registered already"
    CONTRADICTS = "that name has another checksum"
    TOO_MANY = "too many files"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a peer says of a file that it has.

    Attributes:
        md5: 16 bytes, or None.
        size: bytes, or None.
        b3: 32 bytes, or None.
        partial: whether it is still being fetched.
    """

    md5: bytes | None = None
    size: int | None = None
    b3: bytes | None = None
    partial: bool = False


_NOTHING = Claim()


class Member:
    """A peer that is logged in.

    Attributes:
        alias: raw bytes.
        address: where it listens.
        hello: whether it speaks OSP2P/2.
        files: its registrations, by name.
        rejected: names whose checksum was contradicted.
    """

    __slots__ = ("address", "alias", "files", "hello", "rejected")

    def __init__(self, alias: bytes, address: Address, hello: bool) -> None:
        self.alias = alias
        self.address = address
        self.hello = hello
        self.files: dict[bytes, Holding] = {}
        self.rejected: set[bytes] = set()


class Content:
    """One content of a name, as its registrants claim it, with the numbers of whole and partial registrations."""

    __slots__ = ("b3", "md5", "partial", "size", "whole")

    def __init__(self, claim: Claim) -> None:
        self.b3 = claim.b3
        self.md5 = claim.md5
        self.size = claim.size
        self.whole = 0
        self.partial = 0


class Holding:
    """One registration: a peer has one content of a name. `since` orders the registrations of a name by age."""

    __slots__ = ("content", "member", "partial", "since")

    def __init__(self, member: Member, content: Content, since: int, partial: bool) -> None:
        self.member = member
        self.content = content
        self.since = since
        self.partial = partial


_SINCE = attrgetter("since")

#: A name's registrations, the oldest first.
Holdings = list[Holding]


class Registry:
    """All books of one tracker.

    Args:
        limits: `max_base_files`, `max_files`, `max_registrations`, `max_contents_per_name`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._members: dict[Member, None] = {}
        self._names: dict[bytes, Holdings] = {}
        self._by_b3: dict[bytes, list[bytes]] = {}
        self._count = 0
        self._clock = 0
        self._ordered: list[bytes] = []
        self._added: set[bytes] = set()
        self._removed = False

    # --- peers ---

    @property
    def members(self) -> Iterable[Member]:
        """Who is logged in, in the order of their coming."""
        return self._members

    def join(self, alias: bytes, address: Address, *, hello: bool) -> Member:
        """Log a peer in."""
        member = Member(alias, address, hello)
        self._members[member] = None
        return member

    def leave(self, member: Member) -> None:
        """Log a peer out; its registrations go with it."""
        del self._members[member]
        for name, holding in member.files.items():
            self._unlist(name, holding)
        self._count -= len(member.files)
        member.files.clear()

    # --- registrations ---

    def have(self, member: Member, name: bytes, claim: Claim = _NOTHING) -> Outcome:
        """Register a file, or replace what is known of it."""
        holdings = self._names.get(name)
        old = member.files.get(name)
        if old is None and self._is_full(member):
            return Outcome.TOO_MANY
        if not member.hello and self._contradicts(member, name, holdings, claim):
            if len(member.rejected) >= self._limits.max_base_files:
                member.rejected.pop()
            member.rejected.add(name)
            return Outcome.CONTRADICTS
        content = self._content_for(member, name, holdings, claim)
        if content is None:
            return Outcome.TOO_MANY
        if content.md5 is None:
            content.md5 = claim.md5
        if content.size is None:
            content.size = claim.size
        if old is not None:
            return self._replace(name, old, content, claim.partial)
        self._clock += 1
        holding = member.files[name] = Holding(member, content, self._clock, claim.partial)
        self._tally(name, holding, 1)
        if holdings is None:
            self._names[name] = [holding]
            self._added.add(name)
        else:
            holdings.append(holding)
        self._count += 1
        return Outcome.NEW

    def _is_full(self, member: Member) -> bool:
        most = self._limits.max_files if member.hello else self._limits.max_base_files
        return len(member.files) >= most or self._count >= self._limits.max_registrations

    def _contradicts(self, member: Member, name: bytes, holdings: Holdings | None, claim: Claim) -> bool:
        """Whether a base peer's claim does not go with the checksum that the name has.

        A bare HAVE behind a refused one would only hide the contradiction.
        """
        known = default_content(holdings).md5 if holdings else None
        if known is None or (holdings is not None and all(holding.member is member for holding in holdings)):
            member.rejected.discard(name)
            return known is not None and claim.md5 not in (None, known)
        if claim.md5 is None:
            return name in member.rejected
        if claim.md5 == known:
            member.rejected.discard(name)
        return claim.md5 != known

    def _content_for(self, member: Member, name: bytes, holdings: Holdings | None, claim: Claim) -> Content | None:
        """The content that a claim belongs to; None if the name has too many already."""
        if not holdings:
            return Content(claim)
        if not member.hello and (claim.md5 is None or default_content(holdings).md5 in (None, claim.md5)):
            return default_content(holdings)
        contents = list(dict.fromkeys(holding.content for holding in holdings))
        for content in contents:
            if claim.b3 is not None:
                if content.b3 == claim.b3:
                    return content
            elif content.b3 is None and content.md5 in (None, claim.md5) and content.size in (None, claim.size):
                return content
        # A base peer's registration with this very MD5 turns out to be this content.
        for content in contents:
            if claim.md5 is not None and content.b3 is None and content.md5 == claim.md5:
                content.b3, content.size = claim.b3, claim.size
                self._index(name, content)
                return content
        return Content(claim) if len(contents) < self._limits.max_contents_per_name else None

    def _replace(self, name: bytes, holding: Holding, content: Content, partial: bool) -> Outcome:
        """Let a registration stand for another content, or for more or less of it."""
        if holding.content is content and holding.partial == partial:
            return Outcome.SAME
        self._tally(name, holding, -1)
        holding.content = content
        holding.partial = partial
        self._tally(name, holding, 1)
        return Outcome.CHANGED

    def _tally(self, name: bytes, holding: Holding, step: int) -> None:
        """Count a registration in or out, and keep the index of contents to those that have one."""
        content = holding.content
        if holding.partial:
            content.partial += step
        else:
            content.whole += step
        if content.b3 is not None:
            total = content.whole + content.partial
            if total == 0:
                names = self._by_b3[content.b3]
                names.remove(name)
                if not names:
                    del self._by_b3[content.b3]
            elif total == 1 and step == 1:
                self._index(name, content)

    def _index(self, name: bytes, content: Content) -> None:
        if content.b3 is not None:
            self._by_b3.setdefault(content.b3, []).append(name)

    def dont_have(self, member: Member, name: bytes) -> bool:
        """Withdraw a file. Returns: whether it was registered."""
        holding = member.files.pop(name, None)
        member.rejected.discard(name)
        if holding is None:
            return False
        self._unlist(name, holding)
        self._count -= 1
        return True

    def _unlist(self, name: bytes, holding: Holding) -> None:
        self._tally(name, holding, -1)
        holdings = self._names[name]
        if len(holdings) == 1:
            del self._names[name]
            self._added.discard(name)
            self._removed = True
        else:
            del holdings[bisect_left(holdings, holding.since, key=_SINCE)]

    # --- questions ---

    def content(self, name: bytes, b3: bytes | None = None) -> Content | None:
        """The default content of a name, or the one with a b3."""
        holdings = self._names.get(name)
        if not holdings:
            return None
        if b3 is None:
            return default_content(holdings)
        return next((holding.content for holding in holdings if holding.content.b3 == b3), None)

    def base_content(self, name: bytes) -> Content | None:
        """The default content, if a base client may see a holder of it."""
        return next((holding.content for holding in self.base_holders(name)), None)

    def holders(self, name: bytes, content: Content) -> list[Holding]:
        """The registrations of one content of a name, the oldest first."""
        holdings = self._names.get(name, [])
        if content.whole + content.partial == len(holdings):
            return holdings
        return [holding for holding in holdings if holding.content is content]

    def base_holders(self, name: bytes) -> Iterator[Holding]:
        """The registrations that base clients see: whole ones of the default content, reachable by IPv4."""
        holdings = self._names.get(name)
        if holdings:
            default = default_content(holdings)
            for holding in holdings:
                if holding.content is default and not holding.partial and not holding.member.address.is_ipv6:
                    yield holding

    def holders_of(self, b3: bytes) -> Iterator[Holding]:
        """The registrations of a content under any name."""
        for name in self._by_b3.get(b3, ()):
            for holding in self._names[name]:
                if holding.content.b3 == b3:
                    yield holding

    def names(self, prefix: bytes = b"", after: bytes = b"") -> Iterator[bytes]:
        """Names in order, those that begin with `prefix` and come behind `after`."""
        self._put_in_order()
        start = bisect_left(self._ordered, prefix)
        if after >= prefix:
            start = max(start, bisect_left(self._ordered, after + b"\0"))
        for index in range(start, len(self._ordered)):
            name = self._ordered[index]
            if not name.startswith(prefix):
                return
            yield name

    def contents(self, name: bytes) -> list[Content]:
        """The contents of a name, the default one first."""
        holdings = self._names.get(name)
        if not holdings:
            return []
        return list(dict.fromkeys([default_content(holdings), *(holding.content for holding in holdings)]))

    def __len__(self) -> int:
        """How many registrations there are."""
        return self._count

    @property
    def name_count(self) -> int:
        """How many names there are."""
        return len(self._names)

    def _put_in_order(self) -> None:
        """Bring the list of names up to date: sorting what is almost in order takes one pass."""
        if self._removed:
            self._ordered = [name for name in self._ordered if name in self._names and name not in self._added]
            self._removed = False
        if self._added:
            self._ordered += sorted(self._added)
            self._ordered.sort()
            self._added.clear()


def default_content(holdings: Holdings) -> Content:
    """The content of the oldest whole registration, or of the oldest one where all are partial."""
    first = holdings[0]
    if not first.partial:
        return first.content
    return next((holding.content for holding in holdings if not holding.partial), first.content)


def sample(holdings: Sequence[Holding], count: int, rng: random.Random) -> list[Holding]:
    """Up to `count` registrations in random order."""
    return rng.sample(holdings, min(count, len(holdings)))
