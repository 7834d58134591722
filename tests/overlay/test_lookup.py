from __future__ import annotations

import random
from dataclasses import replace

import pytest

from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import distance, fits, id_for
from osp2p.overlay.lookup import ALPHA, Candidate, Lookup, State
from osp2p.overlay.table import K
from osp2p.wire.address import Address

TARGET = bytes(20)
OWN = bytes([0xFF]) * 20


def node(number: int, host: str | None = None) -> Contact:
    """A node at a distance: the greater the number, the farther."""
    return Contact(number.to_bytes(20, "big"), Address(host or f"10.0.{number // 200 % 250}.{number % 200 + 1}", 99))


def lookup(*numbers: int, **limits: float) -> Lookup:
    found = Lookup(TARGET, OWN, replace(DEFAULT, **limits), 0.0, may_be=lambda _: True)  # type: ignore[arg-type]
    found.add(node(number) for number in numbers)
    return found


def numbers(candidates: list[Candidate]) -> list[int]:
    return [candidate.away for candidate in candidates]


def test_the_nearest_are_asked_three_at_a_time() -> None:
    walk = lookup(*range(20, 0, -1))
    asked = walk.next_queries(0.0)
    assert numbers(asked) == [1, 2, 3]
    assert walk.next_queries(0.0) == []
    walk.note_answer(asked[1], [])
    assert numbers(walk.next_queries(0.0)) == [4]
    assert not walk.is_done(0.0)


def test_a_whole_network() -> None:
    """Every node knows a few at random, and those that are nearest to itself: the nearest to the target are found."""
    rng = random.Random(5)
    ids = rng.sample(range(1, 1 << 40), 300)
    known = {one: sorted(ids, key=lambda other: one ^ other)[1:9] + rng.sample(ids, 20) for one in ids}
    walk = lookup(*rng.sample(ids, 8))
    while not walk.is_done(0.0):
        for candidate in walk.next_queries(0.0):
            near = sorted(known[candidate.away], key=lambda other: other)[:8]
            walk.note_answer(candidate, [Contact(i.to_bytes(20, "big"), node(i).address) for i in near])
    assert numbers(walk.nearest()) == sorted(ids)[:K]
    assert walk.queries < 60
    assert [c.depth for c in walk.nearest()]


def test_a_slow_node_is_counted_out_and_taken_when_it_answers() -> None:
    walk = lookup(1, 2, 3, 4)
    first, second, third = walk.next_queries(0.0)
    walk.note_slow(first, 1.0)
    assert numbers(walk.next_queries(0.2)) == [4]
    for candidate in (second, third):
        walk.note_answer(candidate, [])
    (fourth,) = [c for c in walk._candidates if c.away == 4]
    walk.note_answer(fourth, [])
    assert not walk.is_done(0.9)
    assert walk.is_done(1.0)
    walk.note_answer(first, [node(5)])
    assert numbers(walk.nearest()) == [1, 2, 3, 4]
    assert not walk.is_done(1.0)


def test_a_patient_lookup_waits_for_silent_nodes_until_they_have_failed() -> None:
    walk = lookup(1, 2)
    first, second = walk.next_queries(0.0)
    walk.note_answer(second, [])
    walk.note_slow(first, 0.5)
    assert walk.is_done(1.0)
    assert not walk.is_done(1.0, patient=True)
    walk.note_failure(first)
    assert walk.is_done(1.0, patient=True)


def test_nobody_has_answered_so_far() -> None:
    walk = lookup(1)
    (only,) = walk.next_queries(0.0)
    walk.note_slow(only, 0.5)
    assert not walk.is_done(3.0)
    walk.note_failure(only)
    assert walk.is_done(3.0)
    assert walk.nearest() == []
    assert lookup().is_done(0.0)


def test_slow_nodes_that_are_farther_than_enough_others_are_not_waited_for() -> None:
    walk = lookup(*range(1, 12))
    asked = []
    while new := walk.next_queries(0.0):
        asked += new
        for candidate in new:
            if candidate.away == 1:
                walk.note_slow(candidate, 9.0)
            else:
                walk.note_answer(candidate, [])
    assert not walk.is_done(0.0)
    near = next(c for c in asked if c.away == 1)
    walk.note_failure(near)
    assert walk.is_done(0.0)
    assert numbers(walk.nearest()) == list(range(2, 10))


def test_it_ends_in_time_and_after_so_many_queries() -> None:
    walk = lookup(1, 2, 3, lookup_timeout=5)
    walk.next_queries(0.0)
    assert not walk.is_done(4.9)
    assert walk.is_done(5.0)
    assert walk.next_queries(5.0) == []
    short = lookup(*range(1, 9), max_lookup_queries=4)
    while asked := short.next_queries(0.0):
        for candidate in asked:
            short.note_answer(candidate, [])
    assert short.queries == 4
    assert short.is_done(0.0)


def test_it_can_be_told_to_end() -> None:
    walk = lookup(1, 2)
    walk.stopped = True
    assert walk.is_done(0.0)
    assert walk.next_queries(0.0) == []


def test_who_names_nobody_that_answers_is_not_believed() -> None:
    walk = lookup(50, 60, 70, max_namer_failures=3)
    liar, honest, third = walk.next_queries(0.0)
    walk.note_answer(liar, [node(number) for number in range(1, 16)])
    walk.note_answer(honest, [node(40)])
    walk.note_answer(third, [])
    for _ in range(3):
        for candidate in walk.next_queries(0.0):
            if candidate.namer is liar:
                walk.note_failure(candidate)
            else:
                walk.note_answer(candidate, [])
    asked = walk.next_queries(0.0)
    assert all(candidate.namer is not liar for candidate in asked)
    assert walk.queries <= 3 + 3 * ALPHA


def test_witnesses_are_asked_at_once() -> None:
    walk = lookup(*range(1, 20))
    walk.call_witnesses([node(500), node(600), node(3)])
    assert sorted(numbers(walk.next_queries(0.0))) == [1, 2, 3, 4, 500, 600]
    assert walk.next_queries(0.0) == []


def test_a_witness_is_waited_for_until_it_is_slow() -> None:
    walk = lookup(*range(1, 9))
    walk.call_witnesses([node(500)])
    witness = None
    while asked := walk.next_queries(0.0):
        for candidate in asked:
            if candidate.away == 500:
                witness = candidate
            else:
                walk.note_answer(candidate, [])
    assert witness is not None
    assert not walk.is_done(0.0)
    walk.note_slow(witness, 9.0)
    assert walk.is_done(0.0)


@pytest.mark.parametrize("enforce", [True, False])
def test_ids_must_fit_where_it_is_demanded(enforce: bool) -> None:
    walk = Lookup(TARGET, OWN, DEFAULT, 0.0, may_be=lambda one: not enforce or fits(one.id, one.address.host))
    good = Contact(id_for("20.1.2.3", random.Random(1)), Address("20.1.2.3", 5))
    bad = Contact(bytes([good.id[0] ^ 1]) + good.id[1:], Address("20.1.3.3", 5))
    walk.add([good, bad])
    assert {c.contact for c in walk.next_queries(0.0)} == ({good} if enforce else {good, bad})


def test_one_public_network_counts_only_so_often() -> None:
    walk = lookup(max_lookup_same_network=2)
    walk.add(node(number, f"20.1.1.{number}") for number in range(1, 9))
    walk.add([node(9, "20.1.2.1")])
    assert numbers(walk.next_queries(0.0)) == [1, 2, 9]


def test_what_is_kept_is_bounded() -> None:
    walk = lookup(*range(1000, 1100), max_lookup_candidates=20)
    asked = walk.next_queries(0.0)
    for step in range(50):
        walk.add(node(number) for number in range(900 - 10 * step, 910 - 10 * step))
    assert len(walk._candidates) <= 20 + len(asked)
    walk.note_answer(asked[0], [node(number) for number in range(1, 400)])
    assert len(walk._known) < 1000
    assert distance(walk._candidates[0].contact.id, TARGET) == 1
    assert asked[0].state is State.ANSWERED


def test_our_own_id_is_never_asked() -> None:
    walk = lookup()
    walk.add([Contact(OWN, Address("10.0.0.1", 5))])
    assert walk.next_queries(0.0) == []
