from __future__ import annotations

from osp2p.overlay.compact import Contact
from osp2p.overlay.searches import Outcome
from osp2p.overlay.simulation import HonestNode, World


def grow(world: World, number: int, pause: float = 0.05) -> list[HonestNode]:
    """Let nodes join, each through any that is there, and find their places."""
    nodes = [world.add_node([])]
    while len(nodes) < number:
        world.run(world.now + pause)
        nodes.append(world.add_node([world.rng.choice(nodes).address]))
    world.run(world.now + 15)
    return nodes


def find(world: World, asker: HonestNode, target: bytes) -> Outcome:
    """Look a target up, to the end."""
    outcomes: list[Outcome] = []
    asker.searches.find_nodes(target, world.now, lambda outcome, _now: outcomes.append(outcome))
    world.flush(asker.address)
    world.run(world.now + 30, lambda: bool(outcomes))
    return outcomes[0]


def test_nodes_that_start_together_find_each_other() -> None:
    world = World(7)
    nodes = grow(world, 60)
    assert all(node.maintenance.settled for node in nodes)
    for _ in range(60):
        asker, wanted = world.rng.sample(nodes, 2)
        assert find(world, asker, wanted.own).nearest[0].contact == Contact(wanted.own, wanted.address)


def test_every_datagram_is_accounted_for() -> None:
    world = World(3, loss=0.1)
    nodes = grow(world, 20)
    for node in nodes[:5]:
        world.remove(node.address)
    world.run(world.now + 60)
    counts = world.counts
    on_their_way = sum(1 for event in world._events if event[3] is not None)
    assert counts["lost"]
    assert counts["to nobody"]
    assert counts["sent"] == counts["lost"] + counts["delivered"] + counts["to nobody"] + on_their_way
    assert counts["delivered"] >= sum(node.engine.counts["packets in"] for node in nodes[5:])


def test_the_same_seed_gives_the_same_log() -> None:
    logs = set()
    for _ in range(2):
        world = World(11, loss=0.02)
        grow(world, 15)
        logs.add(world.log)
    assert len(logs) == 1
    other = World(12, loss=0.02)
    grow(other, 15)
    assert other.log not in logs
