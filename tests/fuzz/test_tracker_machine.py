"""A tracker against a simple model of it, in whatever order many clients come, say things, and go.

The model knows who is there, and who holds which name, whole or in part, in the order in which that came to be. All
that the tracker answers must follow from that. What it cannot know is which content a holder belongs to that has named
no b3; there it knows what must not be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from osp2p.content import sorted_names
from osp2p.limits import Limits
from osp2p.tracker import registry
from osp2p.tracker.commands import write_news
from osp2p.tracker.state import Session
from osp2p.wire.address import Address
from osp2p.wire.reply import Reply
from tests.fuzz.books import audit
from tests.fuzz.server_targets import read_replies
from tests.tracker.talk import answer, make_state

LIMITS = Limits(max_base_files=3, max_files=4, max_registrations=14, max_contents_per_name=3, max_block_queue=2)

NAMES = st.sampled_from([b"a", b"b", b"ab", b"dir%2Fc", b"%ff"])
BAD_NAMES = st.sampled_from([b"..", b"a%2F..%2Fb", b"%2Fetc", b"x%00", b"a%2F%2Fb"])
MD5S = st.sampled_from([b"", b" " + b"a" * 22, b" " + b"b" * 21 + b"a"])
B3S = st.sampled_from([b"", b" b3=" + b"1" * 64, b" b3=" + b"2" * 64, b" b3=" + b"3" * 64, b" b3=" + b"4" * 64])
SIZES = st.sampled_from([b"", b" size=1", b" size=2"])
PARTS = st.sampled_from([b"", b"", b" part=yes", b" part=no"])

#: Blocks of names, and files that are forgotten at a time, so small that there are several.
SMALL = {sorted_names: {"_BLOCK": 3}, registry: {"FORGET_AT_ONCE": 2}}


@dataclass(eq=False)
class Client:
    """A connection, and what the tracker should know of it.

    Attributes:
        holds: each name with the attributes of the last HAVE that was taken.
        refused: the checksums of it that were refused, by name; leaving one out afterwards says the same.
        news: the peers of which it is still to be told, once it has said BLOCKNOTIFY.
    """

    session: Session
    alias: bytes
    hello: bool
    logged_in: bool = False
    holds: dict[bytes, bytes] = field(default_factory=dict)
    refused: dict[bytes, bytes] = field(default_factory=dict)
    news: deque[bytes] | None = None
    waiting: bool = False


def is_partial(attributes: bytes) -> bool:
    return b"part=yes" in attributes


def b3_in(attributes: bytes) -> bytes:
    return attributes.partition(b" b3=")[2][:64]


class TrackerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patches = [
            patch.object(module, name, value) for module, values in SMALL.items() for name, value in values.items()
        ]
        for each in self.patches:
            each.start()
        self.state = make_state(limits=LIMITS)
        self.clients: list[Client] = []
        self.made = 0
        self.whole: dict[bytes, list[Client]] = {}
        self.partial: dict[bytes, list[Client]] = {}
        self.checksums: dict[bytes, set[bytes]] = {}
        self.forgetting = False

    def teardown(self) -> None:
        for client in self.clients:
            self.state.logout(client.session)
        while self.state.registry.forget_some():
            pass
        audit(self.state.registry)
        assert not self.state.registry.by_name
        for each in self.patches:
            each.stop()

    # --- saying things ---

    def say(self, session: Session, line: bytes) -> Reply:
        (reply,) = read_replies(answer(session, line))
        return reply

    def observe(self, line: bytes, *, hello: bool) -> Reply:
        """What a client is told that has just come."""
        session = Session(self.state, Address("10.9.9.9", 50000), Address("10.0.0.1", 11111))
        if hello:
            assert self.say(session, b"HELLO OSP2P/2").ok
        return self.say(session, line)

    @initialize(hello=st.booleans())
    def first(self, hello: bool) -> None:
        self.connect(hello, True)

    @precondition(lambda self: len(self.clients) < 5)
    @rule(hello=st.booleans(), logs_in=st.booleans())
    def connect(self, hello: bool, logs_in: bool) -> None:
        self.made += 1
        remote = Address(f"10.0.1.{self.made % 250 + 1}", 50000)
        client = Client(Session(self.state, remote, Address("10.0.0.1", 11111)), b"p%d" % self.made, hello)
        if hello:
            assert self.say(client.session, b"HELLO OSP2P/2").code == 200
        self.clients.append(client)
        if logs_in:
            self.login(client)

    def login(self, client: Client) -> None:
        expected = 300 if client.logged_in else 200
        line = b"ADDR %s %s:4000" % (client.alias, client.session.remote.host.encode())
        assert self.say(client.session, line).code == expected
        if expected == 200:
            client.logged_in = True
            for other in self.clients:
                if other is not client and other.news is not None:
                    other.news.append(client.alias)

    @rule(data=st.data())
    def addr(self, data: st.DataObject) -> None:
        self.login(self.someone(data))

    def someone(self, data: st.DataObject) -> Client:
        if not self.clients:
            self.connect(True, True)
        return data.draw(st.sampled_from(self.clients))

    @rule(data=st.data(), name=NAMES, md5=MD5S, b3=B3S, size=SIZES, part=PARTS)
    def have(self, data: st.DataObject, name: bytes, md5: bytes, b3: bytes, size: bytes, part: bytes) -> None:
        client = self.someone(data)
        attributes = b3 + size + part if client.hello else b""
        b3 = b3 if client.hello else b""
        known = self.others_of(client, name)
        code = self.say(client.session, b"HAVE " + name + md5 + attributes).code
        if not client.logged_in:
            assert code == 300
            return
        is_new = name not in client.holds
        full = len(client.holds) == (LIMITS.max_files if client.hello else LIMITS.max_base_files)
        if is_new and (full or self.state.registry.registrations > LIMITS.max_registrations):
            assert code == 300
            return
        if code == 500:
            assert known or (self.checksums.get(name) and not client.hello), "nobody contradicts it"
            assert md5 or name in client.refused or (b3 and any(b3_in(held) == b3_in(b3) for held in known))
            assert not (b3 and b3_in(b3) not in map(b3_in, known) and is_new)
            refused = md5 or client.refused.get(name, b"")
            self.strike(client, name)
            if refused and not b3:
                client.refused[name] = refused
        elif code == 300:
            assert known
        else:
            assert code in (200, 220)
            assert (code == 200) or not is_new
            self.note(client, name, md5 + attributes)

    def others_of(self, client: Client, name: bytes) -> list[bytes]:
        """What the others said of a name."""
        return [other.holds[name] for other in self.clients if other is not client and name in other.holds]

    def note(self, client: Client, name: bytes, said: bytes) -> None:
        now, before = (self.partial, self.whole) if is_partial(said) else (self.whole, self.partial)
        if client in before.get(name, []):
            before[name].remove(client)
        if client not in now.setdefault(name, []):
            now[name].append(client)
        refused = client.refused.pop(name, b"")
        client.holds[name] = said
        if not said or said.startswith((b" size", b" part")):
            said = refused + said
        if said.startswith(b" ") and b"=" not in said.split()[0]:
            self.checksums.setdefault(name, set()).add(said.split()[0])

    def strike(self, client: Client, name: bytes) -> bool:
        for held in (self.whole, self.partial):
            if client in held.get(name, []):
                held[name].remove(client)
        if not self.holders(name):
            self.checksums.pop(name, None)
        client.refused.pop(name, None)
        return client.holds.pop(name, None) is not None

    def holders(self, name: bytes) -> list[Client]:
        return [*self.whole.get(name, []), *self.partial.get(name, [])]

    @rule(data=st.data(), name=NAMES)
    def have_again(self, data: st.DataObject, name: bytes) -> None:
        client = self.someone(data)
        if name in client.holds:
            assert self.say(client.session, b"HAVE " + name + client.holds[name]).code == 220

    @rule(data=st.data(), name=BAD_NAMES)
    def have_what_cannot_be(self, data: st.DataObject, name: bytes) -> None:
        client = self.someone(data)
        assert self.say(client.session, b"HAVE " + name).code in ((500, 300) if client.logged_in else (300,))

    @rule(data=st.data(), name=NAMES)
    def donthave(self, data: st.DataObject, name: bytes) -> None:
        client = self.someone(data)
        code = self.say(client.session, b"DONTHAVE " + name).code
        assert code == (200 if self.strike(client, name) else 220)

    @rule(data=st.data())
    def blocknotify(self, data: st.DataObject) -> None:
        client = self.someone(data)
        if client.waiting:
            return
        if client.news is None:
            client.news = deque(maxlen=LIMITS.max_block_queue)
        said = answer(client.session, b"BLOCKNOTIFY")
        client.waiting = client.session.waiting
        self.check_news(client, said)

    def check_news(self, client: Client, said: bytes) -> None:
        """Whoever waits is told of the oldest new peer of which it was not told."""
        assert client.news is not None
        assert bool(said) == bool(client.news)
        if said:
            client.waiting = client.session.waiting = False
            (reply,) = read_replies(said)
            (line,) = reply.data
            assert line.split()[1] == client.news.popleft()

    @invariant()
    def who_waits_is_told(self) -> None:
        for client in self.clients:
            if client.waiting:
                self.check_news(client, write_news(client.session))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), quits=st.booleans())
    def leave(self, data: st.DataObject, quits: bool) -> None:
        client = self.someone(data)
        if quits:
            assert self.say(client.session, b"QUIT").code == 200
        self.state.logout(client.session)
        self.clients.remove(client)
        for name in list(client.holds):
            self.strike(client, name)
        self.forgetting = self.state.registry.forget_some()

    @precondition(lambda self: self.forgetting)
    @rule()
    def forget(self) -> None:
        self.forgetting = self.state.registry.forget_some()

    # --- what everybody sees ---

    @invariant()
    def the_books_agree(self) -> None:
        audit(self.state.registry)

    @invariant()
    def all_peers_are_listed(self) -> None:
        present = sorted(client.alias for client in self.clients if client.logged_in)
        for hello in (False, True):
            lines = self.observe(b"WHO", hello=hello).data
            assert sorted(line.split()[1] for line in lines) == present

    @invariant()
    def all_names_are_listed_in_order(self) -> None:
        there = sorted({name for name in [*self.whole, *self.partial] if self.holders(name)}, key=in_order)
        listed = list(self.pages())
        if self.forgetting:
            assert set(listed) >= set(there)
        else:
            assert listed == there
        assert listed == sorted(listed, key=in_order)
        base = [line.split()[1] for line in self.observe(b"LIST", hello=False).data]
        assert set(base) <= {name.replace(b"%ff", b"%FF") for name in there if self.whole.get(name)}

    def pages(self) -> Iterator[bytes]:
        """All names, two at a time."""
        after = b""
        while lines := self.observe(b"LIST max=2" + (b" after=" + after if after else b""), hello=True).data:
            found = list(dict.fromkeys(line.split()[1] for line in lines))
            assert len(found) <= 2
            yield from (name.replace(b"%FF", b"%ff") for name in found)
            after = found[-1]

    @invariant()
    def holders_are_found(self) -> None:
        for name in {*self.whole, *self.partial}:
            reply = self.observe(b"WANT " + name, hello=True)
            shown = self.check_holders(name, reply)
            if not self.holders(name):
                assert reply.code == 300 or self.forgetting
                continue
            assert self.holders(name)[0] in shown, "the oldest holder's content is the default"
            base = self.check_holders(name, self.observe(b"WANT " + name, hello=False))
            assert base == [client for client in shown if client in self.whole.get(name, [])]
            for client in self.holders(name):
                if b3 := b3_in(client.holds[name]):
                    by_b3 = self.check_holders(name, self.observe(b"WANT %s b3=%s" % (name, b3), hello=True))
                    assert client in by_b3
                    others = {b3_in(other.holds[name]) for other in by_b3}
                    assert others <= {b3, b""}

    def check_holders(self, name: bytes, reply: Reply) -> list[Client]:
        """Each PEER line is one holder that is there, and says of it what is true. Returns: they, in a fixed order."""
        aliases = [line.split()[1] for line in reply.data]
        assert len(set(aliases)) == len(aliases)
        found = [client for client in self.clients if client.alias in aliases]
        assert len(found) == len(aliases), "somebody is named that is not there"
        for client in found:
            assert name in client.holds
            (line,) = (line for line in reply.data if line.split()[1] == client.alias)
            assert (b"part=yes" in line) == (b"v=2" in line and is_partial(client.holds[name]))
            assert (b" v=2" in line) <= client.hello
        return found

    @invariant()
    def what_is_told_of_a_name_is_told_by_its_holders(self) -> None:
        for name in {*self.whole, *self.partial}:
            if self.forgetting:
                continue
            stat = self.observe(b"STAT " + name, hello=True)
            md5 = self.observe(b"MD5SUM " + name, hello=False)
            if not self.holders(name):
                assert (stat.code, md5.code) == (300, 300)
                continue
            facts = dict(line.split() for line in stat.data)
            shown = self.check_holders(name, self.observe(b"WANT " + name, hello=True))
            assert int(facts[b"PEERS"]) == sum(client in self.whole.get(name, []) for client in shown)
            assert int(facts[b"PARTIAL"]) == sum(client in self.partial.get(name, []) for client in shown)
            assert md5.data == ((facts[b"MD5"],) if b"MD5" in facts else ())
            assert set(md5.data) <= self.checksums.get(name, set())
            oldest = b3_in(self.holders(name)[0].holds[name])
            assert not oldest or facts[b"B3"] == oldest


def in_order(name: bytes) -> bytes:
    """What names are sorted by: their bytes."""
    return name.replace(b"%2F", b"/").replace(b"%ff", b"\xff")


TestTracker = TrackerMachine.TestCase
TestTracker.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
