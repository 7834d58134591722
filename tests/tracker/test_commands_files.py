"""What is answered about files, without a network: HAVE, DONTHAVE, WANT, LIST, MD5SUM and STAT behind HELLO or not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from osp2p.limits import Limits
from osp2p.tracker.registry import FORGET_AT_ONCE
from osp2p.tracker.state import TrackerOptions, TrackerState
from osp2p.wire.entry import parse_file_line, parse_peer_line
from tests.tracker.sessions import M1, X, Y, ask, base, code, data, hello
from tests.tracker.talk import answer, make_session, make_state


@pytest.fixture
def state() -> TrackerState:
    return make_state()


# --- files ---


@pytest.mark.parametrize(
    "name", [b"%00", b"a%00b", b"..", b"a/../b", b"%2e%2E/b", b"/etc/passwd", b"%2fetc", b"x" * 1025]
)
def test_names_that_no_file_can_have_are_refused(state: TrackerState, name: bytes) -> None:
    session = base(state, b"ADDR a 127.0.0.1:1")
    assert code(session, b"HAVE " + name) == 500
    assert data(session, b"LIST") == []


@pytest.mark.parametrize("name", [b"a%0Ab", b"a%0D%0A200%20b", b"caf\xe9.txt", b"%ff", b"50%", b"%zz"])
def test_odd_names_are_quoted(state: TrackerState, name: bytes) -> None:
    session = base(state, b"ADDR a 127.0.0.1:1", b"HAVE " + name)
    (line,) = data(session, b"LIST")
    assert re.fullmatch(rb"FILE [A-Za-z0-9$\-_.+!*'(),%]+", line)
    assert data(session, b"WANT " + line[5:]) == [b"PEER a 127.0.0.1:1"]
    assert parse_file_line(line).name == next(iter(session.peer.files if session.peer else ()))


@pytest.mark.parametrize(
    "attributes",
    [b"size=-1", b"size=", b"size=1e3", b"size=9223372036854775808", b"size=+5", b"b3=" + b"A" * 64, b"b3=12", b"b3=",
     b"part=maybe", b"size=1 size=1", b"Size=1", b"=1"],
)  # fmt: skip
def test_malformed_attributes_register_nothing(state: TrackerState, attributes: bytes) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1")
    assert code(session, b"HAVE f " + attributes) == 500
    assert data(session, b"LIST") == []


def test_unknown_attributes_are_ignored(state: TrackerState) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f colour=red size=5 part=no later-too=")
    assert data(session, b"WANT f colour=red") == [b"PEER a 127.0.0.1:1 v=2 size=5"]


def test_holders_are_shown_with_what_is_known(state: TrackerState) -> None:
    asker = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f size=5 b3=" + X)
    hello(state, b"ADDR b 127.0.0.1:2", b"HAVE f size=5 part=yes b3=" + X)
    old = base(state, b"ADDR c 127.0.0.1:3", b"HAVE f")
    both = b" size=5 b3=" + X
    whole, part, bare = b"PEER a 127.0.0.1:1 v=2" + both, b"PEER b 127.0.0.1:2 v=2" + both, b"PEER c 127.0.0.1:3"
    assert data(asker, b"WANT f") == [whole, part + b" part=yes", bare]
    assert data(asker, b"WANT f b3=" + X) == [whole, part + b" part=yes"]
    assert data(asker, b"WANT b3=" + X) == [whole + b" name=f", part + b" name=f part=yes"]
    assert data(old, b"WANT f") == [b"PEER a 127.0.0.1:1", bare]
    assert code(asker, b"WANT f b3=" + Y) == code(asker, b"WANT b3=" + Y) == 300
    assert code(asker, b"WANT") == code(old, b"WANT") == 500


def test_max_bounds_the_holders(state: TrackerState) -> None:
    for number in range(1, 30):
        hello(state, b"ADDR a%d 127.0.0.1:%d" % (number, number), b"HAVE f")
    asker = hello(state)
    assert [len(ask(asker, b"WANT f max=%d" % most).data) for most in (0, 1, 28, 29, 1000)] == [0, 1, 28, 29, 29]
    assert ask(asker, b"WANT f max=3").text == b"3 of 29 holders"
    assert code(asker, b"WANT f max=x") == 500
    narrow = hello(make_state(limits=replace(Limits(), max_want_peers=2)), b"ADDR a 127.0.0.1:1", b"HAVE f")
    for number in range(2, 9):
        hello(narrow.state, b"ADDR b 127.0.0.1:%d" % number, b"HAVE f")
    assert len(data(narrow, b"WANT f")) == 2


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 10, 11, 30])
def test_all_holders_are_named_however_few_or_many_they_are(state: TrackerState, number: int) -> None:
    expected: list[bytes] = []
    for port in range(1, number + 1):
        hello(state, b"ADDR a%d 127.0.0.1:%d" % (port, port), b"HAVE f", b"HAVE g size=5")
        expected.append(b"PEER a%d 127.0.0.1:%d" % (port, port))
    asker, old = hello(state), base(state)
    terminator = b"%d of %d holders" % (number, number)
    for name, facts in ((b"f", b" v=2"), (b"g", b" v=2 size=5")):
        assert data(asker, b"WANT " + name) == sorted(line + facts for line in expected)
        assert data(old, b"WANT " + name) == sorted(expected)
        assert ask(asker, b"WANT " + name).text == ask(old, b"WANT " + name).text == terminator


def test_holders_of_whom_an_old_client_may_see_one_are_one_for_it(state: TrackerState) -> None:
    hello(state, b"ADDR new [2001:db8::1]:1", b"HAVE f", b"HAVE g", remote="2001:db8::1")
    hello(state, b"ADDR old 127.0.0.1:2", b"HAVE f")
    reply = ask(base(state), b"WANT f")
    assert (reply.data, reply.text) == ((b"PEER old 127.0.0.1:2",), b"1 of 1 holders")
    assert code(base(state), b"WANT g") == 300
    assert len(data(hello(state), b"WANT f")) == 2


def test_a_holder_that_has_left_is_named_no_more(state: TrackerState) -> None:
    sessions = [hello(state, b"ADDR a%d 127.0.0.1:%d" % (port, port), b"HAVE f") for port in range(1, 6)]
    asker = hello(state)
    while sessions:
        assert len(data(asker, b"WANT f")) == len(sessions)
        assert code(sessions.pop(0), b"QUIT") == 200
    assert code(asker, b"WANT f") == 300


@pytest.mark.parametrize("facts", [b"", b" size=5"])
@pytest.mark.parametrize("others", [0, 1, 2, 4])
def test_who_held_so_much_that_it_is_still_being_forgotten_is_named_no_more(
    state: TrackerState, others: int, facts: bytes
) -> None:
    leaving = hello(state, b"ADDR leaving 127.0.0.1:9", b"HAVE f" + facts)
    for number in range(FORGET_AT_ONCE):
        assert code(leaving, b"HAVE other%d" % number) == 200
    for port in range(1, others + 1):
        hello(state, b"ADDR a 127.0.0.1:%d" % port, b"HAVE f" + facts)
    assert code(leaving, b"QUIT") == 200
    assert leaving.peer is not None
    assert b"f" in leaving.peer.files
    expected = [b"PEER a 127.0.0.1:%d" % port for port in range(1, others + 1)]
    for session, more in ((hello(state), b" v=2" + facts), (base(state), b"")):
        if others:
            assert data(session, b"WANT f") == [line + more for line in expected]
        else:
            assert code(session, b"WANT f") == 300


def test_a_have_said_again_changes_nothing_unless_it_says_less(state: TrackerState) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f", b"HAVE g size=5", b"HAVE h b3=" + X, b"HAVE p part=yes")
    codes = [code(session, b"HAVE " + name) for name in (b"f", b"g", b"h", b"p", b"f", b"g", b"h", b"p")]
    assert codes == [220, 220, 200, 200, 220, 220, 220, 220]
    assert [data(session, b"WANT " + name) for name in (b"g", b"h", b"p")] == [
        [b"PEER a 127.0.0.1:1 v=2 size=5"],
        [b"PEER a 127.0.0.1:1 v=2"],
        [b"PEER a 127.0.0.1:1 v=2"],
    ]


def test_a_b3_of_one_who_came_later_is_told_by_stat_and_not_listed(state: TrackerState) -> None:
    hello(state, b"ADDR first 127.0.0.1:1", b"HAVE f " + M1)
    hello(state, b"ADDR later 127.0.0.1:2", b"HAVE f %s size=5 b3=%s" % (M1, X))
    asker = hello(state)
    assert data(asker, b"LIST") == [b"FILE f size=5"]
    assert b"B3 " + X in data(asker, b"STAT f")


def test_of_two_contents_that_count_as_one_each_has_a_place(state: TrackerState) -> None:
    hello(state, b"ADDR first 127.0.0.1:1", b"HAVE f " + M1)
    for number in range(2, 60):
        hello(state, b"ADDR later 127.0.0.1:%d" % number, b"HAVE f %s size=5 b3=%s" % (M1, X))
    asker = hello(state)
    for _ in range(20):
        assert sum(b"b3=" not in line for line in data(asker, b"WANT f max=3")) == 1


def test_stat_tells_what_is_registered(state: TrackerState) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f %s size=5 b3=%s" % (M1, X))
    hello(state, b"ADDR b 127.0.0.1:2", b"HAVE f part=yes b3=" + X)
    other = hello(state, b"ADDR c 127.0.0.1:3", b"HAVE f size=6 b3=" + Y, b"HAVE g")
    facts = [b"B3 " + X, b"MD5 " + M1, b"PARTIAL 1", b"PEERS 1", b"SIZE 5"]
    assert data(session, b"STAT f") == data(other, b"STAT f b3=" + X) == facts
    assert data(session, b"STAT f b3=" + Y) == [b"B3 " + Y, b"PARTIAL 0", b"PEERS 1", b"SIZE 6"]
    assert data(session, b"STAT g") == [b"PARTIAL 0", b"PEERS 1"]
    assert code(session, b"STAT h") == code(session, b"STAT g b3=" + X) == 300
    assert data(session, b"MD5SUM f") == data(base(state), b"MD5SUM f") == [M1]
    assert code(session, b"MD5SUM f b3=" + Y) == 300


def test_the_size_beside_a_b3_is_the_b3s(state: TrackerState) -> None:
    """Even where the oldest registrant has not told its b3 yet, and says another size or none."""
    old = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f size=5", b"HAVE g")
    hello(state, b"ADDR b 127.0.0.1:2", b"HAVE f size=6 b3=" + Y, b"HAVE g size=7 b3=" + X)
    assert data(old, b"STAT f") == [b"PARTIAL 0", b"PEERS 1", b"SIZE 5"]
    assert data(old, b"STAT f b3=" + Y) == [b"B3 " + Y, b"PARTIAL 0", b"PEERS 1", b"SIZE 6"]
    assert data(old, b"LIST prefix=f") == [b"FILE f size=5", b"FILE f size=6 b3=" + Y]
    assert data(old, b"STAT g") == [b"B3 " + X, b"PARTIAL 0", b"PEERS 2", b"SIZE 7"]
    assert code(old, b"HAVE f size=6") == 200
    assert data(old, b"STAT f") == [b"B3 " + Y, b"PARTIAL 0", b"PEERS 2", b"SIZE 6"]


def test_list_gives_pages_in_order(state: TrackerState) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1")
    names = sorted([b"a", b"b", b"b.1", b"b.2", b"b/x", b"c", b"ca", b"%FF"])
    for name in names:
        ask(session, b"HAVE " + name)
    listed = [parse_file_line(line).name for line in ask(session, b"LIST").data]
    assert listed == sorted(listed)
    assert len(listed) == len(names)
    pages: list[bytes] = []
    while page := ask(session, b"LIST max=3" + (b" after=" + pages[-1] if pages else b"")).data:
        assert len(page) <= 3
        pages += [line.split()[1] for line in page]
    assert pages == [line.split()[1] for line in ask(session, b"LIST").data]
    assert data(session, b"LIST prefix=b") == [b"FILE b", b"FILE b%2Fx", b"FILE b.1", b"FILE b.2"]
    assert data(session, b"LIST prefix=b after=b.1 max=1") == [b"FILE b.2"]
    assert data(session, b"LIST prefix=b after=a max=1") == [b"FILE b"]
    assert data(session, b"LIST prefix=b after=ca") == data(session, b"LIST prefix=zz") == []
    assert code(session, b"LIST max=-1") == 500


def test_all_contents_of_a_name_stand_on_one_page_the_default_first(state: TrackerState) -> None:
    session = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE f size=6 b3=" + Y, b"HAVE g")
    hello(state, b"ADDR b 127.0.0.1:2", b"HAVE f size=5 b3=" + X)
    assert ask(session, b"LIST max=1").data == (b"FILE f size=6 b3=" + Y, b"FILE f size=5 b3=" + X)
    assert data(base(state), b"LIST") == [b"FILE f", b"FILE g"]


def test_a_page_ends_at_so_many_bytes() -> None:
    state = make_state(limits=replace(Limits(), max_answer_bytes=1000))
    session = hello(state, b"ADDR a 127.0.0.1:1")
    for number in range(100):
        ask(session, b"HAVE file%02d-%s" % (number, b"x" * 40))
    first = ask(session, b"LIST").data
    assert 1000 <= sum(map(len, first)) < 1060
    assert ask(session, b"LIST after=" + first[-1].split()[1]).data[0] > first[-1]


def test_base_clients_get_so_many_names_and_the_honest_total() -> None:
    session = base(make_state(limits=replace(Limits(), max_base_list=5)), b"ADDR a 127.0.0.1:1")
    for number in range(9):
        ask(session, b"HAVE %d" % number)
    assert (len(ask(session, b"LIST").data), ask(session, b"LIST").text) == (5, b"5 of 9 names")


def test_base_clients_never_see_partial_or_ipv6_holders(state: TrackerState) -> None:
    new = hello(state, b"ADDR a 127.0.0.1:1", b"HAVE part part=yes b3=" + X)
    hello(state, b"ADDR b [::1]:2", b"HAVE far", b"HAVE part part=yes b3=" + X)
    old = base(state)
    assert data(old, b"LIST") == []
    assert code(old, b"WANT part") == code(old, b"WANT far") == 300
    assert data(old, b"WHO") == [b"PEER a 127.0.0.1:1"]
    assert data(new, b"LIST") == [b"FILE far", b"FILE part b3=" + X]
    assert len(data(new, b"WANT part")) == 2


def test_donthave_before_addr_withdraws_nothing(state: TrackerState) -> None:
    assert code(base(state), b"DONTHAVE f") == 220
    session = base(state, b"ADDR a 127.0.0.1:1", b"HAVE f")
    assert [code(session, b"DONTHAVE f") for _ in range(2)] == [200, 220]


# --- answers to base clients ---


def test_a_base_answer_fits_the_buffer_and_tells_the_total(state: TrackerState) -> None:
    for number in range(1, 600):
        base(state, b"ADDR peer%d 127.0.0.1:%d" % (number, number), b"HAVE f")
    session = base(state)
    seen = set()
    for line in [b"WANT f", b"WHO"] * 20:
        raw = answer(session, line)
        assert 3900 < len(raw) < 4096
        assert re.search(rb"\n200 \d+ of 599 \w+, drawn at random\n\Z", raw)
        seen.update(raw.split(b"\n")[:-2])
    assert len(seen) > 595
    assert len(ask(hello(state), b"WHO").data) == 599


def test_a_narrow_buffer_is_respected_by_short_answers_too() -> None:
    state = make_state(limits=replace(Limits(), max_base_reply=150))
    for number in range(1, 9):
        base(state, b"ADDR peer%d 127.0.0.1:%d" % (number, number), b"HAVE f")
    assert len(answer(base(state), b"WANT f")) <= 150


def test_holders_come_in_random_order(state: TrackerState) -> None:
    for number in range(1, 4):
        base(state, b"ADDR p%d 127.0.0.1:%d" % (number, number), b"HAVE f")
    for session in (base(state), hello(state)):
        assert len({ask(session, b"WANT f").data for _ in range(200)}) == 6


@pytest.mark.parametrize("greets", [False, True])
def test_fakes_are_in_every_answer(greets: bool) -> None:
    state = make_state(TrackerOptions(fakes=True))
    session = hello(state) if greets else base(state)
    assert len(data(session, b"WHO")) == 250
    assert code(session, b"WANT f") == 300
    ask(session, b"ADDR real 127.0.0.1:1")
    ask(session, b"HAVE f")
    for line in (b"WANT f", b"WHO"):
        listed = ask(session, line).data
        assert len(listed) == 251
        assert len({parse_peer_line(entry).address for entry in listed}) == 251
    places = {next(i for i, line in enumerate(ask(session, b"WHO").data) if b" real " in line) for _ in range(50)}
    assert len(places) > 20


def test_fakes_live_where_the_tracker_is_reached() -> None:
    session = make_session(make_state(TrackerOptions(fakes=True)), "192.0.2.9", "192.0.2.2")
    assert {parse_peer_line(line).address.host for line in data(session, b"WHO")} == {"192.0.2.2"}
