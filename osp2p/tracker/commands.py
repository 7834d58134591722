"""What a tracker understands: one handler a verb, which parses, applies and answers, and the table of them all.

A handler gets the session, the unquoted words and the attributes of a line, and returns the whole reply. It raises
`MalformedLine` or `UnsafeName`, which `answer_lines` writes as a reply, and awaits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from osp2p.errors import MalformedLine, RemoteProtocolError, UnsafeName
from osp2p.net.admission import source_of
from osp2p.net.lane import Making, make_at_once
from osp2p.tracker.holdings import NOTHING, Claim, Content, Peer
from osp2p.tracker.lines import (
    MOST_FEW,
    TERMINATOR_ROOM,
    base_candidates,
    fit_base_lines,
    hello_holders,
    shuffle,
    shuffled,
    write_base_line,
    write_facts,
    write_hello_line,
)
from osp2p.tracker.registry import Outcome
from osp2p.tracker.state import Session
from osp2p.wire.address import Address, parse_address
from osp2p.wire.checksum import check_md5
from osp2p.wire.entry import parse_b3, parse_number
from osp2p.wire.reply import write_reply
from osp2p.wire.table import EQUALS, PERCENT, VerbTable
from osp2p.wire.word import quote

Words = Sequence[bytes]
Attributes = Mapping[bytes, bytes]
Handler = Callable[[Session, Words, Attributes], bytes]

VERBS: VerbTable[Handler] = VerbTable()

#: Largest size of a file that anybody may claim.
MAX_SIZE = 2**63 - 1

GREETING = write_reply(200, b"HELP lists the commands", context=[(200, b"This is an OSP2P tracker.")])

_ADDR_FIRST = write_reply(300, b"say ADDR first")
_IGNORED = write_reply(220, b"noted, but this tracker lists only peers on its own host")
_NOBODY = write_reply(300, b"nobody has it")

#: What stands below all holders, by their number, where they are few.
_FEW_TEXTS = (_NOBODY, *(b"200 %d of %d holders\n" % (number, number) for number in range(1, MOST_FEW + 1)))

#: So many PEER lines are enough work to let other connections have a turn.
_MANY_LINES = 50

#: So many lines are so much work that answers with more are made one at a time, and slice by slice.
_COSTLY_LINES = 500
_SLICE_LINES = 200


def answer_lines(session: Session, lines: Iterable[bytes], replies: list[bytes]) -> None:
    """Answer lines in their order, until one wants attention.

    Args:
        replies: a whole reply for each line is appended; for a blank line, and for a BLOCKNOTIFY that waits, b"".
    """
    one_name_of, append = _ONE_NAME.get, replies.append
    for line in lines:
        words = line.split()
        one_name = one_name_of(words[0]) if len(words) == 2 else None
        try:
            if one_name is not None and PERCENT not in line and EQUALS not in line:
                append(one_name(session, words[1]))
            else:
                append(_answer_from_table(session, line))
        except RemoteProtocolError as error:
            append(write_reply(error.code, str(error).encode()))
        except UnsafeName as error:
            append(write_reply(500, str(error).encode()))
        if words:
            session.commanded = True
        if session.attention:
            break


def _answer_from_table(session: Session, line: bytes) -> bytes:
    found = VERBS.split(line, hello=session.hello)
    if found is None:
        return b""
    verb, words, attributes = found
    return verb.handler(session, words, attributes)


# --- getting acquainted ---


@VERBS.verb("HELP", (0, 0), "HELP", "list the commands")
def _help(session: Session, words: Words, attributes: Attributes) -> bytes:
    remarks = [(200, f"{verb.usage}: {verb.help}".encode()) for verb in VERBS]
    return write_reply(200, b"key= and STAT only after HELLO", context=remarks)


@VERBS.verb("HELLO", (1, 1), "HELLO OSP2P/2 [key=value...]", "speak OSP2P/2; the first command", attributes=True)
def _hello(session: Session, words: Words, attributes: Attributes) -> bytes:
    if words[0].upper() != b"OSP2P/2":
        raise MalformedLine("this tracker speaks OSP2P/2")
    if session.commanded:
        return write_reply(300, b"HELLO comes before every other command, and once")
    session.hello = True
    features = [b"FEATURE b3", b"FEATURE stat", b"FEATURE pages %d" % session.state.limits.max_list_page]
    if session.state.options.local:
        features.append(b"FEATURE local")
    return write_reply(200, b"hello", features)


@VERBS.verb("ADDR", (2, 2), "ADDR alias ip:port", "register as a peer that listens there")
def _addr(session: Session, words: Words, attributes: Attributes) -> bytes:
    session.attention = True
    state = session.state
    if session.peer is not None or session.ignored:
        return write_reply(300, b"this connection has registered already")
    alias = words[0]
    if len(alias) > state.limits.max_alias:
        return write_reply(300, b"an alias has at most %d bytes" % state.limits.max_alias)
    if b"\0" in alias:
        raise MalformedLine("an alias has no NUL byte")
    address, remarks = _true_address(session, parse_address(words[1], ipv6=session.hello))
    if address.is_ipv6 and not session.hello:
        return write_reply(300, b"connect over IPv4: only programs that say HELLO can be told of IPv6 addresses")
    if state.options.own_host_only and not session.is_own_host():
        session.ignored = True
        return _IGNORED
    if not state.may_login(session):
        return write_reply(300, b"%d peers are registered from your address; no more" % state.limits.max_peers_per_host)
    hello_line = write_hello_line(alias, address, state.limits, hello=session.hello)
    base_line = write_base_line(alias, address, state.limits)
    source = source_of(session.remote.host)
    peer = Peer(alias, address, source, hello=session.hello, base_line=base_line, hello_line=hello_line)
    state.login(session, peer)
    return write_reply(200, b"you are registered at %s" % str(address).encode(), context=remarks)


def _true_address(session: Session, claimed: Address) -> tuple[Address, list[tuple[int, bytes]]]:
    """Where a peer is, and the remarks that tell it so.

    It is where its connection comes from, except that a peer on the tracker's own host may name any address of that
    host: the tracker cannot know by which one the others reach it, the peer can.
    """
    remote = session.remote
    if claimed.host == remote.host:
        return claimed, []
    if session.is_own_host() and (claimed.is_loopback or claimed.host in session.state.own_addresses()):
        return claimed, []
    seen = Address(remote.host, claimed.port)
    return seen, [
        (220, b"your connection does not come from %s" % claimed.host.encode()),
        (220, b"you are registered at %s instead" % str(seen).encode()),
    ]


@VERBS.verb("WHO", (0, 0), "WHO", "list the peers")
def _who(session: Session, words: Words, attributes: Attributes) -> bytes:
    state = session.state
    if not session.hello:
        session.attention = True
        return _base_answer(session, [list(state.registry.peers)], b"peers", b"")
    return _answer_long(session, _make_who(session), len(state.registry.peers))


def _answer_long(session: Session, making: Making, lines: int) -> bytes:
    """Answer with so many lines, at most: at once if they are few, else when there is time for it."""
    if lines > _COSTLY_LINES:
        return session.give(making)
    session.attention = True
    return make_at_once(making)


def _make_who(session: Session) -> Making:
    """Make an answer to WHO after HELLO: who was there at the beginning of it."""
    state = session.state
    peers = list(state.registry.peers)
    lines: list[bytes] = []
    room = state.limits.max_answer_bytes
    for peer in shuffled(peers, state.rng):
        room -= len(peer.hello_line)
        if room < 0 or len(lines) >= state.limits.max_who_peers:
            break
        lines.append(peer.hello_line)
        if len(lines) % _SLICE_LINES == 0:
            yield
    return _hello_answer(session, lines, len(peers), b"peers")


@VERBS.verb("CHECKPEER", (2, 2), "CHECKPEER alias ip:port", "tell whether a peer is registered, with one of its files")
def _checkpeer(session: Session, words: Words, attributes: Attributes) -> bytes:
    session.attention = True
    address = parse_address(words[1], ipv6=session.hello)
    shown = b"PEER %s " % quote(words[0])
    for peer in session.state.registry.at_address(address):
        # A long alias goes by what WHO and WANT show of it, too.
        if words[0] == peer.alias or peer.base_line.startswith(shown) or peer.hello_line.startswith(shown):
            name = next(iter(peer.files), None)
            return write_reply(200, b"it is registered", [] if name is None else [b"FILE " + quote(name)])
    return write_reply(300, b"no such peer is registered")


@VERBS.verb("Q", (0, None), "Q", "the same")
@VERBS.verb("QUIT", (0, None), "QUIT", "say goodbye")
def _quit(session: Session, words: Words, attributes: Attributes) -> bytes:
    session.closing = session.attention = True
    session.state.logout(session)
    return write_reply(200, b"goodbye")


# --- files ---

_HAVE_ANSWERS = {
    Outcome.REGISTERED: write_reply(200, b"registered"),
    Outcome.ALREADY: write_reply(220, b"registered already"),
    Outcome.CHANGED: write_reply(200, b"changed"),
    Outcome.CONTRADICTS: write_reply(500, b"another content is registered under that name; yours is not"),
    Outcome.TOO_MANY_FILES: write_reply(300, b"you have registered as many files as you may"),
    Outcome.TOO_MANY_CONTENTS: write_reply(300, b"that name stands for as many contents as it may"),
    Outcome.FULL: write_reply(300, b"this tracker is full"),
}


@VERBS.verb("HAVE", (1, 2), "HAVE file [md5] [size=] [b3=] [part=yes]", "register a file")
def _have(session: Session, words: Words, attributes: Attributes) -> bytes:
    claim = _parse_claim(words, attributes) if attributes or len(words) > 1 else NOTHING
    return _register(session, words[0], claim)


def _register(session: Session, name: bytes, claim: Claim = NOTHING) -> bytes:
    peer = session.peer
    if peer is None:
        return _IGNORED if session.ignored else _ADDR_FIRST
    return _HAVE_ANSWERS[session.state.registry.register(peer, name, claim)]


def _parse_claim(words: Words, attributes: Attributes) -> Claim:
    """Read what stands behind the name in a HAVE.

    Raises:
        MalformedLine: something of another form.
    """
    md5 = words[1] if len(words) > 1 else None
    if md5 is not None:
        check_md5(md5)
    b3 = _parse_b3_attribute(attributes)
    size = attributes.get(b"size")
    length = None if size is None else parse_number(size, MAX_SIZE, "a size")
    part = attributes.get(b"part")
    if part not in (None, b"yes", b"no"):
        raise MalformedLine("part is yes or no")
    return Claim(md5, b3, length, part == b"yes")


def _parse_b3_attribute(attributes: Attributes) -> bytes | None:
    """Read ``b3=``, if it is there.

    Raises:
        MalformedLine.
    """
    text = attributes.get(b"b3")
    return None if text is None else parse_b3(text)


@VERBS.verb("DONTHAVE", (1, 1), "DONTHAVE file", "withdraw a file")
def _donthave(session: Session, words: Words, attributes: Attributes) -> bytes:
    if session.peer is not None and session.state.registry.withdraw(session.peer, words[0]):
        return write_reply(200, b"withdrawn")
    return write_reply(220, b"there was nothing to withdraw")


@VERBS.verb("WANT", (0, 1), "WANT file [b3=] [max=]", "list the peers that have a file")
def _want(session: Session, words: Words, attributes: Attributes) -> bytes:
    state = session.state
    if words and not attributes:
        return _want_name(session, words[0])
    contents = _wanted(session, words, attributes)
    most = state.limits.max_want_peers
    if b"max" in attributes:
        most = min(most, parse_number(attributes[b"max"], MAX_SIZE, "max"))
    return _name_holders(session, contents, most, named=not words)


def _want_name(session: Session, name: bytes) -> bytes:
    state, hello = session.state, session.hello
    content = state.registry.by_name.get(name)
    if content is None:
        return _NOBODY
    holders = content.complete
    if len(holders) > state.few or content.partial or content.gone or content.rivals is not None:
        return _want_any(session, name)
    if len(holders) > 2 or (hello and (content.b3 is not None or content.size is not None)):
        return _few_holders(session, content)
    # What nearly every WANT comes to is made here: lists of one or two, and calls, would double its time.
    first, last = holders[0], holders[-1]
    one, other = (first.hello_line, last.hello_line) if hello else (first.base_line, last.base_line)
    if not (one and other):
        return _few_holders(session, content)
    if first is last:
        return one + _FEW_TEXTS[1]
    return (one + other if state.rng.random() < 0.5 else other + one) + _FEW_TEXTS[2]


def _want_any(session: Session, name: bytes) -> bytes:
    """The answer about a name that stands for whatever it may."""
    contents = session.state.registry.default(name)
    if not session.hello:
        return _base_answer(session, [content.complete for content in contents], b"holders", _NOBODY)
    return _name_holders(session, contents, session.state.limits.max_want_peers)


def _few_holders(session: Session, content: Content) -> bytes:
    """The answer that names all holders, who are few and have the whole file.

    Whoever has left has no line any more, though it may take a while until all that it held is struck out.
    """
    holders = content.complete
    if not session.hello:
        lines = [peer.base_line for peer in holders if peer.base_line]
    elif content.b3 is None and content.size is None:
        lines = [peer.hello_line for peer in holders if peer.hello_line]
    else:
        facts = write_facts(content.known_size, content.b3) + b"\n"
        lines = [peer.hello_line[:-1] + facts if peer.hello else peer.hello_line for peer in holders if peer.hello_line]
    lines = shuffle(lines, session.state.rng)
    return b"".join(lines) + _FEW_TEXTS[len(lines)]


def _name_holders(session: Session, contents: Sequence[Content], most: int, *, named: bool = False) -> bytes:
    """Answer a program that said HELLO. See `hello_holders`."""
    lines, total = hello_holders(contents, most, session.state.rng, named=named)
    if not total or (most and not lines):
        return _NOBODY
    session.attention = len(lines) > _MANY_LINES
    return _hello_answer(session, lines, total, b"holders")


#: The verbs that nearly every line of a busy tracker has, with one plain name behind them: past the table, which takes
#: a fifth of their time. The table's handlers end in the same functions.
_ONE_NAME: dict[bytes, Callable[[Session, bytes], bytes]] = {b"HAVE": _register, b"WANT": _want_name}


def _wanted(session: Session, words: Words, attributes: Attributes) -> tuple[Content, ...]:
    """The contents that a name, a b3 or both of them mean.

    Raises:
        MalformedLine: neither is there.
    """
    registry = session.state.registry
    b3 = _parse_b3_attribute(attributes)
    if words:
        return registry.default(words[0]) if b3 is None else registry.named(words[0], b3)
    if b3 is None:
        raise MalformedLine("wrong number of words; usage: WANT file [b3=] [max=], or WANT b3= [max=]")
    return registry.with_b3(b3)


def _base_answer(session: Session, lists: Sequence[Sequence[Peer]], what: bytes, nobody: bytes) -> bytes:
    """Answer a base client with PEER lines: as many as fit its buffer, with the honest total in the text.

    Args:
        nobody: the reply where there is nobody; b"" for an empty list.
    """
    state = session.state
    candidates, total = base_candidates(lists, state.limits, state.rng)
    if not candidates and nobody:
        return nobody
    room = state.limits.max_base_reply - TERMINATOR_ROOM
    lines = [peer.base_line for peer in candidates]
    if sum(map(len, lines)) <= room and len(lines) == total:
        lines = shuffle(lines, state.rng)
        text = b"200 %d of %d %s" % (total, total, what)
    else:
        session.attention = True
        lines = fit_base_lines(candidates, room, state.limits.max_same_host_share, state.rng)
        text = b"200 %d of %d %s, drawn at random" % (len(lines), total, what)
    if state.fakes is not None:
        lines += _fake_lines(session)
        lines = shuffle(lines, state.rng)
    return b"".join(lines) + text + b"\n"


def _hello_answer(session: Session, lines: list[bytes], total: int, what: bytes) -> bytes:
    """Answer a program that said HELLO with PEER lines, each with its LF."""
    text = b"200 %d of %d %s\n" % (len(lines), total, what)
    if session.state.fakes is not None:
        lines = shuffle(lines + _fake_lines(session), session.state.rng)
    return b"".join(lines) + text


def _fake_lines(session: Session) -> list[bytes]:
    state = session.state
    assert state.fakes is not None
    host = None if session.local.is_ipv6 or session.local.is_loopback else session.local.host
    return [line + b"\n" for line in state.fakes.lines(host)]


@VERBS.verb("LIST", (0, 0), "LIST [prefix=] [after=] [max=]", "list the files")
def _list(session: Session, words: Words, attributes: Attributes) -> bytes:
    registry, limits = session.state.registry, session.state.limits
    most = limits.max_list_page if session.hello else limits.max_base_list
    if b"max" in attributes:
        most = min(most, parse_number(attributes[b"max"], MAX_SIZE, "max"))
    making = _make_list(session, attributes.get(b"prefix", b""), attributes.get(b"after", b""), most)
    return _answer_long(session, making, min(most if session.hello else len(registry.names), len(registry.names)))


def _make_list(session: Session, prefix: bytes, after: bytes, most: int) -> Making:
    """Make a page of LIST. What changes meanwhile is on it or not; every name is on it once at most, in order."""
    registry, limits = session.state.registry, session.state.limits
    names = registry.names.after(after) if after >= prefix else registry.names.since(prefix)
    lines: list[bytes] = []
    shown = looked_at = 0
    room = limits.max_answer_bytes
    last: bytes | None = None
    while True:
        before = looked_at
        for name in islice(names, _SLICE_LINES):
            if shown >= most or room <= 0 or looked_at >= limits.max_list_page or not name.startswith(prefix):
                break
            found = _file_lines(session, name)
            lines += found
            shown += bool(found)
            looked_at += 1
            room -= sum(map(len, found))
            last = name
        if looked_at < before + _SLICE_LINES or last is None:
            break
        yield
        names = registry.names.after(last)
    return write_reply(200, b"%d of %d names" % (shown, len(registry.names)), lines)


def _file_lines(session: Session, name: bytes) -> list[bytes]:
    """The FILE lines of a name: the default content, and for programs that said HELLO the others behind it."""
    line = b"FILE " + quote(name)
    registry = session.state.registry
    default = registry.default(name)
    if not session.hello:
        return [line] if any(peer.base_line for content in default for peer in content.complete) else []
    others = [content for content in registry.contents(name) if content not in default]
    size, b3 = _size_and_b3(default)
    if default and default[0].b3 is None:  # what it is said to be was said by somebody who came later: see STAT
        b3 = None
    return [line + write_facts(size, b3), *(line + write_facts(*_size_and_b3([content])) for content in others)]


def _size_and_b3(contents: Sequence[Content]) -> tuple[int | None, bytes | None]:
    """What is claimed of contents that count as one: of the one with a b3 first, since its size belongs to the b3."""
    ordered = sorted(contents, key=lambda content: content.b3 is None)
    size = next((content.known_size for content in ordered if content.known_size is not None), None)
    return size, ordered[0].b3 if ordered else None


@VERBS.verb("MD5SUM", (1, 1), "MD5SUM file [b3=]", "tell the checksum of a file")
def _md5sum(session: Session, words: Words, attributes: Attributes) -> bytes:
    contents = _wanted(session, words, attributes)
    md5 = next((content.md5 for content in contents if content.md5 is not None), None)
    return write_reply(300, b"no checksum of it is known") if md5 is None else write_reply(200, b"as registered", [md5])


@VERBS.verb("STAT", (1, 1), "STAT file [b3=]", "tell what is registered of a file", hello=True)
def _stat(session: Session, words: Words, attributes: Attributes) -> bytes:
    contents = _wanted(session, words, attributes)
    if not contents:
        return _NOBODY
    size, b3 = _size_and_b3(contents)
    md5 = next((content.md5 for content in contents if content.md5 is not None), None)
    others = len(session.state.registry.contents(words[0])) - len(contents)
    lines = [
        *([b"SIZE %d" % size] if size is not None else []),
        *([b"B3 " + b3.hex().encode()] if b3 is not None else []),
        *([b"MD5 " + md5] if md5 is not None else []),
        b"PEERS %d" % sum(len(content.complete) for content in contents),
        b"PARTIAL %d" % sum(len(content.partial) for content in contents),
    ]
    return write_reply(200, b"so it is registered, beside %d other contents of that name" % others, lines)


# --- being told of new peers ---


@VERBS.verb("NOTIFY", (0, 0), "NOTIFY", "have new peers told to your port")
def _notify(session: Session, words: Words, attributes: Attributes) -> bytes:
    if session.peer is None:
        return _IGNORED if session.ignored else _ADDR_FIRST
    session.state.subscriptions.subscribe(session.peer)
    return write_reply(200, b"you will be told of new peers")


@VERBS.verb("NONOTIFY", (0, 0), "NONOTIFY", "end that")
def _nonotify(session: Session, words: Words, attributes: Attributes) -> bytes:
    if session.peer is None:
        return write_reply(220, b"nothing was told to you")
    session.state.subscriptions.unsubscribe(session.peer)
    return write_reply(200, b"you will not be told of new peers")


@VERBS.verb("BLOCKNOTIFY", (0, 0), "BLOCKNOTIFY", "wait for the next new peer")
def _blocknotify(session: Session, words: Words, attributes: Attributes) -> bytes:
    session.state.listeners[session] = None
    reply = write_news(session)
    session.waiting = session.attention = not reply
    return reply


def write_news(session: Session) -> bytes:
    """The answer to BLOCKNOTIFY, or b"" while there is none."""
    line = session.take_news()
    return b"" if line is None else line + b"200 a new peer\n"
