"""``osp2p crashes`` and ``osp2p siege``: their words, what they show, and their exit codes."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from osp2p.cli import sieging, trials
from osp2p.cli.arguments import OptionParser, UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.signals import Ending
from osp2p.cli.trial_parsers import crashes_parser, siege_parser
from osp2p.lab.crashes import Crashes
from osp2p.lab.process import ProgramEnded
from osp2p.lab.restarts import Restarts
from osp2p.lab.siege import Phase, Plan, Siege

Trial = Callable[..., Awaitable[int]]


async def run(parser: OptionParser, trial: Trial, *words: str) -> tuple[int, str]:
    """Run a trial in this process. Returns: the exit code, and what is said of it."""
    arguments = parser.read(words)
    out = io.StringIO()
    console = Console("osp2p", out, io.StringIO())
    console.begin(json=arguments.json)
    ending = Ending.__new__(Ending)  # without taking the signals of the test's process
    ending.last_words = None
    return await trial(arguments, console, ending), out.getvalue()


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> Crashes:
    """What the next run of crashes gives."""
    result = Crashes(kills=20, rounds=3, resumed=9, size=1_000_000, sent=3_000_000, proved=500_000)

    async def run_crashes(kills: int, seed: int, directory: Path, tell: Callable[[str], None]) -> Crashes:
        assert directory.is_dir()
        assert (kills, seed) == (20, 7)
        tell("a step")
        return result

    async def run_restarts(times: int, seed: int, directory: Path, tell: Callable[[str], None]) -> Restarts:
        return Restarts(seconds=[0.5, 1.5][:times], answers=1234)

    monkeypatch.setattr(trials, "run_crashes", run_crashes)
    monkeypatch.setattr(trials, "run_restarts", run_restarts)
    return result


async def test_crashes_show_what_was_killed_and_what_it_cost(crashes: Crashes) -> None:
    code, said = await run(crashes_parser(), trials.run_crashes_trial, "20", "--seed", "7")
    assert code == DONE
    assert said.startswith("crashes: 20 kills of fetches, 2 of a tracker\n\n  a step\n")
    assert "so a kill cost 100 kB" in said
    assert "within 1.50 s of its return (allowed: 5 s)" in said
    assert said.endswith("crashes: all held that must\n")


async def test_a_fault_of_crashes_is_shown_and_decides(crashes: Crashes) -> None:
    crashes.faults.append("life 3: wrong bytes")
    code, said = await run(crashes_parser(), trials.run_crashes_trial, "20", "--seed", "7")
    assert code == NOT_PASSED
    assert "  NO   life 3: wrong bytes\ncrashes: 1 fault\n" in said
    code, said = await run(crashes_parser(), trials.run_crashes_trial, "20", "--seed", "7", "--json")
    records = [json.loads(line) for line in said.splitlines()]
    assert [record["event"] for record in records] == ["trial", "step", "end"]
    assert (records[-1]["exit"], records[-1]["faults"]) == (NOT_PASSED, ["life 3: wrong bytes"])


@pytest.mark.parametrize("word", ["0", "-3", "x", "1.5", "10000000"])
async def test_a_number_is_a_number(word: str) -> None:
    with pytest.raises(UsageError):
        await run(crashes_parser(), trials.run_crashes_trial, word)


def siege(*faults: str) -> Siege:
    alone = Phase(3, 300, 10**8, 10**8, Counter(), 30e6, [1.0, 2.0, 3.0], (5.0, 0.0), 20.0, {"tracker": 0.01})
    besieged = Phase(5, 500, 10**8, 2 * 10**8, Counter(lied=7), 21e6, [4.0], (9.0, 3.0), 60.0, {"tracker": 0.2})
    held = {"tracker": ({"descriptors": 9, "tasks": 8}, {"descriptors": 9, "tasks": 7})}
    suspected = {"lines/drip": "it is not done"}
    return Siege(alone, besieged, Counter({"a/b": 3}), 240, 10**6, suspected, {"tracker": 10**8}, held, list(faults))


@pytest.mark.parametrize("faults", [[], ["member1: wrong"]])
async def test_a_siege_shows_both_phases_and_every_process(
    faults: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_siege(plan: Plan, seed: int, directory: Path, tell: Callable[[str], None]) -> Siege:
        assert (plan.besieged, plan.members, plan.files, seed) == (120.0, 8, 200, 7)
        assert directory == tmp_path / "kept"
        return siege(*faults)

    monkeypatch.setattr(sieging, "run_siege", run_siege)
    words = ("2", "--seed", "7", "--keep", str(tmp_path / "kept"))
    code, said = await run(siege_parser(), sieging.run_siege_trial, *words)
    assert code == (NOT_PASSED if faults else DONE)
    assert "the rate under siege is 70% of that alone (at least 50%)" in said
    assert "attackers: 1 of 240 different attacks, 3 in all" in said
    assert "lines/drip (it is not done)" in said
    assert [line.split() for line in said.splitlines() if line.startswith("tracker ")] == [
        ["tracker", "100", "MB", "9", "→", "9", "8", "→", "7", "10", "ms", "200", "ms"]
    ]
    assert said.endswith("  NO   member1: wrong\nsiege: 1 fault\n" if faults else "\nsiege: all held that must\n")


async def test_a_siege_as_records(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_siege(*args: Any) -> Siege:
        return siege()

    monkeypatch.setattr(sieging, "run_siege", run_siege)
    code, said = await run(siege_parser(), sieging.run_siege_trial, "1", "--json")
    end = json.loads(said.splitlines()[-1])
    assert (code, end["exit"], end["kinds"]) == (DONE, DONE, 240)
    assert end["alone"]["latencies"] == {"p50": 2.0, "p99": 3.0, "longest": 3.0}


async def test_a_world_that_breaks_down_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_siege(*args: Any) -> Siege:
        raise ProgramEnded("member1 has ended; its last words:\nhelp")

    monkeypatch.setattr(sieging, "run_siege", run_siege)
    code, said = await run(siege_parser(), sieging.run_siege_trial, "1")
    assert code == NOT_PASSED
    assert "siege: failed: member1 has ended" in said
