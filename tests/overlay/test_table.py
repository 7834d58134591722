from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import distance, id_with_prefix, shared_bits
from osp2p.overlay.table import K, RoutingTable
from osp2p.wire.address import Address

OWN = bytes(20)
QUIET = DEFAULT.neighbour_quiet + 1


def contact(number: int, bits: int = 0, host: str | None = None) -> Contact:
    """A node that shares some leading bits with us."""
    return Contact(
        id_with_prefix(OWN, bits, random.Random(number)),
        Address(host or f"10.0.{number // 250}.{number % 250 + 1}", 1000),
    )


def full_table() -> tuple[RoutingTable, list[Contact]]:
    """A table whose far half is full."""
    table = RoutingTable(OWN, DEFAULT)
    far = [contact(number) for number in range(K)]
    for one in (*far, contact(100, 1), contact(101, 2)):
        table.note_answer(one, 0.0)
    return table, far


IDS = st.binary(min_size=20, max_size=20)


@settings(max_examples=60)
@given(st.lists(IDS, unique=True, max_size=120), IDS, st.integers(1, 20))
def test_the_nearest_are_the_nearest(ids: list[bytes], target: bytes, count: int) -> None:
    table = RoutingTable(OWN, DEFAULT)
    for number, node_id in enumerate(ids):
        table.note_answer(Contact(node_id, Address(f"10.1.0.{number + 1}", 5)), 0.0)
    known = sorted((n.contact.id for n in table), key=lambda found: distance(found, target))
    assert [found.id for found in table.nearest(target, count)] == known[:count]


@settings(max_examples=60)
@given(st.lists(st.tuples(IDS, st.sampled_from(["answer", "silence", "silence"])), max_size=150))
def test_the_table_is_always_in_order(steps: list[tuple[bytes, str]]) -> None:
    table = RoutingTable(OWN, DEFAULT)
    for number, (node_id, what) in enumerate(steps):
        one = Contact(node_id, Address(f"10.2.{number % 3}.{node_id[0]}", 5))
        if what == "answer":
            table.note_answer(one, float(number))
        else:
            for neighbour in list(table)[:1]:
                table.note_silence(neighbour.contact)
    for index, bucket in enumerate(table.buckets):
        assert len(bucket.neighbours) <= K
        assert len(bucket.spares) <= K
        last = index == len(table.buckets) - 1
        for neighbour in (*bucket.neighbours, *bucket.spares):
            bits = shared_bits(OWN, neighbour.contact.id)
            assert bits == index or (last and bits >= index)
    assert len(table) == sum(len(bucket.neighbours) for bucket in table.buckets)
    assert {n.contact.id for n in table} == set(table._known)


def test_the_bucket_of_our_own_id_is_split() -> None:
    table, far = full_table()
    assert len(table.buckets) == 2
    assert {n.contact for n in table.buckets[0].neighbours} == set(far)
    newcomer = contact(200)
    assert table.note_answer(newcomer, 1.0) is None
    assert table.get(newcomer.id) is None
    assert [spare.contact for spare in table.spares()] == [newcomer]


def test_who_queries_us_is_welcome_where_it_would_be_a_neighbour() -> None:
    table, far = full_table()
    assert not table.has_room(far[0])
    assert not table.has_room(Contact(OWN, Address("10.9.9.9", 1)))
    assert table.has_room(contact(201))  # as a spare
    table.note_answer(contact(300), 1.0)
    assert not table.has_room(contact(201))
    assert table.has_room(contact(202, 5))
    table.note_silence(far[0])
    assert table.has_room(contact(201))


def test_a_silent_neighbour_gives_its_place_to_a_spare() -> None:
    table, far = full_table()
    spare = contact(200)
    table.note_answer(spare, 1.0)
    table.note_silence(far[3])
    assert far[3] not in table.nearest(far[3].id, 20)
    assert table.get(far[3].id) is not None
    table.note_silence(far[3])
    assert table.get(far[3].id) is None
    assert table.get(spare.id) is not None
    table.note_silence(contact(999))  # nobody we know


def test_an_answer_makes_up_for_silence() -> None:
    table, far = full_table()
    table.note_silence(far[0])
    table.note_answer(far[0], 2.0)
    table.note_silence(far[0])
    assert table.get(far[0].id) is not None


def test_a_failing_neighbour_is_replaced_at_once() -> None:
    table, far = full_table()
    table.note_silence(far[2])
    newcomer = contact(200)
    table.note_answer(newcomer, 2.0)
    assert table.get(newcomer.id) is not None
    assert table.get(far[2].id) is None


def test_questionable_neighbours_are_pinged_before_they_are_replaced() -> None:
    table, far = full_table()
    table.note_answer(far[0], 1.0)
    assert table.questionable(QUIET - 2) == []
    questioned = table.note_answer(contact(200), QUIET + 0.5)
    assert questioned is not None
    assert questioned.contact == far[1]
    assert far[1] in [neighbour.contact for neighbour in table.questionable(QUIET + 0.5)]
    assert table.get(contact(200).id) is None


def test_an_id_at_another_address_takes_nobodys_place() -> None:
    table, far = full_table()
    impostor = Contact(far[0].id, Address("10.5.5.5", 7))
    table.note_answer(impostor, 1.0)
    known = table.get(far[0].id)
    assert known is not None
    assert known.contact == far[0]
    table.note_silence(impostor)
    assert known.failures == 0


def test_one_public_network_fills_no_bucket() -> None:
    table = RoutingTable(OWN, replace(DEFAULT, max_bucket_same_network=2))
    for number in range(6):
        table.note_answer(contact(number, host=f"20.1.1.{number + 1}"), 0.0)
    assert len(table) == 2
    assert not table.has_room(contact(50, host="20.1.1.99"))
    assert table.has_room(contact(51, host="20.1.2.1"))


def test_parts_of_which_nothing_was_heard_are_refreshed() -> None:
    table, _ = full_table()
    rng = random.Random(1)
    assert table.stale_targets(1.0, rng) == []
    targets = table.stale_targets(QUIET, rng)
    assert [min(shared_bits(OWN, target), 1) for target in targets] == [0, 1]
    assert targets[-1] == OWN
    for target in targets:
        table.touch(target, QUIET)
    assert table.stale_targets(QUIET + 1, rng) == []
    assert [shared_bits(OWN, target) for target in table.thin_targets(rng)] == []


def test_another_id_keeps_the_neighbours() -> None:
    table, _ = full_table()
    other = bytes([0xFF]) * 20
    moved = table.with_own(other)
    assert moved.own == other
    assert {n.contact for n in moved} | {n.contact for n in moved.spares()} == {n.contact for n in table}


def test_witnesses_are_far_away() -> None:
    table, far = full_table()
    assert set(table.far(random.Random(1), 3)) <= set(far)
    assert len(table.far(random.Random(1), 3)) == 3
    small = RoutingTable(OWN, DEFAULT)
    assert small.far(random.Random(1)) == []
    small.note_answer(contact(1), 0.0)
    assert small.far(random.Random(1)) == [contact(1)]
