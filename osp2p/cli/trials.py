"""``crashes``: shows a long run of kills, and whether all held that must; what it shares with ``siege``."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.records import Record
from osp2p.cli.signals import Ending
from osp2p.cli.text import count_of, format_size
from osp2p.lab.crashes import Crashes, run_crashes
from osp2p.lab.process import ProgramEnded
from osp2p.lab.restarts import WITHIN, Restarts, run_restarts
from osp2p.net.errors import disk_errors

DEFAULT_KILLS = 200

#: A tracker is killed once for so many kills of fetches.
_KILLS_A_RESTART = 10


@contextmanager
def open_place(keep: Path | None) -> Iterator[Path]:
    """A directory for a run: one that is kept, or one that goes with the block."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="osp2p-") as directory:
            yield Path(directory)
        return
    with disk_errors(f"cannot make {keep}"):
        keep.mkdir(parents=True)
    yield keep


def show(console: Console, record: Record, *lines: str) -> None:
    """Write a record, or lines of text."""
    if console.json:
        console.records([record])
    else:
        console.say(*lines)


def number_of(words: Sequence[str], default: int, what: str) -> int:
    """The number that a user gave in so many words, or in none.

    Raises:
        UsageError: it is none.
    """
    if not words:
        return default
    if not words[0].isdecimal() or not 0 < int(words[0]) < 10**6:
        raise UsageError(f"'{words[0]}' is no number of {what}: write digits, above 0")
    return int(words[0])


async def run_crashes_trial(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Run ``osp2p crashes``.

    Returns: the exit code: whether all held that must.

    Raises:
        UsageError: N is no number.
        StoreError: the directory that is to be kept cannot be made.

    Cancellation: every process that was started is ended.
    """
    kills = number_of(arguments.kills, DEFAULT_KILLS, "kills")
    restarts = -(-kills // _KILLS_A_RESTART)

    def tell(line: str) -> None:
        show(console, {"event": "step", "text": line}, f"  {line}")

    with open_place(arguments.keep) as directory:
        ending.last_words = lambda: console.fault("interrupted")
        title = f"{count_of(kills, 'kill')} of fetches, {restarts} of a tracker"
        show(console, {"event": "trial", "trial": "crashes", "title": title}, f"crashes: {title}", "")
        try:
            crashes = await run_crashes(kills, arguments.seed, _below(directory, "crashes"), tell)
            tracker = await run_restarts(restarts, arguments.seed, _below(directory, "restarts"), tell)
        except ProgramEnded as error:
            show(console, {"event": "end", "failed": str(error), "exit": NOT_PASSED}, "", f"crashes: failed: {error}")
            return NOT_PASSED
        ending.last_words = None
    return _report_crashes(console, crashes, tracker)


def _below(directory: Path, name: str) -> Path:
    below = directory / name
    below.mkdir()
    return below


def _report_crashes(console: Console, crashes: Crashes, tracker: Restarts) -> int:
    faults = [*crashes.faults, *tracker.faults]
    code = NOT_PASSED if faults else DONE
    lost = (crashes.sent - crashes.size) / crashes.kills
    record: Record = {
        "event": "end",
        "kills": crashes.kills,
        "rounds": crashes.rounds,
        "resumed": crashes.resumed,
        "needed": crashes.size,
        "sent": crashes.sent,
        "proved": crashes.proved,
        "tracker_kills": len(tracker.seconds),
        "registered_again": tracker.seconds,
        "answers": tracker.answers,
        "faults": faults,
        "exit": code,
    }
    show(
        console,
        record,
        "",
        f"{count_of(crashes.kills, 'kill')} of fetches; in the end all arrived, {count_of(crashes.rounds, 'time')}",
        f"  {crashes.resumed} kills left proved chunks of unfinished files; their successors went on from there",
        f"  proved when a kill came, all kills together: {format_size(crashes.proved)}",
        f"  chunks needed: {format_size(crashes.size)}; sent, or begun to be: {format_size(crashes.sent)}",
        f"  so a kill cost {format_size(lost)} that were under way and not proved yet",
        f"{count_of(len(tracker.seconds), 'kill')} of a tracker, under load ({tracker.answers:,} answers)",
        f"  everything registered again within {max(tracker.seconds):.2f} s of its return (allowed: {WITHIN:.0f} s)",
        "",
        *(f"  NO   {fault}" for fault in faults),
        f"crashes: {count_of(len(faults), 'fault') if faults else 'all held that must'}",
    )
    return code
