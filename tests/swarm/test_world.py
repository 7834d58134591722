"""The long run, small: what holds of a thousand peers holds of these."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from osp2p.limits import MIB
from tests.swarm.long import figures, main
from tests.swarm.plan import LIES, Plan
from tests.swarm.world import SwarmWorld, run_swarm

ROOT = Path(__file__).resolve().parents[2]


def check(world: SwarmWorld) -> None:
    """Everybody who stays has everything, each chunk once, and nobody honest was blamed."""
    for peer in world.staying:
        assert peer.error is None
        assert peer.finished is not None
        assert peer.store is not None
        assert peer.store.chunks.complete
        assert len(peer.store.writes) == len(set(peer.store.writes))
    assert not world.false_blames


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowd_with_liars_comes_near_to_the_bound(seed: int) -> None:
    world = run_swarm(Plan(seed, 50, 3 * MIB, liars=0.2))
    check(world)
    assert world.took <= 1.5 * world.plan.fluid_bound() + 1
    assert sum(peer.fetched for peer in world.staying) <= 1.15 * len(world.staying) * world.plan.size
    assert any(len(peer.resident.stays) > 1 for peer in world.staying)  # some left, and came back
    named = {world.peers[blame.of].resident.lie for blame in world.blames}
    assert named & {"wrong chunks", "a wrong chunk now and then", "a wrong list"}


def test_where_half_of_all_lie_everything_arrives() -> None:
    world = run_swarm(Plan(5, 40, 2 * MIB, liars=0.5, leaving=0.0))
    check(world)
    assert {peer.resident.lie for peer in world.peers} == {None, *LIES}
    assert world.took <= 4 * world.plan.fluid_bound() + 10


def test_without_liars_nobody_is_left_but_who_goes() -> None:
    world = run_swarm(Plan(7, 30, 3 * MIB, liars=0.0, leaving=0.0))
    check(world)
    assert not world.blames
    assert world.took <= 1.25 * world.plan.fluid_bound() + 0.5


def run_long(seed: int, hash_seed: int, log: Path) -> bytes:
    """Run the long run's program in a process of its own. Returns: the log of its swarm."""
    command = [sys.executable, "-m", "tests.swarm.long", "20", "--size", "1", "--seed", str(seed), "--log", str(log)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "have everything" in done.stdout
    return log.read_bytes()


def test_the_same_seed_gives_the_same_log_to_the_byte(tmp_path: Path) -> None:
    """In processes that keep things at other places, and go through sets in another order."""
    one = run_long(11, 1, tmp_path / "one")
    assert one.count(b"\n") > 100
    assert b"has everything" in one
    assert run_long(11, 2, tmp_path / "two") == one
    assert run_long(12, 1, tmp_path / "three") != one


def test_figures_of_a_swarm_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["8", "--size", "1", "--liars", "0", "--leaving", "0"]) == 0
    said = capsys.readouterr().out
    assert "8 peers, 2 of them seeds, 0 liars, 6 stay; seed 1" in said
    assert "6 of 6 who stay have everything" in said


def test_a_false_blame_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be seen if an honest peer's chunks did not pass their proof."""
    plan = Plan(1, 8, MIB, liars=0.0, leaving=0.0)
    monkeypatch.setattr("osp2p.peer.intake.chunk_hash", lambda data: bytes(32))
    world = run_swarm(plan)
    assert world.false_blames
    assert any(peer.finished is None for peer in world.staying)
    assert f"blamed: {len(world.false_blames)}" in "\n".join(figures(world))
