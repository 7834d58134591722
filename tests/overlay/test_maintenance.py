"""Joining, and looking after neighbours, in worlds of a few nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact
from osp2p.overlay.simulation import HonestNode, World
from osp2p.wire.address import Address


def knows(node: HonestNode, other: HonestNode) -> bool:
    return node.engine.families[False].table.get(other.own) is not None


@contextmanager
def apart(world: World, some: Collection[HonestNode]) -> Iterator[None]:
    """Let nothing get through between some nodes and all others."""
    carry, here = world._carry, {node.address for node in some}

    def carry_within(data: bytes, source: Address, target: Address) -> None:
        if (source in here) == (target in here):
            carry(data, source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "_carry", carry_within)
        yield


def test_two_nodes_with_public_addresses_get_ids_that_fit() -> None:
    world = World(1)
    first = world.add_node([])
    second = world.add_node([first.address])
    world.run(20.0)
    assert knows(first, second)
    assert knows(second, first)
    assert first.maintenance.settled
    assert second.maintenance.settled


def test_any_node_will_do_even_one_that_has_not_joined() -> None:
    world = World(2)
    nodes = [world.add_node([])]
    for _ in range(8):
        nodes.append(world.add_node([nodes[-1].address]))
    world.run(60.0)
    assert all(knows(one, other) for one in nodes for other in nodes if one is not other)


def test_a_place_that_answers_later_is_asked_again_and_again() -> None:
    world = World(3)
    place = world.new_address()
    early = world.add_node([place])
    world.run(100.0)
    assert not early.maintenance.connected
    late = world.add_node([], place)
    world.run(100.0 + 2 * DEFAULT.join_most)
    assert knows(early, late)


def test_networks_that_were_in_parts_become_one() -> None:
    world = World(4)
    place = world.new_address()
    left = [world.add_node([])]
    left += [world.add_node([left[0].address, place]) for _ in range(3)]
    right: list[HonestNode] = []
    world.run(60.0)
    right.append(world.add_node([], place))
    right += [world.add_node([place]) for _ in range(3)]
    world.run(world.now + 4 * DEFAULT.join_most)
    assert all(knows(one, other) for one in left for other in right)


def test_who_is_gone_is_forgotten_and_who_is_quiet_is_asked() -> None:
    world = World(5)
    nodes = [world.add_node([])]
    nodes += [world.add_node([nodes[0].address]) for _ in range(5)]
    world.run(60.0)
    gone = nodes.pop()
    world.remove(gone.address)
    world.run(world.now + 2 * DEFAULT.neighbour_quiet)
    assert not any(knows(node, gone) for node in nodes)
    for node in nodes:
        for neighbour in node.engine.families[False].table:
            assert world.now - neighbour.heard < 2 * DEFAULT.neighbour_quiet


def test_a_node_whose_neighbours_all_go_is_alone_and_joins_again() -> None:
    world = World(6)
    first = world.add_node([])
    second = world.add_node([first.address])
    world.run(20.0)
    world.remove(first.address)
    world.run(world.now + 2 * DEFAULT.neighbour_quiet)
    assert not second.maintenance.connected
    back = world.add_node([], first.address)
    world.run(world.now + 2 * DEFAULT.join_most)
    assert knows(second, back)


def test_neighbours_of_an_earlier_run_are_enough() -> None:
    world = World(7)
    first = world.add_node([])
    second = world.add_node([first.address])
    world.run(20.0)
    saved = second.maintenance.contacts_to_save()
    assert [contact.address for contact in saved] == [first.address]
    third = world.add_node([])
    third.maintenance.start([], saved, world.now)
    world.flush(third.address)
    world.run(world.now + 20)
    assert knows(third, first)


def test_a_node_whose_own_network_was_down_finds_the_others_again() -> None:
    """All neighbours fall silent then, and nobody has to know an address to join through."""
    world = World(12)
    nodes = [world.add_node([])]
    nodes += [world.add_node([nodes[0].address]) for _ in range(10)]
    world.run(2 * DEFAULT.neighbour_quiet)
    first = nodes[0]
    known = set(first.maintenance.contacts_to_save())
    assert len(known) == 10
    with apart(world, [first]):
        while first.maintenance.connected:
            world.run(world.now + DEFAULT.neighbour_quiet)
            assert set(first.maintenance.contacts_to_save()) == known
            assert world.now < 10 * DEFAULT.neighbour_quiet
        assert not any(knows(node, first) for node in nodes[1:])
    world.run(world.now + 2 * DEFAULT.join_most)
    assert first.maintenance.connected
    assert all(knows(first, node) and knows(node, first) for node in nodes[1:])


def test_a_network_that_fell_into_parts_becomes_one_again() -> None:
    world = World(13)
    nodes = [world.add_node([])]
    nodes += [world.add_node([nodes[0].address]) for _ in range(9)]
    world.run(2 * DEFAULT.neighbour_quiet)
    left, right = nodes[:5], nodes[5:]
    with apart(world, left):
        world.run(world.now + 12 * DEFAULT.neighbour_quiet)
        assert not any(knows(one, other) for one in left for other in right)
    world.run(world.now + 2 * DEFAULT.neighbour_quiet)
    assert all(knows(one, other) for one in nodes for other in nodes if one is not other)


def test_who_does_not_answer_in_a_whole_run_is_not_remembered_for_the_next() -> None:
    world = World(14)
    first = world.add_node([])
    second = world.add_node([first.address])
    world.run(20.0)
    gone = Contact(bytes(20), world.new_address())
    third = world.add_node([])
    third.maintenance.start([], [gone], world.now)
    world.run(world.now + 60)
    assert third.maintenance.contacts_to_save() == [gone]  # it may be our own network that is down
    third.maintenance.add_joins([first.address], world.now)
    world.flush(third.address)
    world.run(world.now + 60)
    assert {contact.address for contact in third.maintenance.contacts_to_save()} == {first.address, second.address}


def test_another_address_gives_another_id() -> None:
    world = World(8)
    nodes = [world.add_node([])]
    nodes += [world.add_node([nodes[0].address]) for _ in range(8)]
    world.run(30.0)
    node, family = nodes[3], nodes[3].engine.families[False]
    before = family.own
    for number in range(20):
        if family.note_vote(f"voter{number}", "99.98.97.96", world.now):
            break
    assert family.own != before
    assert len(family.table) > 0
    assert family.host == "99.98.97.96"
    assert node.engine.families[False].shown_to(nodes[0].address, Address("127.0.0.1", 5)) == Address("99.98.97.96", 5)
