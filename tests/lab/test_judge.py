"""Verdicts: each expectation comes true on what fulfils it and fails on what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osp2p.evil import Attacked
from osp2p.lab.files import content_of
from osp2p.lab.judge import judge
from osp2p.lab.table import (
    Arrives,
    Attack,
    Attacks,
    Expectation,
    File,
    Get,
    Hold,
    InParallel,
    Knows,
    NotHeldUp,
    Row,
    Scenario,
    Serves,
    Share,
    Track,
)
from osp2p.lab.world import Fetched, World

A, B = File("a b", 1000), File("sub/b", 0)
ATTACKED = Attacked("wrong/bit", "127.0.0.1", b"a b", 1000, 0.1, "done")


def record(file: File, **changes: Any) -> dict[str, object]:
    source = {"alias": "anna", "address": "127.0.0.1:1", "fetched": file.size, "error": None}
    whole = {"event": "done", "size": file.size, "verified": file.size, "proof": "md5", "seconds": 1.0}
    return {**whole, "sources": [source], **changes}


def scenario(*expectations: tuple[str, Expectation]) -> Scenario:
    def of(who: str) -> tuple[Expectation, ...]:
        return tuple(one for name, one in expectations if name == who)

    return Scenario(
        title="-",
        rows=(
            Row(who="tracker", when=1, does=Track(), expect=of("tracker")),
            Row(who="anna", when=2, does=Share(files=(B,)), expect=of("anna")),
            Row(who="snails", when=2, does=Hold(files=(A,), rate=100, peers=2), expect=of("snails")),
            Row(who="evil", when=2, does=Attack(files=(A,)), expect=of("evil")),
            Row(who="dora", when=3, does=Get(files=(A, B)), expect=of("dora")),
        ),
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which everything went well."""
    world = World(scenario(), 1, tmp_path, lambda line: None)
    target = tmp_path / "dora"
    (target / "sub").mkdir(parents=True)
    for file in (A, B):
        (target / file.path).write_bytes(content_of(file, 1))
    world.fetched["dora"] = Fetched(0, 2.0, target, {"a%20b": record(A), "sub%2Fb": record(B)})
    world.exit_codes = {"tracker": 0, "anna": 0}
    world.attacked = {"evil": [ATTACKED]}
    world.logged_in = 5
    return world


def verdict(world: World, who: str, expectation: Expectation) -> bool:
    world.scenario = scenario((who, expectation))
    (last,) = [one for one in judge(world) if one.who == who][-1:]
    return last.ok


def test_everything_went_well(world: World) -> None:
    assert verdict(world, "dora", Arrives())
    assert verdict(world, "tracker", Knows(peers=5))
    assert verdict(world, "anna", Serves())
    assert verdict(world, "evil", Attacks(at_least=1))
    assert verdict(world, "dora", InParallel(below=0.3))
    assert verdict(world, "dora", NotHeldUp(file=A, below=0.2))
    assert all(one.ok for one in judge(world))


def test_too_few_is_too_few(world: World) -> None:
    assert not verdict(world, "tracker", Knows(peers=6))
    assert not verdict(world, "evil", Attacks(at_least=2))
    assert not verdict(world, "snails", Serves())
    world.attacked["evil"] = [replace(ATTACKED, name=b"", sent=0)]
    assert not verdict(world, "evil", Attacks())


def test_those_of_one_row_count_together(world: World) -> None:
    source = {"alias": "snails2", "fetched": 10}
    world.fetched["dora"].records["a%20b"] = record(A, sources=[source])
    assert verdict(world, "snails", Serves())
    assert verdict(world, "anna", Serves()) is False, "it gave only an empty file"


def test_too_long_is_too_long(world: World) -> None:
    assert not verdict(world, "dora", InParallel(below=0.2))
    assert not verdict(world, "dora", NotHeldUp(file=A, below=0.1))
    world.fetched["dora"].records["a%20b"] = record(A, seconds=None)
    assert not verdict(world, "dora", NotHeldUp(file=A, below=0.5))


@pytest.mark.parametrize(
    "changed",
    [{"event": "failed"}, {"proof": None}, {"verified": 999}, {"proof": "word of honour"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_record_that_is_not_whole_and_proved_is_no_arrival(world: World, changed: dict[str, Any]) -> None:
    world.fetched["dora"].records["a%20b"] = record(A, **changed)
    assert not verdict(world, "dora", Arrives())


def test_what_is_not_on_disk_to_the_byte_did_not_arrive(world: World) -> None:
    path = world.fetched["dora"].directory / "a b"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert not verdict(world, "dora", Arrives())
    path.unlink()
    assert not verdict(world, "dora", Arrives())


def test_what_nobody_asked_for_may_not_lie_there(world: World) -> None:
    (world.fetched["dora"].directory / "sub" / ".part").touch()
    assert not verdict(world, "dora", Arrives())


def test_an_exit_code_is_part_of_it(world: World) -> None:
    world.fetched["dora"] = replace(world.fetched["dora"], exit_code=7)
    assert not verdict(world, "dora", Arrives())


def test_programs_live_to_the_end_and_leave_well(world: World) -> None:
    assert [one.ok for one in judge(world)] == [True, True]
    world.exit_codes["anna"] = 1
    assert [one.ok for one in judge(world)] == [True, False]
    world.exit_codes["anna"], world.died = 0, ["tracker"]
    assert [one.ok for one in judge(world)] == [False, True]
