"""The command line of the lab, and the tables that it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from osp2p.lab import main
from osp2p.lab.command import SCENARIOS, list_scenarios, load_scenario
from osp2p.lab.table import Attack, Get


def test_every_table_can_be_read() -> None:
    assert set(list_scenarios()) >= {"good", "slow", "bad", "popular", "mixed"}
    for name in list_scenarios():
        scenario = load_scenario(name)
        assert any(isinstance(row.does, Get) and row.expect for row in scenario.rows), f"{name} expects nothing"


def test_bad_has_all_five_families() -> None:
    modes = {row.does.mode for row in load_scenario("bad").rows if isinstance(row.does, Attack)}
    assert modes >= {"endless", "silence", "truncated", "wrong", "garbage"}


def test_each_table_but_the_main_one_has_its_script() -> None:
    for name in set(list_scenarios()) - {"good"}:
        script = SCENARIOS / f"run-{name}"
        assert script.stat().st_mode & 0o111
        assert f"osp2p lab {name} " in script.read_text()


@pytest.mark.parametrize("args", [[], ["nonsense"], ["good", "--nonsense"], ["../good"], ["good", "--seed", "x"]])
def test_a_wrong_command_line_ends_with_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert "osp2p lab" in capsys.readouterr().err


def test_help_names_the_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "popular" in capsys.readouterr().out


def test_a_directory_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good", "--keep", str(tmp_path)]) == 8
    assert str(tmp_path) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
