"""Many nodes in virtual time. ``python benchmarks/overlay_world.py`` is the same with 10,000."""

from __future__ import annotations

import math

from osp2p.overlay.adversary import League, id_near
from osp2p.overlay.identifier import fits, random_id, shared_bits
from osp2p.overlay.trials import Trial


def test_five_hundred_nodes_while_a_third_is_replaced() -> None:
    trial = Trial(4, 500)
    trial.begin_settled()
    figures = trial.look_up(300, 0.3, seconds=15)
    assert figures["success"] >= 0.999
    assert figures["hops_most"] <= math.log2(500)
    assert figures["median"] < 0.6
    assert figures["p99"] < 3


def found(trial: Trial, key: bytes, number: int = 12) -> float:
    """Announce a key and look for it. Returns: the part of those who look that find it."""
    world = trial.world
    owner, *askers = world.rng.sample(trial.nodes, number + 1)
    results = trial.announce(owner, key, 4321)
    world.run(world.now + 35, lambda: bool(results))
    searches = [trial.search(asker, key) for asker in askers]
    world.run(world.now + 35, lambda: all(search.ended is not None for search in searches))
    return sum(search.first is not None for search in searches) / number


def test_invented_nodes_cost_time_alone() -> None:
    trial = Trial(5, 40)
    trial.begin_settled()
    League(trial.world, [trial.nodes[0].address]).poison(10)
    trial.world.run(trial.world.now + 6)
    assert found(trial, random_id(trial.world.rng)) == 1


def test_sybils_with_public_addresses_do_not_get_near_a_key() -> None:
    trial = Trial(6, 60)
    trial.begin_settled()
    world = trial.world
    key = random_id(world.rng)
    league = League(world, [trial.nodes[0].address])
    league.besiege(key, 15)
    world.run(world.now + 10)
    assert all(fits(member.own, member.address.host) for member in league.members)
    assert found(trial, key) == 1


def test_sybils_of_a_private_network_hide_a_key() -> None:
    """What the tie of ids to addresses gives, where there is none: the threat model says so."""
    trial = Trial(7, 60, private=True)
    trial.begin_settled()
    world = trial.world
    key = random_id(world.rng)
    League(world, [trial.nodes[0].address]).besiege(key, 15)
    world.run(world.now + 10)
    assert found(trial, key) < 0.5


def test_a_league_that_names_only_itself() -> None:
    trial = Trial(8, 60)
    trial.begin_settled()
    world = trial.world
    league = League(world, [trial.nodes[0].address])
    league.eclipse(15)
    world.run(world.now + 10)
    key = random_id(world.rng)
    assert found(trial, key) >= 0.9
    caught = world.add_node([league.members[0].address])
    free = world.add_node([league.members[0].address, trial.nodes[5].address])
    world.run(world.now + 15)
    searches = [trial.search(node, key) for node in (caught, free)]
    world.run(world.now + 35)
    assert [search.first is not None for search in searches] == [False, True]


def test_what_an_address_leaves_free_is_the_targets() -> None:
    trial = Trial(9, 2)
    rng = trial.world.rng
    key = random_id(rng)
    near = id_near(key, "20.1.2.3", rng)
    assert fits(near, "20.1.2.3")
    assert near[3:-1] == key[3:-1]
    assert shared_bits(id_near(key, "10.0.0.1", rng), key) >= 64
