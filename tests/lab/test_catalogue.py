"""The tables that the lab finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from osp2p.lab.catalogue import SCENARIOS, NoScenario, list_scenarios, load_scenario
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


@pytest.mark.parametrize("name", ["nonsense", "../good", "", "README"])
def test_what_is_no_scenario_is_said_with_those_that_are(name: str) -> None:
    with pytest.raises(NoScenario, match="bad, good, mixed, popular, slow"):
        load_scenario(name)


def test_a_package_without_tables_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.lab.catalogue.SCENARIOS", tmp_path / "none")
    assert list_scenarios() == []
    with pytest.raises(NoScenario, match=r"there is no .*none"):
        load_scenario("good")
