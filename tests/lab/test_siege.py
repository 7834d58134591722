"""The siege: its files, who shares them, and what counts as a fault. ``osp2p siege`` is the run itself."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from osp2p.lab.siege import MOST_MEMORY, Plan, SiegeRun, make_files, run_siege

PLAN = Plan(alone=1, besieged=1)


@pytest.fixture
def run(tmp_path: Path) -> SiegeRun:
    return SiegeRun(PLAN, 7, tmp_path, lambda line: None)


def test_files_are_a_function_of_the_seed() -> None:
    assert make_files(200, 1) == make_files(200, 1) != make_files(200, 2)
    files = make_files(200, 1)
    assert len({file.raw for file in files}) == 200
    assert sum(file.size >= 4_000_000 for file in files) == 10  # large enough to be offered while they are fetched


def test_every_file_is_shared_by_two(run: SiegeRun) -> None:
    held = Counter(file for number in range(PLAN.members) for file in run.own(number))
    assert len(held) == 180  # the others are held by two of 2007
    assert set(held.values()) == {2}


def test_half_the_rate_is_enough_and_less_is_not(run: SiegeRun) -> None:
    run.result.alone.rate, run.result.besieged.rate = 10.0e6, 5.1e6
    run.judge()
    assert run.result.faults == []
    run.result.besieged.rate = 4.9e6
    run.judge()
    assert run.result.faults == ["the rate fell to 49%"]


def test_memory_is_bounded_for_the_besieged(run: SiegeRun) -> None:
    run.result.peaks = {"tracker": 10**6, "member1": MOST_MEMORY["member"] + 1, "(attackers: lured)": 10**12}
    run.judge()
    assert [fault.split()[0] for fault in run.result.faults] == ["member1"]


def test_what_rounds_tell_is_added_up_and_what_failed_is_a_fault(run: SiegeRun) -> None:
    base = {"seconds": 2.0, "files": 3, "bytes": 4_000_000, "fetched": 5_000_000, "blamed": {"lied": 2}}
    run.add_rounds(
        "member1",
        [
            {**base, "number": 1, "wrong": [], "failed": []},
            {**base, "number": 2, "wrong": ["f is not what it should be"], "failed": [["g", "Stalled", "too slow"]]},
        ],
        run.result.alone,
    )
    phase = run.result.alone
    assert (phase.rounds, phase.files, phase.bytes, phase.received) == (2, 6, 8_000_000, 10_000_000)
    assert phase.rate == 2_000_000
    assert phase.blamed == {"lied": 4}
    assert run.result.faults == [
        "member1, round 2: f is not what it should be",
        "member1, round 2: g failed: Stalled: too slow",
    ]


@pytest.mark.skipif("OSP2P_LONG" not in os.environ, reason="starts nine processes; OSP2P_LONG=1 runs it")
async def test_a_small_siege(tmp_path: Path) -> None:
    plan = Plan(alone=1, besieged=6, members=2, files=20, rate=4e6, attack=2)
    siege = await run_siege(plan, 7, tmp_path, lambda line: None)
    assert [fault for fault in siege.faults if "rate" not in fault] == []
    assert siege.attacks.total() > 10
    assert siege.besieged.files > 0
    assert set(siege.held) == {"tracker", "old1", "old2", "member1", "member2"}
