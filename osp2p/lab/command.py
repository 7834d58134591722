"""``osp2p lab``: finds a scenario, runs it in a temporary directory, prints what happened and what came true."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from osp2p.lab.judge import Verdict, is_verified, judge, sources_of
from osp2p.lab.table import Get, Row, Scenario
from osp2p.lab.text import lay_out, show, show_size
from osp2p.lab.world import World, WorldFailed, run_world
from osp2p.wire.word import quote

#: Where the tables are: beside the package, in the checkout.
SCENARIOS = Path(__file__).parent.parent.parent / "scenarios"

#: How many files of a fetch are shown one by one.
_SHOWN = 40


def list_scenarios() -> list[str]:
    """The names of all tables there are."""
    return sorted(path.stem for path in SCENARIOS.glob("[a-z]*.py"))


def load_scenario(name: str) -> Scenario:
    """Read the table of that name.

    Raises:
        LookupError: there is none.
    """
    if name not in list_scenarios():
        where = f"{SCENARIOS} has {', '.join(list_scenarios())}" if SCENARIOS.is_dir() else f"there is no {SCENARIOS}"
        raise LookupError(f"there is no scenario {name}; {where}")
    spec = importlib.util.spec_from_file_location(f"scenarios.{name}", SCENARIOS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scenario = module.SCENARIO
    assert isinstance(scenario, Scenario)
    return scenario


def run(args: Sequence[str]) -> int:
    """Read the command line and run a scenario. See `osp2p.lab.main`."""
    parser = argparse.ArgumentParser(
        prog="osp2p lab",
        description="Run a scenario: a world of peers on this machine, good and bad, that ends in a verdict.",
        epilog=f"scenarios: {', '.join(list_scenarios())}. Exit code 0: all that was expected came true; 1: not all.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="the scenario")
    parser.add_argument("--seed", type=int, default=2007, help="makes the files and the attacks; default %(default)s")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="a new directory for all files, kept afterwards")
    try:
        chosen = parser.parse_args(args)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    try:
        scenario = load_scenario(chosen.name)
    except LookupError as error:
        print(f"osp2p lab: {error}", file=sys.stderr)
        return 2
    try:
        return _run_in(chosen.name, scenario, chosen.seed, chosen.keep)
    except OSError as error:
        print(f"osp2p lab: {error}", file=sys.stderr)
        return 8


def _run_in(name: str, scenario: Scenario, seed: int, keep: Path | None) -> int:
    if keep is not None:
        keep.mkdir(parents=True)
        return _run_and_print(name, scenario, seed, keep)
    with tempfile.TemporaryDirectory(prefix="osp2p-lab-") as directory:
        return _run_and_print(name, scenario, seed, Path(directory))


def _run_and_print(name: str, scenario: Scenario, seed: int, directory: Path) -> int:
    print(f"{name}: {scenario.title}\n", flush=True)
    try:
        world = trio.run(_run_until_signal, scenario, seed, directory)
    except WorldFailed as error:
        print(f"\n{name}: failed: {error}")
        return 1
    if world is None:
        print("osp2p lab: interrupted", file=sys.stderr)
        return 130
    for row in scenario.rows:
        if isinstance(row.does, Get):
            _print_fetch(world, row, row.does)
    _print_attacks(world)
    verdicts = judge(world)
    _print_verdicts(verdicts)
    failed = [verdict for verdict in verdicts if not verdict.ok]
    print(f"\n{name}: {f'{len(failed)} of {len(verdicts)} did not come true' if failed else 'all came true'}")
    return 1 if failed else 0


async def _run_until_signal(scenario: Scenario, seed: int, directory: Path) -> World | None:
    """Run a world. Returns: None if SIGINT or SIGTERM ended it; every process is gone then, too."""
    world = None

    async def wait_for_signal(signals: AsyncIterator[int]) -> None:
        await anext(signals)
        nursery.cancel_scope.cancel()

    failed: WorldFailed | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal, signals)
            try:
                world = await run_world(scenario, seed, directory, lambda line: print(f"  {line}", flush=True))
            except WorldFailed as error:  # raised behind the nursery, which would wrap it
                failed = error
            nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return world


def _print_fetch(world: World, row: Row, action: Get) -> None:
    fetched = world.fetched[row.who]
    lines = []
    for file in action.files[:_SHOWN]:
        record = fetched.records.get(quote(file.raw).decode("ascii"), {})
        seconds = record.get("seconds")
        rate = f"{show_size(file.size / max(seconds, 0.001))}/s" if isinstance(seconds, int | float) else "-"
        gave = [source for source in sources_of(record) if source.get("fetched")]
        lines.append((show(file.raw), show_size(file.size), str(len(gave)), rate, _proof(record)))
    print(f"\n{row.who}:")
    for line in lay_out(("file", "size", "sources", "rate", "verified"), lines):
        print(f"  {line}")
    if len(action.files) > _SHOWN:
        print(f"  … and {len(action.files) - _SHOWN} more")
    total = sum(file.size for file in action.files)
    rate = f"{show_size(total / max(fetched.seconds, 0.001))}/s"
    print(f"  {len(action.files)} files, {show_size(total)} in {fetched.seconds:.1f} s, start included: {rate}")


def _proof(record: dict[str, object]) -> str:
    if record.get("event") == "failed":
        return f"failed: {record.get('message')}"
    if not record:
        return "missing"
    return f"yes, {record['proof']}" if is_verified(record) else "no"


def _print_attacks(world: World) -> None:
    if not world.attacked:
        return
    lines = []
    for who, attacks in world.attacked.items():
        kinds = sorted({one.attack.partition("/")[2] for one in attacks})
        lines.append((who, str(len(attacks)), show_size(sum(one.sent for one in attacks)), ", ".join(kinds)))
    print("\nattacks:")
    for line in lay_out(("who", "times", "sent", "how"), lines):
        print(f"  {line}")


def _print_verdicts(verdicts: Sequence[Verdict]) -> None:
    print("\nexpected, and what was:")
    for verdict in verdicts:
        print(f"  {'yes' if verdict.ok else 'NO ':3}  {verdict.who} {verdict.text}")
