"""What each verb answers, without a network: sessions in, replies out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.limits import Limits
from osp2p.tracker.commands import VERBS
from osp2p.tracker.state import TrackerOptions, TrackerState
from osp2p.wire.entry import parse_file_line, parse_peer_line
from tests.tracker.sessions import M1, M2, X, Y, ask, base, code, data, hello
from tests.tracker.talk import Told, answer, make_session, make_state


@pytest.fixture
def state() -> TrackerState:
    return make_state()


# --- getting acquainted ---


def test_help_is_the_table(state: TrackerState) -> None:
    reply = ask(base(state), b"help")
    assert reply.code == 200
    assert reply.data == ()
    shown = [text.split(b":")[0].split()[0] for _, text in reply.context]
    assert shown == [verb.name for verb in VERBS]


def test_every_verb_is_in_the_table() -> None:
    names = "HELP HELLO ADDR HAVE DONTHAVE WANT LIST WHO MD5SUM CHECKPEER NOTIFY NONOTIFY BLOCKNOTIFY STAT QUIT Q"
    assert {verb.name.decode() for verb in VERBS} == set(names.split())


@pytest.mark.parametrize("line", [b"", b" ", b"\t\r", b"\x0b\x0c"])
def test_blank_lines_get_no_answer(state: TrackerState, line: bytes) -> None:
    session = base(state)
    assert answer(session, line) == b""
    assert not session.commanded


def test_hello_names_features(state: TrackerState) -> None:
    features = [b"FEATURE b3", b"FEATURE pages 100000", b"FEATURE stat"]
    assert data(make_session(state), b"hello osp2p/2 colour=red") == features
    assert data(make_session(make_state(TrackerOptions(local=True))), b"HELLO OSP2P/2") == sorted(
        [*features, b"FEATURE local"]
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HELLO", 500),
        (b"HELLO OSP2P/3", 500),
        (b"HELLO OSP2P/2 a=1 a=2", 500),
        (b"HELLO OSP2P/2 extra", 500),
        (b"HELLO OSP2P/2 A=1", 500),
    ],
)
def test_hello_of_another_form_changes_nothing(state: TrackerState, line: bytes, expected: int) -> None:
    session = make_session(state)
    assert code(session, line) == expected
    assert not session.hello


@pytest.mark.parametrize("before", [b"LIST", b"HELLO OSP2P/2", b"ADDR a 127.0.0.1:1", b"nonsense"])
def test_hello_comes_first(state: TrackerState, before: bytes) -> None:
    session = make_session(state)
    ask(session, before)
    assert code(session, b"HELLO OSP2P/2") == 300


def test_what_needs_hello_is_unknown_before(state: TrackerState) -> None:
    session = base(state, b"ADDR a 127.0.0.1:1", b"HAVE size=5")
    assert code(session, b"STAT size=5") == 500
    assert code(session, b"WANT f b3=" + X) == 500
    assert code(session, b"LIST max=1") == 500
    assert data(session, b"LIST") == [b"FILE size%3D5"]


@pytest.mark.parametrize("line", [b"QUIT", b"q", b"Quit now please", b"Q =x a=1 b"])
@pytest.mark.parametrize("greets", [False, True])
def test_quit(state: TrackerState, line: bytes, greets: bool) -> None:
    session = hello(state) if greets else base(state)
    ask(session, b"ADDR a 127.0.0.1:1")
    assert code(session, line) == 200
    assert session.closing
    assert data(base(state), b"WHO") == []


# --- ADDR ---


@pytest.mark.parametrize(
    ("remote", "claimed", "listed"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.1.2.3", "127.1.2.3"),
        ("127.0.0.1", "192.0.2.2", "192.0.2.2"),  # the tracker's own host
        ("127.0.0.1", "10.1.2.3", "127.0.0.1"),
        ("192.0.2.2", "127.0.0.1", "127.0.0.1"),  # the tracker's own host over its own address
        ("192.0.2.9", "192.0.2.9", "192.0.2.9"),
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
        ("192.0.2.9", "192.0.2.2", "192.0.2.9"),
        ("::1", "127.0.0.1", "127.0.0.1"),
        ("::1", "192.0.2.2", "192.0.2.2"),
    ],
)
def test_an_address_is_the_connections_own_or_the_hosts(remote: str, claimed: str, listed: str) -> None:
    state = make_state(own=("192.0.2.2", "127.0.0.1", "2001:db8::2", "::1"))
    session = make_session(state, remote, "127.0.0.1")
    reply = ask(session, f"ADDR a {claimed}:4001".encode())
    assert reply.code == 200
    assert [number for number, _ in reply.context] == ([] if claimed == listed else [220, 220])
    assert data(session, b"WHO") == [f"PEER a {listed}:4001".encode()]


@pytest.mark.parametrize(
    ("remote", "claimed", "listed"),
    [
        ("127.0.0.1", "[::1]", "[::1]"),
        ("::1", "[2001:db8::2]", "[2001:db8::2]"),
        ("::1", "[2001:db8::3]", "[::1]"),
        ("2001:db8::9", "[2001:DB8:0::9]", "[2001:db8::9]"),
        ("2001:db8::9", "10.1.2.3", "[2001:db8::9]"),
        ("10.1.2.3", "[2001:db8::9]", "10.1.2.3"),
        ("10.1.2.3", "[::ffff:10.1.2.3]", "10.1.2.3"),
    ],
)
def test_ipv6_addresses_after_hello(remote: str, claimed: str, listed: str) -> None:
    state = make_state(own=("192.0.2.2", "127.0.0.1", "2001:db8::2", "::1"))
    session = make_session(state, remote, "127.0.0.1")
    ask(session, b"HELLO OSP2P/2")
    assert code(session, f"ADDR a {claimed}:4001".encode()) == 200
    assert data(session, b"WHO") == [f"PEER a {listed}:4001 v=2".encode()]
    ipv6 = listed.startswith("[")
    assert data(base(state), b"WHO") == ([] if ipv6 else [f"PEER a {listed}:4001".encode()])


def test_ipv6_is_not_for_base_clients(state: TrackerState) -> None:
    session = make_session(state, "2001:db8::9")
    assert code(session, b"ADDR a [2001:db8::9]:1") == 300
    assert code(session, b"ADDR a 10.1.2.3:1") == 300
    assert session.peer is None


@pytest.mark.parametrize("alias", [b"%00", b"a%00b"])
def test_an_alias_has_no_nul(state: TrackerState, alias: bytes) -> None:
    assert code(base(state), b"ADDR %s 127.0.0.1:1" % alias) == 500


def test_an_alias_has_a_longest_length(state: TrackerState) -> None:
    session = base(state)
    assert code(session, b"ADDR %s 127.0.0.1:1" % (b"a" * 2048)) == 300
    assert code(session, b"ADDR %s 127.0.0.1:1" % (b"a" * 2047)) == 200


@pytest.mark.parametrize("alias", [b"evil%0APEER%20x%201.2.3.4:5", b"%0d%0a200%20ok", b"a%25%30%41"])
def test_an_alias_injects_no_lines(state: TrackerState, alias: bytes) -> None:
    listener = hello(state)
    assert answer(listener, b"BLOCKNOTIFY") == b""
    session = base(state, b"ADDR %s 127.0.0.1:1" % alias, b"HAVE f")
    raw = session.peer.alias if session.peer else b""
    heard = listener.take_news()
    assert heard is not None
    for line in [*data(session, b"WHO"), *data(session, b"WANT f"), *data(listener, b"WHO"), heard]:
        assert parse_peer_line(line).alias == raw


def test_a_long_alias_is_shortened_and_found_as_it_is_shown(state: TrackerState) -> None:
    alias = b"%20" * 600
    session = base(state, b"ADDR %s 127.0.0.1:1" % alias)
    (short,) = data(session, b"WHO")
    (longer,) = data(hello(state), b"WHO")
    assert len(short) <= 256 < len(longer)
    for shown in (short.split()[1], longer.split()[1], alias):
        assert code(session, b"CHECKPEER %s 127.0.0.1:1" % shown) == 200
    assert code(session, b"CHECKPEER %20 127.0.0.1:1") == 300


def test_strangers_are_ignored_with_x() -> None:
    state = make_state(TrackerOptions(own_host_only=True), own=("192.0.2.2",))
    stranger = base(state, remote="192.0.2.9")
    for line in (b"ADDR s 192.0.2.9:1", b"HAVE f", b"DONTHAVE f", b"NOTIFY", b"NONOTIFY"):
        assert code(stranger, line) == 220
    assert code(stranger, b"ADDR s 192.0.2.9:1") == 300
    at_home = base(state, b"ADDR h 192.0.2.2:1", b"HAVE f", remote="192.0.2.2")
    assert data(stranger, b"WHO") == data(at_home, b"WANT f") == [b"PEER h 192.0.2.2:1"]


# --- being told ---


def test_notify_needs_addr(state: TrackerState) -> None:
    session = base(state)
    assert (code(session, b"NOTIFY"), code(session, b"NONOTIFY")) == (300, 220)
    assert code(session, b"ADDR a 127.0.0.1:1") == 200
    assert isinstance(state.subscriptions, Told)
    for line, subscribed in ((b"NOTIFY", [session.peer]), (b"NONOTIFY", [])):
        assert code(session, line) == 200
        assert state.subscriptions.subscribed == subscribed
    ask(session, b"NOTIFY")
    ask(session, b"QUIT")
    assert state.subscriptions.subscribed == []


def test_blocknotify_waits_and_then_remembers(state: TrackerState) -> None:
    session = base(state)
    base(state, b"ADDR early 127.0.0.1:1")
    assert answer(session, b"BLOCKNOTIFY") == b""
    assert session.waiting
    base(state, b"ADDR one 127.0.0.1:2")
    session.waiting = False
    assert session.take_news() == b"PEER one 127.0.0.1:2\n"
    base(state, b"ADDR two 127.0.0.1:3")
    hello(state, b"ADDR three [::1]:4")
    ask(session, b"ADDR me 127.0.0.1:5")
    assert data(session, b"BLOCKNOTIFY") == [b"PEER two 127.0.0.1:3"]
    assert answer(session, b"BLOCKNOTIFY") == b""


def test_programs_that_said_hello_hear_of_all_peers(state: TrackerState) -> None:
    session = hello(state)
    assert answer(session, b"BLOCKNOTIFY") == b""
    hello(state, b"ADDR new [::1]:4")
    assert session.take_news() == b"PEER new [::1]:4 v=2\n"


def test_what_waits_for_blocknotify_is_bounded() -> None:
    state = make_state(limits=replace(Limits(), max_block_queue=3))
    session = base(state)
    assert answer(session, b"BLOCKNOTIFY") == b""
    for number in range(1, 9):
        base(state, b"ADDR p%d 127.0.0.1:%d" % (number, number))
    assert [session.take_news() for _ in range(4)] == [*(b"PEER p%d 127.0.0.1:%d\n" % (n, n) for n in (6, 7, 8)), None]


# --- anything at all ---

WORDS = st.one_of(
    st.sampled_from(
        [b"a", b"f", b"127.0.0.1:1", b"[::1]:2", M1, M2, b"OSP2P/2", b"size=5", b"b3=" + X, b"b3=" + Y, b"part=yes",
         b"max=2", b"prefix=f", b"after=a", b"%0A", b"..", b"%00", b"="]
    ),
    st.binary(max_size=12),
)  # fmt: skip
LINES = st.builds(
    lambda verb, words: b" ".join([verb, *words]).replace(b"\n", b""),
    st.sampled_from([verb.name for verb in VERBS]) | st.binary(max_size=6),
    st.lists(WORDS, max_size=4),
)


@given(scripts=st.lists(st.tuples(st.integers(0, 3), LINES), max_size=40))
def test_any_line_gets_one_documented_reply(scripts: list[tuple[int, bytes]]) -> None:
    state = make_state()
    sessions = [make_session(state, host) for host in ("127.0.0.1", "::1", "10.0.0.1", "127.0.0.1")]
    ask(sessions[0], b"HELLO OSP2P/2")
    for number, line in scripts:
        session = sessions[number]
        if session.closing or line.split()[:1] in ([], [b"BLOCKNOTIFY"]):
            continue
        reply = ask(session, line)
        assert reply.code in (200, 220, 300, 500)
        for entry in reply.data:
            if entry.startswith(b"PEER"):
                seen = parse_peer_line(entry, hello=session.hello)
                assert session.hello or not seen.address.is_ipv6
            elif entry.startswith(b"FILE"):
                parse_file_line(entry, hello=session.hello)
            else:
                assert re.fullmatch(rb"(FEATURE|SIZE|B3|MD5|PEERS|PARTIAL) .+|[a-zA-Z0-9_@]{22}", entry)
