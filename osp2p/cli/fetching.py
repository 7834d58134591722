"""``get``: names to files, with whatever form of progress fits where its output goes."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console, write_file_to_stdout
from osp2p.cli.display import Display
from osp2p.cli.exits import DONE, SOME_FAILED
from osp2p.cli.lines import event_line
from osp2p.cli.linking import is_link, read_link
from osp2p.cli.overlay_options import chosen_sources
from osp2p.cli.patterns import Matched, directory_prefix, match_directories, match_words
from osp2p.cli.records import event_record
from osp2p.cli.reporting import TrackerNews, open_shown_node
from osp2p.cli.signals import Ending
from osp2p.cli.targets import STDOUT, Plan, check_directory, check_single, is_directory, plan_targets
from osp2p.cli.text import count_of, escape, shell_word
from osp2p.content.name import is_glob
from osp2p.errors import Osp2pError
from osp2p.limits import Limits
from osp2p.net.groups import one_error
from osp2p.peer.events import Event, Remark, TransferDone, TransferFailed
from osp2p.peer.node import Node, unambiguous
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry
from osp2p.wire.link import Link

if TYPE_CHECKING:
    from osp2p.overlay.node import OverlayOptions

#: For how many names that nobody has it is looked what else may have been meant.
MOST_HINTS = 3

#: How many names are looked at in each part of a tracker's list.
NEAR_PAGE = 100

#: Seconds that a hint is waited for.
HINT_PATIENCE = 5.0

#: Seconds for which others are served without a word after all is done.
PATIENCE = 1.0


async def fetch(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Fetch, then serve who is being served; with --seed serve on until a signal.

    Returns: the exit code.

    Raises:
        UsageError, TrackerError, StoreError.

    Cancellation: nothing incomplete is under a final name.
    """
    if arguments.recursive and arguments.output not in (None, "", STDOUT):
        arguments.output += "/"  # where one file is below NAME, too, it keeps its sub-directories
    check_words(arguments.names, arguments.output, recursive=arguments.recursive)
    if arguments.json and arguments.output == STDOUT:
        raise UsageError("--json and -o - both write to standard output: leave one out")
    if arguments.seed is not None and arguments.output == STDOUT:
        raise UsageError("--seed shares files, and -o - keeps none: write -o FILE, or leave out --seed")
    trackers, overlay = _sources(arguments)
    news = TrackerNews()

    def show(event: Event) -> None:
        wanted = arguments.seed is not None or arguments.verbose or isinstance(event, Remark)
        if console.json:
            console.news([event_record(event)])
        elif wanted and news.is_news(event) and (line := event_line(event)):
            console.note(line)

    async with open_shown_node(arguments, trackers, show, overlay=overlay) as shown:
        node = shown.node
        if arguments.verbose:
            console.note(f"asking {' and '.join([*trackers, *(['the overlay'] if overlay is not None else [])])}")
        ending.last_words = partial(_tell_how_to_go_on, arguments, console)
        ending.code = code = await _fetch_all(node, arguments, console)
        ending.last_words = None
        seed = arguments.seed if code in (DONE, SOME_FAILED) else None  # where nothing has arrived, nothing is shared
        await _serve_on(node, seed, console)
        return code


async def _serve_on(node: Node, seed: float | None, console: Console) -> None:
    """Share what was fetched for as long as the user wants; else serve those who are being served now."""
    if seed is not None:
        console.note("sharing what was fetched; Ctrl-C ends it")
        await trio.sleep(seed)
        return
    with trio.move_on_after(PATIENCE) as scope:
        await node.wait_unused()
    if scope.cancelled_caught:
        console.note("others still fetch from here; Ctrl-C ends it")
        await node.wait_unused()


def _tell_how_to_go_on(arguments: Namespace, console: Console) -> None:
    command = " ".join(map(shell_word, arguments.command_line))
    if console.json:
        console.records([{"event": "interrupted", "command": command}])
    else:
        console.note(f"interrupted; to go on: {command}")


def check_words(names: Sequence[str], output: str | None, *, recursive: bool) -> None:
    """Refuse what can be refused before anything is asked.

    Raises:
        UsageError.
    """
    if not all(names):
        raise UsageError("a name has at least one byte")
    for name in names:
        if name in (".", "./"):
            raise UsageError(f"{name} is no name: '**' stands for all that is listed")
        if name.startswith("./"):
            raise UsageError(f"{escape(name)}: names are written as `osp2p ls` shows them, without ./")
    directory = next((name for name in names if name.endswith("/")), None)
    if directory is not None and not recursive and not is_link(directory):
        raise UsageError(f"{escape(directory)} is a directory's name: -r fetches all that is below it")
    if output == "":
        raise UsageError("-o '' names no place: write a directory, a file, or - for standard output")
    if output is not None and output.endswith("/"):
        check_directory(output)
    if output is not None and output != STDOUT and not is_directory(output):
        if not any(is_glob(os.fsencode(name)) for name in names):
            check_single(len(names), output)
        if Path(output).exists() and not Path(output).is_file():
            raise UsageError(f"-o {escape(output)} is no regular file: write -o - and redirect the output")


async def _fetch_all(node: Node, arguments: Namespace, console: Console) -> int:
    links = _links(arguments.names)
    words = [os.fsencode(word) for word in arguments.names if not is_link(word)]
    matched, listed = await _match(node, words, recursive=arguments.recursive)
    names = [*matched.names, *(name for name in links if name not in matched.names)]
    patterns = [word for word in words if is_glob(word) and word not in listed]
    if patterns and arguments.output not in (None, STDOUT) and not is_directory(arguments.output):
        arguments.output += "/"  # a pattern stands for many files, though it may match one today
        check_directory(arguments.output)
    if arguments.output != STDOUT:
        plan = plan_targets(names, arguments.output, Limits())
        return await _fetch_plan(node, plan, links, matched, listed, arguments, console)
    with tempfile.TemporaryDirectory(prefix="osp2p-") as directory:
        plan = Plan([(name, Path(directory, str(number))) for number, name in enumerate(names)])
        return await _fetch_plan(node, plan, links, matched, listed, arguments, console)


def _links(words: Sequence[str]) -> dict[bytes, Link]:
    """The links among the user's words, by their files' names.

    Raises:
        UsageError: a link that is none, or two to different contents of one name.
    """
    links: dict[bytes, Link] = {}
    for link in map(read_link, filter(is_link, words)):
        if links.setdefault(link.name, link).b3 != link.b3:
            raise UsageError(f"two links name {escape(link.name)}, with different contents: fetch one after the other")
    return links


def _sources(arguments: Namespace) -> tuple[list[str], OverlayOptions | None]:
    """Whom to ask: the links' own trackers, and the chosen ones unless there is nothing but links; and the overlay.

    Raises:
        UsageError: a link that is none, or one without a tracker where there is no overlay to look in.
    """
    links = [read_link(word) for word in arguments.names if is_link(word)]
    trackers = [str(Address(link.host, link.port)) for link in links if link.host]
    chosen, overlay = chosen_sources(arguments, read_only=arguments.seed is None)
    if arguments.tracker or not all(map(is_link, arguments.names)):
        trackers = [*chosen, *trackers]
    if overlay is None and not all(link.host for link in links):
        raise UsageError(
            "a link without a tracker is looked up in the overlay: name a node of it with --join HOST:PORT"
        )
    return list(dict.fromkeys(trackers)), overlay


async def _match(node: Node, words: list[bytes], *, recursive: bool) -> tuple[Matched, dict[bytes, FileEntry]]:
    """Find what words stand for: directories, or names and patterns.

    Returns: that, and how trackers list what they were asked for.
    """
    if recursive:
        listings = [unambiguous(await node.list_files(directory_prefix(word))) for word in words]
        return match_directories(words, listings), {name: entry for below in listings for name, entry in below.items()}
    listed = unambiguous(await node.list_files()) if any(map(is_glob, words)) else {}
    return match_words(words, listed, all_listed=False), listed


async def _fetch_plan(
    node: Node,
    plan: Plan,
    links: dict[bytes, Link],
    matched: Matched,
    listed: dict[bytes, FileEntry],
    arguments: Namespace,
    console: Console,
) -> int:
    """Fetch what a plan says, and show it. Returns: the exit code."""
    to_stdout = arguments.output == STDOUT
    failed = [TransferFailed(name, error) for name, error in (*matched.unmatched, *plan.refused)]
    display = Display(
        console,
        len(plan.targets) + len(failed),
        dict(plan.targets),
        verbose=arguments.verbose > 0,
        data_is_files=to_stdout,
    )
    try:
        for event in (*(Remark(word, text) for word, text in matched.remarks), *failed):
            display.show(event)
        if plan.targets:
            wanted = [
                Wanted(name, target, links[name].b3 if name in links else None, listed.get(name))
                for name, target in plan.targets
            ]
            writer = StdoutWriter([name for name, _ in plan.targets])
            with one_error():
                async with node.open_get(wanted, _options(arguments)) as events, trio.open_nursery() as nursery:
                    nursery.start_soon(display.watch)
                    async for event in events:
                        if to_stdout:
                            await writer.take(event)
                            event = _at_stdout(event)
                        display.show(event)
                    nursery.cancel_scope.cancel()
            await _tell_what_was_meant(node, display, set(matched.names).difference(links))
            _tell_of_silence(node, display)
    finally:
        display.close()
    return display.summarise()


async def _tell_what_was_meant(node: Node, display: Display, words: Collection[bytes]) -> None:
    """Tell who has asked for what nobody has how a directory is fetched, and which names are near.

    Args:
        words: what the user typed as names.
    """
    names = [name for name in display.nobody_has if name in words][:MOST_HINTS]
    with suppress(Osp2pError), trio.move_on_after(HINT_PATIENCE):  # without an answer there is no hint
        typos = [name for name in names if not await _is_directory(node, display, name)]
        if typos and node.tracker_addresses:
            from osp2p.cli.near_names import beginnings, nearest  # for names that nobody has alone

            parts = dict.fromkeys(part for name in typos for part in beginnings(name))
            listed = await node.list_some(list(parts), NEAR_PAGE)
            for name in typos:
                if near := [shell_word(os.fsdecode(found)) for found in nearest(name, listed)]:
                    display.show(Remark(name, f"did you mean {' or '.join(near)}?"))


async def _is_directory(node: Node, display: Display, word: bytes) -> bool:
    """Whether files are below a directory of this name; tells how they are fetched."""
    below = unambiguous(await node.list_files(directory_prefix(word)))
    if below:
        display.show(Remark(word, f"{count_of(len(below), 'file')} below a directory of this name: -r fetches it"))
    return bool(below)


def _tell_of_silence(node: Node, display: Display) -> None:
    """Where somebody may know of a file that nobody else has, and has not answered, say so."""
    silent = node.overlay.silent_joins() if node.overlay is not None else []
    if display.nobody_has and silent:
        display.show(Remark(display.nobody_has[0], f"others may have it: no answer from {', '.join(silent)}"))


def _options(arguments: Namespace) -> GetOptions:
    return GetOptions(
        force=arguments.force,
        require_verified=arguments.require_verified,
        max_size=arguments.max_size,
        seed=arguments.seed is not None,
        beneath=Path(arguments.output or ".") if is_directory(arguments.output) else None,
    )


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
