"""``osp2p lab``: a scenario as lines, as records, and as an exit code."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from pathlib import Path

import pytest

from osp2p.cli.console import Console
from osp2p.cli.exits import NOT_PASSED
from osp2p.cli.parsers import lab_parser
from osp2p.cli.scenarios import run_scenario
from osp2p.cli.signals import Ending
from tests.cli.processes import World

TABLE = """
from osp2p.lab.table import Arrives, File, Get, Knows, Row, Scenario, Share, Track

FILES = (File("a b", 1000), File(b"raw \\xff", 10))
SCENARIO = Scenario(
    title="two files",
    rows=(
        Row(who="tracker", when=1, does=Track(), expect=(Knows(peers={peers}),)),
        Row(who="anna", when=2, does=Share(files=FILES)),
        Row(who="dora", when=3, does=Get(files=FILES), expect=(Arrives(),)),
    ),
)
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, peers in (("true", 1), ("false", 5)):
        (tmp_path / f"{name}.py").write_text(TABLE.format(peers=peers))
    monkeypatch.setattr("osp2p.lab.catalogue.SCENARIOS", tmp_path)
    return tmp_path


async def run(*words: str) -> tuple[int, str]:
    """Run a scenario in this process. Returns: the exit code, and what is said of it."""
    arguments: Namespace = lab_parser().read(words)
    out = io.StringIO()
    console = Console("osp2p lab", out, io.StringIO())
    console.begin(json=arguments.json)
    ending = Ending.__new__(Ending)  # without taking the signals of the test's process
    ending.last_words = None
    return await run_scenario(arguments, console, ending), out.getvalue()


@pytest.mark.usefixtures("tables")
async def test_what_came_true_and_what_did_not_is_told_and_has_an_exit_code_of_its_own() -> None:
    code, said = await run("false")
    assert code == NOT_PASSED
    assert said.startswith("false: two files\n\n  tracker: a tracker at 127.0.0.1:")
    assert r"raw \xff" in said
    assert "  yes  dora every file arrives, the same to the byte, verified: all 2\n" in said
    assert "  NO   tracker knows at least 5 peers: 1\n" in said
    assert said.endswith("\nfalse: 1 of 4 did not come true\n")


@pytest.mark.usefixtures("tables")
async def test_a_scenario_as_records() -> None:
    code, said = await run("true", "--json")
    records = [json.loads(line) for line in said.splitlines()]
    assert records[0] == {"event": "scenario", "scenario": "true", "title": "two files"}
    files = {record["wire"]: record for record in records if record["event"] == "file"}
    assert set(files) == {"a%20b", "raw%20%FF"}
    assert all(file["verified"] is True and file["outcome"] == "done" for file in files.values())
    assert [record["ok"] for record in records if record["event"] == "verdict"] == [True] * 4
    assert records[-1] == {"event": "end", "expected": 4, "failed": 0, "exit": code}
    assert code == 0


async def test_wrong_command_lines(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "there").mkdir()
    for code, words in (
        (2, []),
        (2, ["nonsense"]),
        (2, ["good", "--seed", "x"]),
        (2, ["../good"]),
        (8, ["good", "--keep", "there"]),
    ):
        result = await world.run("lab", *words)
        assert (result.code, result.out) == (code, b""), words
        assert result.err.count(b"\n") == 1
    assert not list((tmp_path / "there").iterdir())


def test_the_help_lists_the_scenarios(tables: Path) -> None:
    assert "scenarios: false, true\n" in lab_parser().format_help()
