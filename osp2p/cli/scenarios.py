"""``lab``: runs a scenario in a directory of its own, and says what happened and what came true."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.records import Record, name_fields
from osp2p.cli.signals import Ending
from osp2p.cli.text import count_of, escape, format_rate, format_size
from osp2p.evil import Attacked
from osp2p.lab.catalogue import NoScenario, load_scenario
from osp2p.lab.judge import Verdict, is_verified, judge, sources_of
from osp2p.lab.table import File, Get
from osp2p.lab.text import lay_out
from osp2p.lab.world import Fetched, World, WorldFailed, run_world
from osp2p.net.errors import disk_errors
from osp2p.wire.word import quote

#: How many files of a fetch are shown one by one.
MOST_SHOWN = 40


async def run_scenario(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Run a scenario and show it.

    Returns: the exit code: whether all that its table expects came true.

    Raises:
        UsageError: there is none of that name.
        StoreError: the directory that is to be kept cannot be made.

    Cancellation: every process that was started is ended.
    """
    name = arguments.name[0]
    try:
        scenario = load_scenario(name)
    except NoScenario as error:
        raise UsageError(str(error)) from None

    def tell(line: str) -> None:
        _show(console, {"event": "step", "text": line}, f"  {line}")

    with _open_place(arguments.keep) as directory:
        ending.last_words = lambda: console.fault("interrupted")
        _show(console, {"event": "scenario", "scenario": name, "title": scenario.title}, f"{name}: {scenario.title}\n")
        try:
            world = await run_world(scenario, arguments.seed, directory, tell)
        except WorldFailed as error:
            _show(console, {"event": "end", "failed": str(error), "exit": NOT_PASSED}, f"\n{name}: failed: {error}")
            return NOT_PASSED
        ending.last_words = None
        return _report(console, name, world, judge(world))


@contextmanager
def _open_place(keep: Path | None) -> Iterator[Path]:
    """A directory for a run: one that is kept, or one that goes with the block."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="osp2p-lab-") as directory:
            yield Path(directory)
        return
    with disk_errors(f"cannot make {keep}"):
        keep.mkdir(parents=True)
    yield keep


def _show(console: Console, record: Record, text: str) -> None:
    """Write a record, or lines of text."""
    if console.json:
        console.records([record])
    else:
        console.say(*text.split("\n"))


def _report(console: Console, name: str, world: World, verdicts: Sequence[Verdict]) -> int:
    failed = sum(not verdict.ok for verdict in verdicts)
    code = NOT_PASSED if failed else DONE
    if console.json:
        console.records(_records(world, verdicts))
        console.records([{"event": "end", "expected": len(verdicts), "failed": failed, "exit": code}])
        return code
    console.say(*_fetches(world), *_attacks(world), "", "expected, and what was:")
    console.say(*(f"  {'yes' if verdict.ok else 'NO ':3}  {verdict.who} {verdict.text}" for verdict in verdicts))
    console.say("", f"{name}: {f'{failed} of {len(verdicts)} did not come true' if failed else 'all came true'}")
    return code


def _records(world: World, verdicts: Sequence[Verdict]) -> Iterator[Record]:
    """What happened and what came true, as records."""
    for who, files, fetched in _gets(world):
        for file in files:
            last = fetched.records.get(_quoted(file), {"event": "missing"})
            outcome = {"event": "file", "who": who, **name_fields(file.raw), "outcome": last["event"]}
            yield {**last, **outcome, "verified": is_verified(last)}
    for who, attacks in world.attacked.items():
        for one in attacks:
            yield {"event": "attack", "who": who, "attack": one.attack, "sent": one.sent, "seconds": one.seconds}
    for verdict in verdicts:
        yield {"event": "verdict", "who": verdict.who, "text": verdict.text, "ok": verdict.ok}


def _gets(world: World) -> Iterator[tuple[str, Sequence[File], Fetched]]:
    """Who fetched what, and how that ended."""
    for row in world.scenario.rows:
        if isinstance(row.does, Get):
            yield row.who, row.does.files, world.fetched[row.who]


def _quoted(file: File) -> str:
    return quote(file.raw).decode("ascii")


def _fetches(world: World) -> Iterator[str]:
    """A table of files for each fetch."""
    for who, files, fetched in _gets(world):
        rows = []
        for file in files[:MOST_SHOWN]:
            record = fetched.records.get(_quoted(file), {})
            seconds = record.get("seconds")
            rate = format_rate(file.size, seconds) if isinstance(seconds, int | float) else "-"
            gave = sum(bool(source.get("fetched")) for source in sources_of(record))
            rows.append((escape(file.raw), format_size(file.size), str(gave), rate, _proof(record)))
        yield ""
        yield f"{who}:"
        yield from (f"  {line}" for line in lay_out(("file", "size", "sources", "rate", "verified"), rows))
        if len(files) > MOST_SHOWN:
            yield f"  … and {len(files) - MOST_SHOWN} more"
        total = sum(file.size for file in files)
        took = f"{fetched.seconds:.1f} s, start included: {format_rate(total, fetched.seconds)}"
        yield f"  {count_of(len(files), 'file')}, {format_size(total)} in {took}"


def _proof(record: Record) -> str:
    if record.get("event") == "failed":
        return f"failed: {record.get('message')}"
    if not record:
        return "missing"
    return f"yes, {record['proof']}" if is_verified(record) else "no"


def _attacks(world: World) -> Iterator[str]:
    """A table of those who attacked."""
    if not world.attacked:
        return
    rows = [(who, str(len(attacks)), *_summary(attacks)) for who, attacks in world.attacked.items()]
    yield ""
    yield "attacks:"
    yield from (f"  {line}" for line in lay_out(("who", "times", "sent", "how"), rows))


def _summary(attacks: Sequence[Attacked]) -> tuple[str, str]:
    """How much was sent, and in which ways."""
    kinds = sorted({one.attack.partition("/")[2] for one in attacks})
    return format_size(sum(one.sent for one in attacks)), ", ".join(kinds)
