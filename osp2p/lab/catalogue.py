"""Where the scenarios' tables are, and how one is read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from osp2p.lab.table import Scenario

#: Where the tables are: beside the package, in the checkout.
SCENARIOS = Path(__file__).parent.parent.parent / "scenarios"


class NoScenario(Exception):
    """There is no table of that name. Its text says which there are."""


def list_scenarios() -> list[str]:
    """The names of all tables there are."""
    return sorted(path.stem for path in SCENARIOS.glob("[a-z]*.py"))


def load_scenario(name: str) -> Scenario:
    """Read the table of that name.

    Raises:
        NoScenario: there is none.
    """
    if name not in list_scenarios():
        where = f"{SCENARIOS} has {', '.join(list_scenarios())}" if SCENARIOS.is_dir() else f"there is no {SCENARIOS}"
        raise NoScenario(f"there is no scenario {name}; {where}")
    spec = importlib.util.spec_from_file_location(f"scenarios.{name}", SCENARIOS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scenario = module.SCENARIO
    assert isinstance(scenario, Scenario)
    return scenario
