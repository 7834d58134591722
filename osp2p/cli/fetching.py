"""``get``: names to files, with whatever form of progress fits where its output goes."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console, write_file_to_stdout
from osp2p.cli.exits import exit_code_of_files
from osp2p.cli.lines import event_line
from osp2p.cli.linking import is_link, read_link
from osp2p.cli.progress import Progress
from osp2p.cli.records import Record, event_record
from osp2p.cli.reporting import open_shown_node
from osp2p.cli.signals import Ending
from osp2p.cli.targets import STDOUT, Plan, check_single, is_directory, plan_targets
from osp2p.cli.text import escape, shell_word
from osp2p.content.name import is_hidden
from osp2p.errors import NobodyHasIt
from osp2p.limits import Limits
from osp2p.peer.events import Event, Remark, TransferDone, TransferFailed, TransferProgress
from osp2p.peer.node import Node, unambiguous
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry
from osp2p.wire.link import Link

if TYPE_CHECKING:
    from osp2p.cli.bars import Bars

#: Seconds between two lines about the whole, where there are no bars.
LINE_INTERVAL = 5.0

#: Seconds for which others are served without a word after all is done.
PATIENCE = 1.0


class Display:
    """Shows what happens: records, or lines with bars on a terminal and a line now and then elsewhere.

    Args:
        files: how many are fetched.
        data_is_files: whether standard output takes the files themselves, so that nothing else may go there.
    """

    def __init__(self, console: Console, files: int, *, data_is_files: bool) -> None:
        self._console = console
        self._data_is_files = data_is_files
        self._begun = self._last_line = trio.current_time()
        self._bars: Bars | None = None
        self.progress = Progress(files)
        if console.shows_bars and files:
            from osp2p.cli.bars import Bars  # tqdm costs 25 ms, which a pipe need not pay

            self._bars = Bars(self.progress, console.err)
            console.aside = self._bars.aside

    def show(self, event: Event) -> None:
        """Show one event."""
        self.progress.apply(event)
        if self._console.json:
            self._console.records([event_record(event)])
            return
        if self._bars is not None:
            self._bars.show(event)
        if (line := event_line(event)) is not None:
            if isinstance(event, TransferDone) and not self._data_is_files:
                self._console.say(line)
            else:
                self._console.note(line)
        elif isinstance(event, TransferProgress) and self._bars is None:
            self._show_whole()

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


async def fetch(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Fetch, then serve who is being served; with --seed serve on until a signal.

    Returns: the exit code.

    Raises:
        UsageError, TrackerError, StoreError.

    Cancellation: nothing incomplete is under a final name.
    """
    check_words(arguments.names, arguments.output)
    if arguments.json and arguments.output == STDOUT:
        raise UsageError("--json and -o - both write to standard output: leave one out")

    def show(event: Event) -> None:
        if console.json:
            console.records([event_record(event)])
        elif (line := event_line(event)) and (
            arguments.seed is not None or arguments.verbose or isinstance(event, Remark)
        ):
            console.note(line)

    async with open_shown_node(arguments, _trackers(arguments), show) as shown:
        node = shown.node
        ending.last_words = partial(_tell_how_to_go_on, arguments, console)
        ending.code = code = await _fetch_all(node, arguments, console)
        ending.last_words = None
        if arguments.seed is not None:
            console.note("sharing what was fetched; Ctrl-C ends it")
            await trio.sleep(arguments.seed)
            return code
        with trio.move_on_after(PATIENCE) as scope:
            await node.wait_unused()
        if scope.cancelled_caught:
            console.note("others still fetch from here; Ctrl-C ends it")
            await node.wait_unused()
        return code


def _tell_how_to_go_on(arguments: Namespace, console: Console) -> None:
    command = " ".join(map(shell_word, arguments.command_line))
    if console.json:
        console.records([{"event": "interrupted", "command": command}])
    else:
        console.note(f"interrupted; to go on: {command}")


def check_words(names: Sequence[str], output: str | None) -> None:
    """Refuse what can be refused before anything is asked.

    Raises:
        UsageError.
    """
    if not all(names):
        raise UsageError("a name has at least one byte")
    if output is not None and output != STDOUT and not is_directory(output):
        check_single(len(names), output)
        if Path(output).exists() and not Path(output).is_file():
            raise UsageError(f"-o {escape(output)} is no regular file: write -o - and redirect the output")


async def _fetch_all(node: Node, arguments: Namespace, console: Console) -> int:
    links = {link.name: link for link in map(read_link, filter(is_link, arguments.names))}
    words = [os.fsencode(word) for word in arguments.names if not is_link(word)]
    found, unmatched = await (_expand_directories if arguments.recursive else _expand)(node, words)
    listed = {entry.name: entry for entry in found}
    names = list(dict.fromkeys([*listed, *links]))
    options = GetOptions(
        force=arguments.force,
        require_verified=arguments.require_verified,
        max_size=arguments.max_size,
        seed=arguments.seed is not None,
        beneath=Path(arguments.output or ".") if is_directory(arguments.output) else None,
    )
    if arguments.output == STDOUT:
        with tempfile.TemporaryDirectory(prefix="osp2p-") as directory:
            targets = [(name, Path(directory, str(number))) for number, name in enumerate(names)]
            return await _fetch_plan(node, Plan(targets), links, listed, unmatched, options, console, to_stdout=True)
    plan = plan_targets(names, arguments.output, Limits())
    return await _fetch_plan(node, plan, links, listed, unmatched, options, console, to_stdout=False)


def _trackers(arguments: Namespace) -> list[str]:
    """Whom to ask: the links' own trackers, and the chosen one unless there is nothing but links.

    Raises:
        UsageError: a link that is none.
    """
    linked = [str(Address(link.host, link.port)) for link in map(read_link, filter(is_link, arguments.names))]
    if arguments.tracker or len(linked) < len(arguments.names):
        linked = [*chosen_trackers(arguments), *linked]
    return list(dict.fromkeys(linked))


async def _expand_directories(node: Node, directories: list[bytes]) -> tuple[list[FileEntry], list[TransferFailed]]:
    """All that is listed below some directories, but for hidden files; one with nothing below it is a failure."""
    found: dict[bytes, FileEntry] = {}
    unmatched: list[TransferFailed] = []
    for directory in directories:
        prefix = directory.rstrip(b"/") + b"/"
        listed = unambiguous(await node.list_files(prefix))
        below = {name: entry for name, entry in listed.items() if not is_hidden(name[len(prefix) :])}
        found.update(below)
        if not below:
            unmatched.append(TransferFailed(directory, NobodyHasIt("no file is below a directory of this name")))
    return list(found.values()), unmatched


async def _expand(node: Node, patterns: list[bytes]) -> tuple[list[FileEntry], list[TransferFailed]]:
    """Turn patterns into files, each once; those that match nothing are failures beside the others' success."""
    found, unmatched = await node.find(patterns)
    nobody = NobodyHasIt("no file has this name or matches it")
    return found, [TransferFailed(pattern, nobody) for pattern in unmatched]


async def _fetch_plan(
    node: Node,
    plan: Plan,
    links: dict[bytes, Link],
    listed: dict[bytes, FileEntry],
    unmatched: list[TransferFailed],
    options: GetOptions,
    console: Console,
    *,
    to_stdout: bool,
) -> int:
    failed = [*unmatched, *(TransferFailed(name, error) for name, error in plan.refused)]
    display = Display(console, len(plan.targets) + len(failed), data_is_files=to_stdout)
    try:
        for failure in failed:
            display.show(failure)
        if plan.targets:
            wanted = [
                Wanted(name, target, links[name].b3 if name in links else None, listed.get(name))
                for name, target in plan.targets
            ]
            writer = StdoutWriter([name for name, _ in plan.targets])
            async with node.open_get(wanted, options) as events:
                async for event in events:
                    if to_stdout:
                        await writer.take(event)
                        event = _at_stdout(event)
                    display.show(event)
    finally:
        display.close()
    return display.summarise()


class StdoutWriter:
    """Writes files to standard output in the user's order, whatever order they arrive in, and removes them.

    Args:
        names: the files.
    """

    def __init__(self, names: Sequence[bytes]) -> None:
        self._waiting = deque(names)
        self._ended: dict[bytes, Path | None] = {}

    async def take(self, event: Event) -> None:
        """Take note of an event; write what can be written now.

        Raises:
            BrokenPipeError: nobody reads any more.
            StoreError: standard output cannot be written.

        Cancellation: a write that goes on is abandoned with its thread.
        """
        if isinstance(event, TransferDone):
            self._ended[event.name] = event.path
        elif isinstance(event, TransferFailed):
            self._ended[event.name] = None
        while self._waiting and self._waiting[0] in self._ended:
            path = self._ended.pop(self._waiting.popleft())
            if path is not None:
                await trio.to_thread.run_sync(write_file_to_stdout, path, abandon_on_cancel=True)
                path.unlink()


def _at_stdout(event: Event) -> Event:
    """The event as the user may see it: the file went where it was wanted, by way of one that is gone."""
    return replace(event, path=Path(STDOUT)) if isinstance(event, TransferDone) else event
