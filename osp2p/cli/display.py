"""What a person or a program sees of a fetch: records, or lines, with bars on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.cli.console import Console
from osp2p.cli.exits import exit_code_of_files
from osp2p.cli.lines import detail_lines, event_line
from osp2p.cli.progress import Progress
from osp2p.cli.records import Record, event_record
from osp2p.cli.text import escape
from osp2p.content.store import kept_partial
from osp2p.errors import NobodyHasIt, TargetLocked
from osp2p.peer.events import Event, TransferDone, TransferFailed, TransferProgress, TransferStarted

if TYPE_CHECKING:
    from osp2p.cli.bars import Bars

#: Seconds between two lines about the whole, where there are no bars.
LINE_INTERVAL = 5.0

#: Seconds without anything, after which bars say so.
QUIET_AFTER = 3.0

#: How often it is looked whether something comes, in seconds.
_LOOK = 1.0

#: With what something is heard of a file.
_SIGNS_OF_LIFE = (TransferStarted, TransferProgress, TransferDone, TransferFailed)


class Display:
    """Shows what happens: records, or lines with bars on a terminal and a line now and then elsewhere.

    Args:
        files: how many are fetched.
        targets: where each file goes to, for telling what is kept of one that did not arrive.
        verbose: whether a file's beginning and its sources are shown, too.
        data_is_files: whether standard output takes the files themselves, so that nothing else may go there.
    """

    def __init__(
        self, console: Console, files: int, targets: Mapping[bytes, Path], *, verbose: bool, data_is_files: bool
    ) -> None:
        self._console = console
        self._targets = targets
        self._verbose = verbose
        self._data_is_files = data_is_files
        self._begun = self._last_line = self._last_heard = trio.current_time()
        #: Of what something was heard since the last look: of many small files the clock would take a moment each.
        self._news: set[bytes] = set()
        #: When something was last heard of each running file, as seen at the last look.
        self._heard: dict[bytes, float] = {}
        #: After how many seconds without anything the next line says so.
        self._next_quiet = LINE_INTERVAL
        self._bars: Bars | None = None
        self.progress = Progress(files)
        #: Files that nobody has.
        self.nobody_has: list[bytes] = []
        if console.shows_bars and files:
            from osp2p.cli.bars import Bars  # tqdm costs 25 ms, which a pipe need not pay

            self._bars = Bars(self.progress, console)
            console.aside = self._bars.aside

    def show(self, event: Event) -> None:
        """Show one event."""
        self.progress.apply(event)
        if isinstance(event, _SIGNS_OF_LIFE):
            self._news.add(event.name)
        if isinstance(event, TransferFailed) and isinstance(event.error, NobodyHasIt):
            self.nobody_has.append(event.name)
        kept = self._kept(event)
        if self._console.json:
            if isinstance(event, TransferProgress) and self._console.is_behind:
                return  # its reader is behind, and will be told of later progress
            self._console.records([event_record(event) | ({"kept": escape(str(kept))} if kept else {})])
            return
        if self._bars is not None:
            self._bars.show(event)
        if (line := event_line(event)) is not None:
            self._show_line(
                event, f"{line}; what has arrived is kept in {kept}: the same command goes on" if kept else line
            )
        elif isinstance(event, TransferProgress) and self._bars is None:
            self._show_whole()
        if isinstance(event, TransferDone) and (there := self._beside(event)) is not None:
            text = f"{escape(str(there))} has other content, and stays: --force replaces it"
            self._console.note(f"{escape(event.name)}: {text}")
        if self._verbose:
            for detail in detail_lines(event):
                self._console.note(detail)

    async def watch(self) -> None:
        """Say now and then for how long nothing has come, until cancelled."""
        while True:
            await trio.sleep(_LOOK)
            now = trio.current_time()
            self._note_times(now)
            seconds = now - self._last_heard
            if self._bars is not None:
                quiet = {name: now - at for name, at in self._heard.items() if now - at >= QUIET_AFTER}
                if quiet or seconds >= QUIET_AFTER:
                    self._bars.show_quiet(quiet, seconds if seconds >= QUIET_AFTER else 0)
            elif seconds >= self._next_quiet and not self._console.json:
                self._next_quiet *= 2  # a log that nobody watches need not fill
                whole = self.progress.describe(now - self._begun)
                self._console.note(f"{whole}; nothing for {seconds:.0f} s, still trying")

    def _note_times(self, now: float) -> None:
        """Note that something was heard of a file a moment ago, or when last."""
        if self._news:
            self._last_heard = now
            self._next_quiet = LINE_INTERVAL
        running = self.progress.running
        self._heard = {name: now if name in self._news else self._heard.get(name, now) for name in running}
        self._news.clear()

    def _show_line(self, event: Event, line: str) -> None:
        if isinstance(event, TransferFailed):
            self._console.fault(line)
        elif isinstance(event, TransferDone) and not self._data_is_files and not self._console.quiet:
            self._console.say(line)
        else:
            self._console.note(line)

    def _beside(self, event: TransferDone) -> Path | None:
        """What was in the way of a file that has arrived beside it."""
        target = self._targets.get(event.name)
        if target is None or target is event.path or target == event.path or self._data_is_files:
            return None
        return target

    def _kept(self, event: Event) -> Path | None:
        """Where what has arrived of a file is kept that failed."""
        if not isinstance(event, TransferFailed) or isinstance(event.error, TargetLocked) or self._data_is_files:
            return None
        target = self._targets.get(event.name)
        return kept_partial(target) if target is not None else None

    def _show_whole(self) -> None:
        now = trio.current_time()
        if now - self._last_line >= LINE_INTERVAL:
            self._last_line = now
            self._console.note(self.progress.describe(now - self._begun))

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.close()
            self._bars = None
            self._console.aside = nullcontext

    def summarise(self) -> int:
        """Say how it went. Returns: the exit code."""
        progress = self.progress
        seconds = trio.current_time() - self._begun
        code = exit_code_of_files(progress.arrived, progress.failures)
        if self._console.json:
            self._console.records([_end_record(progress, seconds, code)])
        elif progress.files > 1:
            self._console.note(progress.describe(seconds))
        return code


def _end_record(progress: Progress, seconds: float, code: int) -> Record:
    """The last record of all."""
    failed = len(progress.failures)
    return {"event": "end", "arrived": progress.arrived, "failed": failed, "seconds": seconds, "exit": code}
