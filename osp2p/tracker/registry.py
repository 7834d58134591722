"""The tracker's books: who is logged in, who holds what. Pure: no socket, no clock, no randomness.

A name stands for one content or for several. What tells two contents of a name apart is their b3; a registration
without b3 belongs to the content that its MD5 names, or else to one without b3 that nothing contradicts. So without
HELLO there is one content a name, as in 2007. All that a content says is claimed by whoever registered it.

The **default** of a name is what base clients see, and what WANT, STAT and MD5SUM mean without ``b3=``. It is the
content of whoever has registered the name for the longest time (holders of the whole file before partial ones),
together with one companion: a holder that named no b3 is taken to mean the default content unless its MD5 or its size
says otherwise, and if such a holder is the oldest, the oldest b3 that neither contradicts counts as its own.

Memory is what counts here: at a million registrations, each (peer, file) costs an entry in the peer's dictionary and a
place among the content's holders, and nothing else. Holders that have left keep their places until somebody looks at
them or half of all are gone, so that forgetting a peer costs a constant time a file, whatever else holds it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import islice

from osp2p.content.name import safe_parts
from osp2p.content.sorted_names import SortedNames
from osp2p.limits import Limits
from osp2p.tracker.holdings import DISPUTED, NOTHING, Claim, Content, Peer, Rivals, collect, with_one_more, without
from osp2p.wire.address import Address

#: How many files of a peer are forgotten in one go: a few milliseconds.
FORGET_AT_ONCE = 1000


class Outcome(IntEnum):
    """What came of a HAVE."""

    REGISTERED = 0
    ALREADY = 1
    CHANGED = 2
    CONTRADICTS = 3
    TOO_MANY_FILES = 4
    TOO_MANY_CONTENTS = 5
    FULL = 6


#: The outcomes of nearly every HAVE: to look one up in its class takes longer than a call.
_REGISTERED, _ALREADY = Outcome.REGISTERED, Outcome.ALREADY


class Registry:
    """The books.

    Args:
        limits: `max_base_files`, `max_files`, `max_registrations`, `max_contents_per_name`, `max_want_peers`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most_files = limits.max_files
        self._most_base_files = limits.max_base_files
        self._most_registrations = limits.max_registrations
        self._crowded_from = limits.max_registrations // 2
        #: How many registrations each source has: counted only while half of all places or more are taken.
        self._held: Counter[str] | None = None
        #: Any one content of each name; it knows the others. It may have to be swept. Only the registry changes it.
        self.by_name: dict[bytes, Content] = {}
        #: The contents with a b3: one or, where several names stand for it, all of them.
        self._by_b3: dict[bytes, Content | dict[Content, None]] = {}
        self._by_address: dict[Address, dict[Peer, None]] = {}
        self._leaving: deque[Peer] = deque()
        #: Everybody who is logged in, the oldest first.
        self.peers: dict[Peer, None] = {}
        #: All names, in order.
        self.names = SortedNames()
        #: How many registrations (peer, file) there are.
        self.registrations = 0

    # --- peers ---

    def login(self, peer: Peer) -> None:
        """Enter a peer that holds nothing yet."""
        self.peers[peer] = None
        self._by_address.setdefault(peer.address, {})[peer] = None

    def at_address(self, address: Address) -> Iterable[Peer]:
        """Who is logged in with this address."""
        return self._by_address.get(address, ())

    def leave(self, peer: Peer) -> bool:
        """Forget a peer that is logged in: nobody sees it any more from now on.

        Returns: whether it held so much that `forget_some` must do the rest.
        """
        del self.peers[peer]
        here = self._by_address[peer.address]
        del here[peer]
        if not here:
            del self._by_address[peer.address]
        peer.gone = True
        peer.base_line = peer.hello_line = b""
        self._leaving.append(peer)
        return self.forget_some()

    def forget_some(self) -> bool:
        """Strike out what peers that have left held, at most `FORGET_AT_ONCE` files. Returns: whether more remains."""
        left = FORGET_AT_ONCE
        while self._leaving:
            peer = self._leaving[0]
            for held in (peer.files, peer.parts):
                while held:
                    if not left:
                        return True
                    left -= 1
                    self._strike(peer, *held.popitem())
            self._leaving.popleft()
        return False

    def _strike(self, peer: Peer, name: bytes, content: Content) -> None:
        """Strike out one registration of a peer that has left; its place in a list may stay for a while."""
        self._count_down(peer)
        content.gone += 1
        rivals = content.rivals
        if rivals is not None:
            rivals.complete.pop(peer, None)
            rivals.partial.pop(peer, None)
            rivals.default = None
        places = len(content.complete) + len(content.partial)
        if content.gone == places:
            self._drop(content)
        elif content.gone * 2 > places:
            content.sweep()

    # --- what there is ---

    def contents(self, name: bytes) -> list[Content]:
        """All contents of a name, in no order."""
        content = self.by_name.get(name)
        if content is None:
            return []
        return [content] if content.rivals is None else content.rivals.contents

    def default(self, name: bytes) -> tuple[Content, ...]:
        """What a name stands for by default: one content, or two that count as one; empty if nobody has it."""
        content = self.by_name.get(name)
        if content is None:
            return ()
        rivals = content.rivals
        if rivals is None:
            return tuple(self._swept([content]))
        if rivals.default is None:
            rivals.default = rivals.find_default()
        return tuple(self._swept(rivals.default))

    def named(self, name: bytes, b3: bytes) -> tuple[Content, ...]:
        """The content of a name with this b3, if there is one."""
        return tuple(self._swept(content for content in self.contents(name) if content.b3 == b3))

    def with_b3(self, b3: bytes) -> tuple[Content, ...]:
        """The contents with this b3, whatever their name: of very many, the oldest, enough for an answer."""
        found = self._by_b3.get(b3, ())
        contents = (found,) if isinstance(found, Content) else islice(found, self._limits.max_want_peers)
        return tuple(self._swept(contents))

    @staticmethod
    def _swept(contents: Iterable[Content]) -> Iterator[Content]:
        for content in contents:
            if content.gone:
                content.sweep()
            yield content

    # --- registering ---

    def register(self, peer: Peer, name: bytes, claim: Claim) -> Outcome:
        """Enter what a HAVE says.

        Args:
            peer: logged in.
            name: raw bytes.
            claim: `NOTHING` for a bare HAVE.

        Returns: the outcome. `CONTRADICTS`: what the peer had registered under this name is struck out, too.

        Raises:
            UnsafeName: no file can have this name, or it would be written outside a downloader's directory.
        """
        current = peer.files.get(name)
        if current is None:
            if peer.parts:
                current = peer.parts.get(name)
        elif claim is NOTHING and (not peer.hello or (current.b3 is None and not peer.rejected)):
            return _ALREADY
        known = self.by_name.get(name)
        if current is None:
            if len(peer.files) + len(peer.parts) >= (self._most_files if peer.hello else self._most_base_files):
                return Outcome.TOO_MANY_FILES
            if self.registrations >= self._crowded_from and not self._has_place(peer):
                return Outcome.FULL
            if known is None:
                if not _is_plain(name, self._limits):
                    safe_parts(name, self._limits)
            elif claim is NOTHING and known.rivals is None and known.b3 is None and not peer.rejected:
                # Most HAVE end here, so nothing is called that would come to the same: a third of their time.
                peer.files[known.name] = known
                known.complete = with_one_more(known.complete, peer)
                self.registrations += 1
                if self._held is not None:
                    self._held[peer.source] += 1
                return _REGISTERED
        if peer.rejected and claim.md5 is None and claim.b3 is None and name in peer.rejected:
            claim = claim._replace(md5=peer.rejected[name])
        own = current if current is not None and peer.hello and _sole(current) else None
        fits, target = self._find(name, claim, current, own) if known is not None else (True, None)
        if not fits:
            self._reject(peer, name, claim)
            return Outcome.CONTRADICTS
        is_further = target is None and known is not None and own is None
        if is_further and len(self.contents(name)) >= self._limits.max_contents_per_name:
            return Outcome.TOO_MANY_CONTENTS
        if peer.rejected:
            peer.rejected.pop(name, None)
        if current is None:
            self._join(peer, target or self._create(name, claim), claim)
            return Outcome.REGISTERED
        changed = self._change(peer, current, target, own, claim)
        return Outcome.CHANGED if changed and peer.hello else Outcome.ALREADY

    def _has_place(self, peer: Peer) -> bool:
        """Whether a peer may register one more file though half of all places or more are taken.

        A source may have no more than are left then: so one alone cannot take all, and whoever comes new finds a place.
        """
        if self._held is None:
            self._held = Counter()
            for other in (*self.peers, *self._leaving):
                self._held[other.source] += len(other.files) + len(other.parts)
        return self._held[peer.source] < self._most_registrations - self.registrations

    def _count_down(self, peer: Peer) -> None:
        """One registration of a peer less."""
        self.registrations -= 1
        if self._held is not None:
            self._held[peer.source] -= 1
            if self.registrations < self._crowded_from:
                self._held = None

    def _reject(self, peer: Peer, name: bytes, claim: Claim) -> None:
        """Strike out what a peer registered that contradicts others, and remember the checksum that did."""
        self.withdraw(peer, name)
        if claim.b3 is None and claim.md5 is not None and len(peer.rejected) < self._most_base_files:
            peer.rejected[name] = claim.md5

    def _find(
        self, name: bytes, claim: Claim, current: Content | None, own: Content | None
    ) -> tuple[bool, Content | None]:
        """Find the content that a claim means.

        Args:
            current: what the claiming peer has registered so far.
            own: a content that nobody but the claiming peer holds, which it may therefore redefine.

        Returns: whether nothing contradicts the claim, and the content, or None if there is none yet.
        """
        contents = self.contents(name)
        if claim.b3 is not None:
            found = next((content for content in contents if content.b3 == claim.b3), None)
            return found is None or found is own or not _contradicts(found, claim), found
        if current is not None and (claim.md5 == current.md5 if claim.md5 else current.b3 is None):
            return True, current
        default = self.default(name)
        if claim.md5 is not None:
            alike = [content for content in contents if content.md5 == claim.md5]
            if alike:
                return True, max(alike, key=lambda content: content.b3 is not None)
            if any(content.md5 is not None and content is not own for content in default):
                return False, None
        return True, next((content for content in default if content.b3 is None), None)

    def _create(self, name: bytes, claim: Claim) -> Content:
        """Enter a content that nobody holds yet."""
        content = Content(name)
        first = self.by_name.setdefault(name, content)
        if first is content:
            self.names.add(name)
        else:
            rivals = first.rivals or self._begin_rivals(first)
            rivals.contents.append(content)
            rivals.default = None
            content.rivals = rivals
        if claim is not NOTHING:
            self._define(content, claim.b3, claim.md5, claim.size)
        return content

    @staticmethod
    def _begin_rivals(content: Content) -> Rivals:
        content.rivals = Rivals(content)
        return content.rivals

    def _define(self, content: Content, b3: bytes | None, md5: bytes | None, size: int | None) -> None:
        """Say what a content is."""
        if content.b3 != b3:
            self._unindex(content)
            content.b3 = b3
            self._index(content)
        content.md5 = md5
        content.size = size
        if content.rivals is not None:
            content.rivals.default = None

    def _learn(self, content: Content, claim: Claim) -> bool:
        """Record what a claim says and the content lacked. Returns: whether there was something."""
        before = content.md5, content.size
        if content.md5 is None and claim.md5 is not None:
            content.md5 = claim.md5
            if content.rivals is not None:
                content.rivals.default = None
        if claim.size is not None and claim.size != content.size and claim.b3 == content.b3:
            # Two sizes of one b3 contradict each other; without b3, two registrants may disagree.
            content.size = claim.size if content.size is None else DISPUTED
            if content.rivals is not None:
                content.rivals.default = None
        return before != (content.md5, content.size)

    def _join(self, peer: Peer, content: Content, claim: Claim) -> None:
        """Enter a peer as a holder of a content that it does not hold."""
        if claim is not NOTHING:
            self._learn(content, claim)
        self._place(peer, content, claim.part)
        if content.rivals is not None:
            (content.rivals.partial if claim.part else content.rivals.complete)[peer] = content
            content.rivals.default = None
        self.registrations += 1
        if self._held is not None:
            self._held[peer.source] += 1

    @staticmethod
    def _place(peer: Peer, content: Content, part: bool) -> None:
        if part:
            content.partial = with_one_more(content.partial, peer)
            peer.parts[content.name] = content
        else:
            content.complete = with_one_more(content.complete, peer)
            peer.files[content.name] = content

    @staticmethod
    def _unplace(peer: Peer, content: Content) -> bool:
        """Take a peer that is here out of a content's list. Returns: whether it was a partial holder."""
        part = peer.files.pop(content.name, None) is None
        if part:
            del peer.parts[content.name]
            content.partial = without(content.partial, peer)
        else:
            content.complete = without(content.complete, peer)
        return part

    def _change(self, peer: Peer, current: Content, target: Content | None, own: Content | None, claim: Claim) -> bool:
        """Bring a registration to what the peer says now. Returns: whether anything changed."""
        if own is not None and (target is None or target is own):
            return self._redefine(peer, own, claim)
        if target is current:
            learned = self._learn(current, claim)
            return self._set_part(peer, current, claim.part) or learned
        if target is None:
            target = self._create(current.name, claim)
        self._learn(target, claim)
        rivals = current.rivals
        assert rivals is not None, "two contents of one name are rivals"
        part = self._unplace(peer, current)
        self._place(peer, target, claim.part)
        if part != claim.part:
            (rivals.partial if part else rivals.complete).pop(peer)
        (rivals.partial if claim.part else rivals.complete)[peer] = target  # its age stays, whatever it holds
        rivals.default = None
        if len(current.complete) + len(current.partial) == current.gone:
            self._drop(current)
        return True

    def _redefine(self, peer: Peer, own: Content, claim: Claim) -> bool:
        """Let a content's only holder say anew what it is. What it leaves out stays while the b3 is the same."""
        before = own.b3, own.md5, own.size
        if claim.b3 == own.b3 or (claim.b3 is None and claim.md5 is not None and claim.md5 == own.md5):
            size = own.size if claim.size is None else claim.size
            self._define(own, own.b3, claim.md5 or own.md5, size)
        else:
            self._define(own, claim.b3, claim.md5, claim.size)
        changed = before != (own.b3, own.md5, own.size)
        return self._set_part(peer, own, claim.part) or changed

    def _set_part(self, peer: Peer, content: Content, part: bool) -> bool:
        """Note whether a holder has the whole file. Returns: whether that is new."""
        if part == (content.name in peer.parts):
            return False
        self._unplace(peer, content)
        self._place(peer, content, part)
        if (rivals := content.rivals) is not None:
            (rivals.complete if part else rivals.partial).pop(peer)
            (rivals.partial if part else rivals.complete)[peer] = content
            rivals.default = None
        return True

    def withdraw(self, peer: Peer, name: bytes) -> bool:
        """Strike out one name of a peer that is here. Returns: whether it was registered."""
        peer.rejected.pop(name, None)
        content = peer.content(name)
        if content is None:
            return False
        self._unplace(peer, content)
        self._count_down(peer)
        if (rivals := content.rivals) is not None:
            rivals.complete.pop(peer, None)
            rivals.partial.pop(peer, None)
            rivals.default = None
        if len(content.complete) + len(content.partial) == content.gone:
            self._drop(content)
        return True

    def _drop(self, content: Content) -> None:
        """Strike out a content that nobody holds any more; with a name's last content the name goes, too."""
        self._unindex(content)
        rivals = content.rivals
        if rivals is None:
            del self.by_name[content.name]
            self.names.remove(content.name)
            return
        rivals.contents.remove(content)
        self.by_name[content.name] = last = rivals.contents[0]
        if len(rivals.contents) == 1:
            last.complete = collect(rivals.complete)
            last.partial = collect(rivals.partial)
            last.gone = 0
            last.rivals = None

    # --- contents by b3 ---

    def _index(self, content: Content) -> None:
        if content.b3 is None:
            return
        found = self._by_b3.setdefault(content.b3, content)
        if isinstance(found, Content):
            if found is not content:
                self._by_b3[content.b3] = {found: None, content: None}
        else:
            found[content] = None

    def _unindex(self, content: Content) -> None:
        if content.b3 is None:
            return
        found = self._by_b3[content.b3]
        if isinstance(found, Content):
            del self._by_b3[content.b3]
        else:
            del found[content]
            if not found:
                del self._by_b3[content.b3]


def _is_plain(name: bytes, limits: Limits) -> bool:
    """Whether a name is one that `safe_parts` has nothing against, as can be seen at a glance: most are."""
    return 2 < len(name) < 256 and len(name) <= limits.max_name and b"/" not in name and b"\0" not in name


def _sole(content: Content) -> bool:
    """Whether one peer alone holds a content."""
    return len(content.complete) + len(content.partial) - content.gone == 1


def _contradicts(content: Content, claim: Claim) -> bool:
    """Whether a claim says something else of the same b3 than was said before."""
    if claim.md5 is not None and content.md5 is not None and claim.md5 != content.md5:
        return True
    return claim.size is not None and content.size is not None and claim.size != content.size
