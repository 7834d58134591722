"""What a tracker understands: one handler a verb, which parses, applies and writes.

A handler takes a session and a request and returns the whole reply. The table is what HELP prints.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from osp2p.errors import MalformedLine
from osp2p.limits import Limits
from osp2p.tracker.registry import Claim, Content, Holding, Member, Outcome, Registry, sample
from osp2p.wire.address import Address, parse_address
from osp2p.wire.checksum import parse_md5, write_md5
from osp2p.wire.entry import FileEntry, PeerEntry, parse_b3, parse_number, write_file_line, write_peer_line
from osp2p.wire.reply import write_reply
from osp2p.wire.request import Request
from osp2p.wire.table import VerbTable
from osp2p.wire.word import quote

_MOST = 2**63 - 1

#: How many invented peers a tracker with -f names in every answer. Source: the 2007 tracker.
FAKES = 250

_OUTCOMES = {
    outcome: write_reply(code, text)
    for outcome, code, text in [
        (Outcome.NEW, 200, b"registered"),
        (Outcome.CHANGED, 200, b"changed"),
        (Outcome.SAME, 220, b"registered already"),
        (Outcome.CONTRADICTS, 500, b"that name has another checksum here; nothing is registered"),
        (Outcome.TOO_MANY, 300, b"too many files; this one is not registered"),
    ]
}
_ADDR_FIRST = write_reply(300, b"say ADDR first")
_NO_SUCH_FILE = write_reply(300, b"nobody has a file of that name")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """The options of 2007.

    Attributes:
        local: peers behind loopback keep 127.x (-l); new ones are told so by ``FEATURE local``.
        own_host_only: list only peers on the tracker's own host, and ignore the registrations of others (-x).
        fakes: name 250 peers that are not there in every answer (-f).
    """

    local: bool = False
    own_host_only: bool = False
    fakes: bool = False


class Tracker(Protocol):
    """What all sessions of one tracker share."""

    registry: Registry
    limits: Limits
    options: TrackerOptions
    rng: random.Random

    def own_hosts(self) -> frozenset[str]:
        """The addresses of the tracker's own host, loopback included."""

    def joined(self, session: Session) -> None:
        """A peer has logged in: tell those who wait for it."""

    def watch(self, session: Session, on: bool) -> None:
        """Tell this session's peer of new ones, or no more."""


@dataclass(eq=False, slots=True)
class Session:
    """One connection, as the handlers see it.

    Attributes:
        remote: the other side's address.
        local: our side's.
        hello: whether HELLO was said.
        used: whether any request came, so that HELLO is not the first line any more.
        member: the peer that logged in here.
        blocked: whether BLOCKNOTIFY waits for the next peer.
        arrivals: peers that registered since BLOCKNOTIFY was first said; None before.
        unread: what was received while BLOCKNOTIFY waited.
        ended: whether QUIT was said.
    """

    tracker: Tracker
    remote: Address
    local: Address
    hello: bool = False
    used: bool = False
    member: Member | None = None
    blocked: bool = False
    arrivals: list[PeerEntry] | None = field(default=None)
    unread: bytes = b""
    ended: bool = False

    def take_unread(self) -> bytes:
        """What was received while BLOCKNOTIFY waited; from now on nothing."""
        unread, self.unread = self.unread, b""
        return unread


Handler = Callable[[Session, Request], bytes]
VERBS: VerbTable[Handler] = VerbTable()


def answer(session: Session, line: bytes) -> bytes:
    """Answer one line: with a whole reply, or with nothing where it was blank or the answer waits."""
    try:
        found = VERBS.parse(line, hello=session.hello)
        if found is None:
            return b""
        verb, request = found
        reply = verb.handler(session, request)
    except MalformedLine as error:
        reply = write_reply(error.code, str(error).encode())
    session.used = True
    return reply


@VERBS.verb("HELP", (0, 0), "HELP", "this list")
def _help(session: Session, request: Request) -> bytes:
    context = [(200, f"{verb.usage}: {verb.help}".encode()) for verb in VERBS]
    return write_reply(200, b"end of the list", context=context)


@VERBS.verb("HELLO", (1, None), "HELLO OSP2P/2", "speak OSP2P/2 from here on; the first line, if at all")
def _hello(session: Session, request: Request) -> bytes:
    if request.words[0].upper() != b"OSP2P/2":
        raise MalformedLine("this tracker speaks OSP2P/2; say HELLO OSP2P/2")
    if session.used:
        return write_reply(300, b"HELLO comes before every other command")
    session.hello = True
    features = [b"FEATURE b3", b"FEATURE stat", b"FEATURE pages %d" % session.tracker.limits.max_list_page]
    if session.tracker.options.local:
        features.append(b"FEATURE local")
    return write_reply(200, b"hello", features)


# --- who is here ---


@VERBS.verb("ADDR", (2, 2), "ADDR alias ip:port", "log in: what you are called, and where you listen")
def _addr(session: Session, request: Request) -> bytes:
    tracker = session.tracker
    if session.member is not None:
        return write_reply(300, b"you have said ADDR already")
    alias, text = request.words
    if len(alias) > tracker.limits.max_alias or not alias:
        return write_reply(300, b"an alias has 1 to %d bytes" % tracker.limits.max_alias)
    claimed = parse_address(text, ipv6=session.hello)
    address, remarks = _real_address(session, claimed)
    if tracker.options.own_host_only and address.host not in tracker.own_hosts():
        return write_reply(220, b"this tracker lists only peers on its own host; you are not listed")
    session.member = tracker.registry.join(alias, address, hello=session.hello)
    tracker.joined(session)
    return write_reply(200, b"welcome", context=[(220, remark) for remark in remarks])


def _real_address(session: Session, claimed: Address) -> tuple[Address, list[bytes]]:
    """The address under which a peer is listed, and what it should know about that.

    It is the connection's own, whatever was claimed; but from loopback a peer may claim any address of this host.
    """
    remote = session.remote
    if claimed.host == remote.host or (remote.is_loopback and claimed.host in session.tracker.own_hosts()):
        return claimed, []
    if remote.is_loopback and claimed.is_loopback:
        return claimed, []
    real = Address(remote.host, claimed.port)
    return real, [f"your connection does not come from {claimed.host}".encode(), f"you are listed at {real}".encode()]


@VERBS.verb("WHO", (0, 0), "WHO", "the peers that are logged in")
def _who(session: Session, request: Request) -> bytes:
    tracker = session.tracker
    members = [member for member in tracker.registry.members if session.hello or not member.address.is_ipv6]
    if session.hello:
        most = tracker.limits.max_who_peers
        lines = [write_peer_line(_entry(member)) for member in members[:most]]
        lines += _fakes(session)
        return write_reply(200, b"%d peers" % len(members), lines)
    return _base_peers(session, members, b"peers are logged in")


@VERBS.verb("CHECKPEER", (2, 2), "CHECKPEER alias ip:port", "is this peer logged in, and what has it")
def _checkpeer(session: Session, request: Request) -> bytes:
    alias, text = request.words
    address = parse_address(text, ipv6=session.hello)
    for member in session.tracker.registry.members:
        if member.address == address and member.alias == alias:
            first = next((name for name, holding in member.files.items() if not holding.partial), None)
            return write_reply(200, b"logged in", [] if first is None else [write_file_line(FileEntry(first))])
    return write_reply(300, b"no such peer is logged in")


@VERBS.verb("NOTIFY", (0, 0), "NOTIFY", "connect to my port whenever a new peer logs in")
def _notify(session: Session, request: Request) -> bytes:
    if session.member is None:
        return _ADDR_FIRST
    session.tracker.watch(session, True)
    return write_reply(200, b"you will be told")


@VERBS.verb("NONOTIFY", (0, 0), "NONOTIFY", "no more of that")
def _nonotify(session: Session, request: Request) -> bytes:
    if session.member is None:
        return write_reply(220, b"you were not being told")
    session.tracker.watch(session, False)
    return write_reply(200, b"you will not be told any more")


@VERBS.verb("BLOCKNOTIFY", (0, 0), "BLOCKNOTIFY", "answer when the next new peer logs in")
def _blocknotify(session: Session, request: Request) -> bytes:
    if session.arrivals is None:
        session.arrivals = []
    session.blocked = True
    return next_arrival(session)


def next_arrival(session: Session) -> bytes:
    """The answer to BLOCKNOTIFY, if a peer has come; else nothing."""
    if not session.blocked or not session.arrivals:
        return b""
    session.blocked = False
    return write_reply(200, b"a new peer", [write_peer_line(session.arrivals.pop(0))])


# --- who has what ---


@VERBS.verb("HAVE", (1, 2), "HAVE file [md5] [size=] [b3=] [part=yes]", "share a file")
def _have(session: Session, request: Request) -> bytes:
    member = session.member
    if member is None:
        return _ADDR_FIRST
    words = request.words
    name = words[0]
    limits = session.tracker.limits
    if len(name) > limits.max_name:
        raise MalformedLine(f"a name has at most {limits.max_name} bytes")
    if b"\0" in name:
        raise MalformedLine("a name has no NUL byte")
    md5 = parse_md5(words[1]) if len(words) == 2 else None
    attributes = request.attributes
    if not attributes:
        return _OUTCOMES[session.tracker.registry.have(member, name, Claim(md5))]
    size = parse_number(attributes[b"size"], _MOST, "size") if b"size" in attributes else None
    b3 = parse_b3(attributes[b"b3"]) if b"b3" in attributes else None
    partial = attributes.get(b"part", b"no")
    if partial not in (b"yes", b"no"):
        raise MalformedLine("part is yes or no")
    return _OUTCOMES[session.tracker.registry.have(member, name, Claim(md5, size, b3, partial == b"yes"))]


@VERBS.verb("DONTHAVE", (1, 1), "DONTHAVE file", "share it no longer")
def _donthave(session: Session, request: Request) -> bytes:
    member = session.member
    if member is None:
        return _ADDR_FIRST
    if session.tracker.registry.dont_have(member, request.words[0]):
        return write_reply(200, b"withdrawn")
    return write_reply(220, b"it was not registered")


@VERBS.verb("WANT", (0, 1), "WANT file [b3=] [max=]", "who has a file")
def _want(session: Session, request: Request) -> bytes:
    if not session.hello:
        if not request.words:
            raise MalformedLine("wrong number of words; usage: WANT file")
        holders = [holding.member for holding in session.tracker.registry.base_holders(request.words[0])]
        if not holders and not session.tracker.options.fakes:
            return _NO_SUCH_FILE
        return _base_peers(session, holders, b"peers have it")
    return _want_after_hello(session, request)


def _want_after_hello(session: Session, request: Request) -> bytes:
    tracker = session.tracker
    limits = tracker.limits
    text = request.attributes.get(b"max")
    most = limits.max_want_peers if text is None else min(parse_number(text, _MOST, "max"), limits.max_want_peers)
    b3 = parse_b3(request.attributes[b"b3"]) if b"b3" in request.attributes else None
    holders: Sequence[Holding]
    if request.words:
        content = tracker.registry.content(request.words[0], b3)
        holders = tracker.registry.holders(request.words[0], content) if content is not None else []
    elif b3 is not None:
        holders = list(tracker.registry.holders_of(b3))
    else:
        raise MalformedLine("WANT needs a file, or b3=")
    if not holders and not tracker.options.fakes:
        return _NO_SUCH_FILE
    lines = [write_peer_line(_holder_entry(holding)) for holding in sample(holders, most, tracker.rng)]
    return write_reply(200, b"%d peers have it" % len(holders), lines + _fakes(session))


@VERBS.verb("LIST", (0, 0), "LIST [prefix=] [after=] [max=]", "the files that there are")
def _list(session: Session, request: Request) -> bytes:
    registry, limits = session.tracker.registry, session.tracker.limits
    lines: list[bytes] = []
    if not session.hello:
        for name in registry.names():
            if len(lines) >= limits.max_base_list:
                break
            if registry.base_content(name) is not None:
                lines.append(b"FILE " + quote(name))
        return write_reply(200, b"%d of %d files" % (len(lines), registry.name_count), lines)
    text = request.attributes.get(b"max")
    most = limits.max_list_page if text is None else min(parse_number(text, _MOST, "max"), limits.max_list_page)
    names = registry.names(request.attributes.get(b"prefix", b""), request.attributes.get(b"after", b""))
    for _, name in zip(range(most), names, strict=False):
        lines += [write_file_line(FileEntry(name, _facts(content))) for content in registry.contents(name)]
    return write_reply(200, b"%d of %d files" % (len(lines), registry.name_count), lines)


@VERBS.verb("MD5SUM", (1, 1), "MD5SUM file", "the checksum of a file")
def _md5sum(session: Session, request: Request) -> bytes:
    content = session.tracker.registry.content(request.words[0])
    if content is None or content.md5 is None:
        return write_reply(300, b"no checksum of that file is known")
    return write_reply(200, b"so its registrants say", [write_md5(content.md5)])


@VERBS.verb("STAT", (1, 1), "STAT file [b3=]", "what is known of a file", hello=True)
def _stat(session: Session, request: Request) -> bytes:
    b3 = parse_b3(request.attributes[b"b3"]) if b"b3" in request.attributes else None
    content = session.tracker.registry.content(request.words[0], b3)
    if content is None:
        return _NO_SUCH_FILE
    lines = []
    if content.size is not None:
        lines.append(b"SIZE %d" % content.size)
    if content.b3 is not None:
        lines.append(b"B3 " + content.b3.hex().encode())
    if content.md5 is not None:
        lines.append(b"MD5 " + write_md5(content.md5))
    lines += [b"PEERS %d" % content.whole, b"PARTIAL %d" % content.partial]
    others = len(session.tracker.registry.contents(request.words[0])) - 1
    return write_reply(200, b"there are %d other contents of that name" % others, lines)


@VERBS.verb("QUIT", (0, None), "QUIT", "log out and close")
def _quit(session: Session, request: Request) -> bytes:
    session.ended = True
    return write_reply(200, b"goodbye")


@VERBS.verb("Q", (0, None), "Q", "the same as QUIT")
def _q(session: Session, request: Request) -> bytes:
    return _quit(session, request)


# --- how peers are written ---


def _entry(member: Member) -> PeerEntry:
    return PeerEntry(member.alias, member.address, {b"v": b"2"} if member.hello else {})


def _facts(content: Content) -> dict[bytes, bytes]:
    facts = {}
    if content.size is not None:
        facts[b"size"] = b"%d" % content.size
    if content.b3 is not None:
        facts[b"b3"] = content.b3.hex().encode()
    return facts


def _holder_entry(holding: Holding) -> PeerEntry:
    """A holder as programs that said HELLO see it. What the content is claimed by those who can prove it later."""
    member = holding.member
    if not member.hello:
        return PeerEntry(member.alias, member.address)
    attributes = {b"v": b"2", **_facts(holding.content)}
    if holding.partial:
        attributes[b"part"] = b"yes"
    return PeerEntry(member.alias, member.address, attributes)


def _fakes(session: Session) -> list[bytes]:
    """With -f: peers that are not there, at addresses where asking them harms nobody but this host."""
    if not session.tracker.options.fakes:
        return []
    rng = session.tracker.rng
    lines = []
    for number in range(FAKES):
        host = session.local.host
        if session.local.is_loopback or session.local.is_ipv6:
            host = f"127.{rng.randrange(1, 255)}.{rng.randrange(1, 255)}.{rng.randrange(1, 255)}"
        lines.append(b"PEER fake%d %s:%d" % (number, host.encode(), rng.randrange(50000, 65536)))
    return lines


def base_peer_line(member: Member, limits: Limits) -> bytes:
    """A PEER line that every old program can hold: with a shortened alias where it would be too long."""
    address = str(member.address).encode()
    room = limits.max_base_peer_line - len(b"PEER  ") - len(address)
    alias = quote(member.alias)
    if len(alias) > room:
        alias = quote(member.alias[: max(1, (room - 3) // 3)]) + b"..."
    return b"PEER %s %s" % (alias, address)


def _base_peers(session: Session, members: Sequence[Member], what: bytes) -> bytes:
    """An answer that fits the one buffer of an old program: a random sample, and the honest number in the text.

    No source address fills more than its share of a sample while there are others to name.
    """
    tracker, limits = session.tracker, session.tracker.limits
    shuffled = tracker.rng.sample(members, min(len(members), 4 * limits.max_base_reply // 20))
    if tracker.options.fakes:
        lines = [base_peer_line(member, limits) for member in shuffled] + _fakes(session)
        tracker.rng.shuffle(lines)
        return write_reply(200, b"%d %s" % (len(lines), what), lines)
    room = limits.max_base_reply - 64
    lines = [base_peer_line(member, limits) for member in shuffled]
    if len(members) > len(shuffled) or sum(len(line) + 1 for line in lines) > room:
        lines = _fit(shuffled, room, limits)
        return write_reply(200, b"%d of %d %s" % (len(lines), len(members), what), lines)
    return write_reply(200, b"%d %s" % (len(lines), what), lines)


def _fit(members: Iterable[Member], room: int, limits: Limits) -> list[bytes]:
    """As many PEER lines as fit, with at most a share of them from one address while others wait."""
    used: Counter[str] = Counter()
    chosen: list[bytes] = []
    later: list[bytes] = []
    quota = int(room * limits.max_same_host_share)
    for member in members:
        line = base_peer_line(member, limits)
        host = member.address.host
        if used[host] + len(line) + 1 > quota:
            later.append(line)
            continue
        used[host] += len(line) + 1
        chosen.append(line)
    fitting: list[bytes] = []
    for line in chosen + later:
        if room < len(line) + 1:
            break
        room -= len(line) + 1
        fitting.append(line)
    return fitting
