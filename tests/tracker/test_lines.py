"""PEER lines never grow beyond their room, and no host crowds out the others."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.limits import Limits
from osp2p.tracker.holdings import Content, Peer
from osp2p.tracker.lines import (
    MOST_FEW,
    TERMINATOR_ROOM,
    Fakes,
    base_candidates,
    choose,
    fit_base_lines,
    hello_holders,
    how_few,
    shorten_alias,
    shuffle,
    shuffled,
    write_base_line,
    write_facts,
    write_hello_line,
)
from osp2p.wire.address import Address
from osp2p.wire.entry import parse_peer_line
from osp2p.wire.word import quote

LIMITS = Limits()
ALIASES = st.binary(min_size=1, max_size=2047)


def make_peer(number: int, host: str = "127.0.0.1", *, hello: bool = True) -> Peer:
    alias = b"p%d" % number
    address = Address(host, 10000 + number)
    return Peer(
        alias,
        address,
        host,
        hello=hello,
        base_line=write_base_line(alias, address, LIMITS),
        hello_line=write_hello_line(alias, address, LIMITS, hello=hello),
    )


@given(alias=ALIASES, room=st.integers(min_value=6, max_value=300))
def test_a_shortened_alias_fits_and_begins_like_the_long_one(alias: bytes, room: int) -> None:
    shown = shorten_alias(alias, room)
    assert len(quote(shown)) <= room
    if shown != alias:
        assert len(quote(alias)) > room
        assert shown.endswith(b"...")
        assert alias.startswith(shown[:-3])


@given(room=st.integers(100, 5000), line=st.integers(40, 300), most=st.integers(0, 20), alias=ALIASES)
def test_few_holders_have_room_whatever_they_are_called(room: int, line: int, most: int, alias: bytes) -> None:
    limits = replace(LIMITS, max_base_reply=room, max_base_peer_line=line, max_want_peers=most)
    few = how_few(limits)
    assert 0 <= few <= min(most, MOST_FEW)
    longest = write_base_line(alias, Address("255.255.255.254", 65535), limits)
    assert few * len(longest) + TERMINATOR_ROOM <= room or not few
    assert how_few(LIMITS) == MOST_FEW


@given(alias=ALIASES, host=st.ip_addresses(v=4).filter(int).map(str), port=st.integers(1, 65535))
def test_base_lines_are_short_and_readable(alias: bytes, host: str, port: int) -> None:
    line = write_base_line(alias, Address(host, port), LIMITS)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= LIMITS.max_base_peer_line + 1
    assert parse_peer_line(line[:-1], hello=False).address == (host, port)


@given(alias=ALIASES, hello=st.booleans())
def test_hello_lines_leave_room_for_all_attributes(alias: bytes, hello: bool) -> None:
    line = write_hello_line(alias, Address("2001:db8::1", 65535), LIMITS, hello=hello).removesuffix(b"\n")
    longest = write_facts(2**63 - 1, bytes(32)) + b" part=yes name=" + quote(b"\xff" * LIMITS.max_name)
    assert len(line + longest) <= LIMITS.max_line
    assert parse_peer_line(line).attributes.get(b"v") == (b"2" if hello else None)


def test_base_clients_have_no_line_for_ipv6() -> None:
    assert write_base_line(b"a", Address("::1", 1), LIMITS) == b""


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 6, 7])
def test_shuffling_is_fair(number: int, lazily: bool) -> None:
    rng = random.Random(number)
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(1000 * number):
        items = list(range(number))
        order = list(shuffled(items, rng)) if lazily else shuffle(items, rng)
        assert sorted(order) == list(range(number))
        counts.update(enumerate(order))
    assert len(counts) == number**2
    assert all(850 < count < 1150 for count in counts.values())


def test_every_order_of_a_few_comes_up() -> None:
    rng = random.Random(8)
    assert len({tuple(shuffle([1, 2, 3, 4, 5], rng)) for _ in range(3000)}) == 120


@pytest.mark.parametrize("sizes", [(0, 0), (3, 0), (2, 5), (40, 60), (0, 1000)])
@pytest.mark.parametrize("count", [0, 1, 10])
def test_choosing_draws_each_place_at_most_once(sizes: tuple[int, int], count: int) -> None:
    lists = [[(which, place) for place in range(size)] for which, size in enumerate(sizes)]
    chosen = choose(lists, count, random.Random(1))
    assert len(chosen) == min(count, sum(sizes)) == len(set(chosen))
    assert all(which == item[0] for which, item in chosen)


def test_choosing_reaches_every_place() -> None:
    rng = random.Random(2)
    seen = {item for _ in range(600) for _, item in choose([list(range(30)), list(range(30, 60))], 3, rng)}
    assert seen == set(range(60))


def test_one_host_does_not_fill_the_answer() -> None:
    crowd = [make_peer(number) for number in range(900)]
    others = [make_peer(number, f"10.0.0.{number}") for number in range(1, 6)]
    lines = fit_base_lines(crowd + others, 4000, 0.5, random.Random(1))
    assert sum(map(len, lines)) <= 4000
    assert {peer.base_line for peer in others} <= set(lines)


def test_one_host_fills_it_where_there_are_no_others() -> None:
    lines = fit_base_lines([make_peer(number) for number in range(900)], 4000, 0.5, random.Random(1))
    assert sum(map(len, lines)) > 4000 - len(b"PEER p999 127.0.0.1:19999\n")


def test_two_hosts_share_evenly() -> None:
    peers = [make_peer(number, f"10.0.0.{number % 2}") for number in range(2000)]
    lines = fit_base_lines(peers, 4000, 0.5, random.Random(1))
    counts = Counter(line.split()[2].split(b":")[0] for line in lines)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_of_very_many_a_part_is_looked_at() -> None:
    limits = replace(LIMITS, max_peers_per_host=100)
    peers = [make_peer(number, f"10.0.{number % 40}.1") for number in range(1000)]
    candidates, total = base_candidates([peers], limits, random.Random(1))
    assert total == 1000
    assert len(candidates) == 25
    assert base_candidates([peers[:200]], limits, random.Random(1))[1] == 200


def test_peers_that_base_clients_may_not_see_are_no_candidates() -> None:
    peers = [make_peer(1), make_peer(2, "::1")]
    assert base_candidates([peers], LIMITS, random.Random(1)) == ([peers[0]], 1)


def make_swarm(wholes: int, partials: int) -> Content:
    content = Content(b"f", bytes(32), None, 10)
    content.complete = [make_peer(number) for number in range(wholes)]
    content.partial = [make_peer(10_000 + number) for number in range(partials)]
    return content


@pytest.mark.parametrize(
    ("wholes", "partials", "shown_whole", "shown_partial"),
    [(3, 4, 3, 4), (500, 0, 20, 0), (0, 500, 0, 20), (1, 500, 1, 19), (500, 1, 19, 1), (500, 500, 10, 10)],
)
def test_whole_and_partial_holders_both_have_their_places(
    wholes: int, partials: int, shown_whole: int, shown_partial: int
) -> None:
    lines, total = hello_holders([make_swarm(wholes, partials)], 20, random.Random(1))
    assert total == wholes + partials
    assert len(set(lines)) == len(lines) == shown_whole + shown_partial
    assert sum(line.endswith(b" part=yes\n") for line in lines) == shown_partial


def test_only_peers_that_said_hello_are_shown_with_attributes() -> None:
    content = Content(b"a b", bytes(32), None, 10)
    content.complete = [make_peer(1), make_peer(2, hello=False)]
    lines, _ = hello_holders([content], 20, random.Random(1), named=True)
    facts = b"size=10 b3=" + b"00" * 32
    assert sorted(lines) == [
        b"PEER p1 127.0.0.1:10001 v=2 " + facts + b" name=a%20b\n",
        b"PEER p2 127.0.0.1:10002 name=a%20b\n",
    ]


def test_fakes_can_be_read_and_stay_at_home() -> None:
    fakes = Fakes(random.Random(1))
    assert all(parse_peer_line(line).address.is_loopback for line in fakes.lines(None))
    lines = fakes.lines("192.0.2.7")
    assert len(set(lines)) == Fakes.COUNT == 250
    assert {parse_peer_line(line).address.host for line in lines} == {"192.0.2.7"}
