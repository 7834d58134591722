"""The books against simple models, in whatever order things happen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from osp2p.limits import Limits
from osp2p.tracker.holdings import NOTHING, Claim, Peer
from osp2p.tracker.registry import Outcome, Registry
from osp2p.wire.address import Address

PEERS = st.integers(0, 4)
NAMES = st.sampled_from([b"f", b"g", b"h"])
MD5S = st.sampled_from([None, b"a" * 22, b"b" * 21 + b"a", b"c" * 21 + b"a"])
B3S = st.sampled_from([None, b"x" * 32, b"y" * 32, b"z" * 32])
LIMITS = replace(Limits(), max_base_files=2, max_contents_per_name=3)


def new_peer(number: int, *, hello: bool) -> Peer:
    line = b"%d" % number
    return Peer(line, Address("10.0.0.1", 1000 + number), "", hello=hello, base_line=line, hello_line=line)


@dataclass
class Name:
    """What the tracker of 2007 knew of a name, less its holes."""

    md5: bytes | None = None
    holders: list[int] = field(default_factory=list)


class BaseMachine(RuleBasedStateMachine):
    """Without HELLO there is one content a name, and each outcome is what the old tracker's rules say."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(LIMITS)
        self.peers: dict[int, Peer] = {}
        self.names: dict[bytes, Name] = {}
        self.rejected: dict[tuple[int, bytes], bytes] = {}

    @rule(number=PEERS, name=NAMES, md5=MD5S)
    def have(self, number: int, name: bytes, md5: bytes | None) -> None:
        if number not in self.peers:
            self.peers[number] = new_peer(number, hello=False)
            self.registry.login(self.peers[number])
        outcome = self.registry.register(self.peers[number], name, NOTHING if md5 is None else Claim(md5))
        assert outcome == self.expect(number, name, md5)

    def expect(self, number: int, name: bytes, md5: bytes | None) -> Outcome:
        known = self.names.get(name, Name())
        holds = number in known.holders
        if not holds and sum(number in other.holders for other in self.names.values()) >= LIMITS.max_base_files:
            return Outcome.TOO_MANY_FILES
        if not holds:
            md5 = md5 or self.rejected.get((number, name))
        if md5 is not None and known.md5 not in (None, md5):
            self.strike(number, name)
            if sum(refused == number for refused, _ in self.rejected) < LIMITS.max_base_files:
                self.rejected[number, name] = md5
            return Outcome.CONTRADICTS
        self.rejected.pop((number, name), None)
        self.names[name] = known
        known.md5 = known.md5 or md5
        known.holders += [] if holds else [number]
        return Outcome.ALREADY if holds else Outcome.REGISTERED

    def strike(self, number: int, name: bytes) -> bool:
        self.rejected.pop((number, name), None)
        known = self.names.get(name)
        if known is None or number not in known.holders:
            return False
        known.holders.remove(number)
        if not known.holders:
            del self.names[name]
        return True

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), name=NAMES)
    def donthave(self, data: st.DataObject, name: bytes) -> None:
        number = data.draw(st.sampled_from(sorted(self.peers)))
        assert self.registry.withdraw(self.peers[number], name) == self.strike(number, name)

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.peers)))
        assert not self.registry.leave(self.peers.pop(number))
        for name in [b"f", b"g", b"h"]:
            self.strike(number, name)

    @invariant()
    def books_agree(self) -> None:
        assert list(self.registry.names.since(b"")) == sorted(self.names)
        assert self.registry.registrations == sum(len(known.holders) for known in self.names.values())
        for name, known in self.names.items():
            (content,) = self.registry.contents(name)
            (default,) = self.registry.default(name)
            assert default is content
            assert content.md5 == known.md5
            assert [int(peer.alias) for peer in content.complete] == known.holders


class ContentMachine(RuleBasedStateMachine):
    """With HELLO and without: each registration is in the right content, and the oldest one's content is the default.

    The model keeps, for each name, who holds it whole and who in part, by age, and what b3 and MD5 each has said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(LIMITS)
        self.peers: dict[int, Peer] = {}
        self.whole: dict[bytes, list[int]] = {}
        self.partial: dict[bytes, list[int]] = {}

    @rule(number=PEERS, name=NAMES, md5=MD5S, b3=B3S, size=st.sampled_from([None, 1, 2]), part=st.booleans())
    def have(self, number: int, name: bytes, md5: bytes | None, b3: bytes | None, size: int | None, part: bool) -> None:
        hello = number % 2 == 0  # those with odd numbers are base peers
        if number not in self.peers:
            self.peers[number] = new_peer(number, hello=hello)
            self.registry.login(self.peers[number])
        peer = self.peers[number]
        claim = Claim(md5, b3, size, part) if hello else NOTHING if md5 is None else Claim(md5)
        before = peer.content(name)
        outcome = self.registry.register(peer, name, claim)
        content = peer.content(name)
        if outcome == Outcome.CONTRADICTS:
            assert content is None
            self.strike(number, name)
        elif outcome in (Outcome.TOO_MANY_FILES, Outcome.TOO_MANY_CONTENTS):
            assert content is before
        else:
            assert content is not None
            assert (outcome == Outcome.REGISTERED) == (before is None)
            self.note(number, name, claim.part)
            if claim.b3 is not None:
                assert content.b3 == claim.b3
            if claim.md5 is not None:
                assert content.md5 == claim.md5

    def note(self, number: int, name: bytes, part: bool) -> None:
        now, before = (self.partial, self.whole) if part else (self.whole, self.partial)
        if number in before.get(name, []):
            before[name].remove(number)
        if number not in now.setdefault(name, []):
            now[name].append(number)

    def strike(self, number: int, name: bytes) -> None:
        for held in (self.whole, self.partial):
            if number in held.get(name, []):
                held[name].remove(number)

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), name=NAMES)
    def donthave(self, data: st.DataObject, name: bytes) -> None:
        number = data.draw(st.sampled_from(sorted(self.peers)))
        held = number in self.whole.get(name, []) + self.partial.get(name, [])
        assert self.registry.withdraw(self.peers[number], name) == held
        self.strike(number, name)

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.peers)))
        self.registry.leave(self.peers.pop(number))
        for name in [b"f", b"g", b"h"]:
            self.strike(number, name)

    @invariant()
    def every_registration_has_its_place(self) -> None:
        names = {name for held in (self.whole, self.partial) for name, numbers in held.items() if numbers}
        assert list(self.registry.names.since(b"")) == sorted(names)
        total = 0
        for name in names:
            contents = self.registry.contents(name)
            assert len(contents) <= LIMITS.max_contents_per_name
            assert len({content.b3 for content in contents if content.b3}) == sum(bool(c.b3) for c in contents)
            for model, attribute in ((self.whole, "complete"), (self.partial, "partial")):
                places = [peer for content in contents for peer in getattr(content, attribute) if not peer.gone]
                assert sorted(int(peer.alias) for peer in places) == sorted(model.get(name, []))
                total += len(places)
            for content in contents:
                held = [*content.complete, *content.partial]
                assert sum(peer.gone for peer in held) == content.gone < len(held)
                assert all(peer.content(name) is content for peer in held if not peer.gone)
        assert self.registry.registrations == total

    @invariant()
    def the_default_is_the_oldest_holders(self) -> None:
        for name in self.registry.names.since(b""):
            oldest = (self.whole.get(name) or self.partial[name])[0]
            default = self.registry.default(name)
            assert default[0] is self.peers[oldest].content(name)
            assert all(default[0].agrees(companion) for companion in default)
            assert sum(content.b3 is not None for content in default) <= 1

    @invariant()
    def contents_are_found_by_b3(self) -> None:
        contents = [content for name in self.registry.names.since(b"") for content in self.registry.contents(name)]
        for b3 in (b"x" * 32, b"y" * 32, b"z" * 32):
            assert set(self.registry.with_b3(b3)) == {content for content in contents if content.b3 == b3}


TestBase = BaseMachine.TestCase
TestBase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestContents = ContentMachine.TestCase
TestContents.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
