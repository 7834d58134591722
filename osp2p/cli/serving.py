"""``tracker``, ``share`` and the peer of 2007: what runs until a signal ends it."""

from __future__ import annotations

import os
import random
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import trio

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.lines import event_line
from osp2p.cli.overlay_options import chosen_overlay, chosen_sources
from osp2p.cli.parsers import TRACKER_PORT
from osp2p.cli.records import event_record
from osp2p.cli.reporting import ShownNode, TrackerNews, open_shown_node, transcribed
from osp2p.cli.targets import check_file
from osp2p.cli.text import count_of, escape, shell_word
from osp2p.content.name import local_path
from osp2p.errors import Osp2pError
from osp2p.limits import Limits
from osp2p.net import Admission, Network, TcpNetwork
from osp2p.net.groups import one_error
from osp2p.overlay.keys import DEFAULT_NETWORK
from osp2p.overlay.node import OverlayOptions
from osp2p.peer.events import (
    Event,
    FileAdded,
    FileRemoved,
    NotShared,
    TrackerConnected,
    TrackerLost,
    TransferFailed,
    Withdrawn,
)
from osp2p.peer.node import Node
from osp2p.peer.transfer import GetOptions
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address

#: Events that say that something went wrong.
_FAULTS = (TrackerLost, Withdrawn, TransferFailed)

#: Most lines about files that are left out of a directory at first; -v shows all.
MOST_LEFT_OUT = 10


async def run_tracker(arguments: Namespace, console: Console) -> int:
    """Run a tracker until cancelled.

    Raises:
        ListenFailed: its port is taken.
    """
    options = TrackerOptions(local=arguments.local, own_host_only=arguments.own_host_only, fakes=arguments.fakes)
    with one_error(), transcribed(arguments.transcript) as network:
        async with trio.open_nursery() as nursery:
            address = await _start_tracker(nursery, network, arguments.port, options)
            if console.json:
                console.records([{"event": "listening", "address": str(address), "port": address.port}])
            console.note(f"tracker listens on port {address.port}: {', '.join(own_addresses(address.port))}")
    return DONE


async def _start_tracker(
    nursery: trio.Nursery, network: Network, port: int, options: TrackerOptions, admission: Admission | None = None
) -> Address:
    """Run a tracker in a nursery. Returns: where it listens for IPv4."""

    async def serve(task_status: trio.TaskStatus[list[Address]]) -> None:
        await serve_tracker(
            network=network,
            port=port,
            options=options,
            limits=Limits(),
            rng=random.Random(),
            admission=admission,
            task_status=task_status,
        )

    addresses: list[Address] = await nursery.start(serve)
    return addresses[0]


def own_addresses(port: int) -> list[str]:
    """What others may type behind ``-t`` for a port of this machine, the likeliest first."""
    hosts = TcpNetwork().local_addresses()
    outside = [host for host in hosts if not Address(host, port).is_loopback]
    return [str(Address(host, port)) for host in outside or hosts]


class SharingDisplay:
    """Shows what happens to what is shared: at first how many files there are, then every change.

    Args:
        verbose: whether each file is shown at first, too, and each try to reach a tracker.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._ready = False
        self._left_out = 0
        self._news = TrackerNews()
        #: Trackers that did not answer at first. If none does, that is the command's end, and said there.
        self._away: dict[str, TrackerLost] = {}

    def show(self, event: Event) -> None:
        """Show one event."""
        if not self._ready and isinstance(event, TrackerLost):
            self._away[event.tracker] = event
        else:
            if isinstance(event, TrackerConnected):
                self._away.pop(event.tracker, None)
            self._show(event)

    def _show(self, event: Event) -> None:
        if self._console.json:
            self._console.news([event_record(event)])
        elif (line := event_line(event)) is not None and self._is_news(event):
            (self._console.fault if isinstance(event, _FAULTS) else self._console.note)(line)

    def _is_news(self, event: Event) -> bool:
        if not self._news.is_news(event):
            return self._verbose and isinstance(event, TrackerLost)
        if self._ready or self._verbose:
            return True
        if isinstance(event, NotShared):
            self._left_out += 1
            return self._left_out <= MOST_LEFT_OUT
        return not isinstance(event, FileAdded | FileRemoved)

    def become_ready(self, directory: str | None, files: int) -> None:
        """Say what is shared, if anything is; from now on every change is news.

        Args:
            directory: what was given; None: single files, or nothing.
            files: how many there are.
        """
        for event in self._away.values():
            self._show(event)
        self._ready = True
        if directory is None and not files:
            return
        if self._console.json:
            where = None if directory is None else escape(directory)
            self._console.records([{"event": "sharing", "directory": where, "files": files}])
            return
        if self._left_out > MOST_LEFT_OUT:
            self._console.note(f"and {self._left_out - MOST_LEFT_OUT} more that are not shared (-v shows them)")
        of = "" if directory is None else f" of {escape(directory)}"
        self._console.note(f"sharing {count_of(files, 'file')}{of}; Ctrl-C ends it")


async def share(arguments: Namespace, console: Console) -> int:
    """Share a directory, or single files, until cancelled.

    Raises:
        UsageError: there is no such directory, or file.
        UnsafeName, StoreError, ListenFailed, TrackerError.
    """
    directory = directory_of(arguments.shared)
    if not arguments.host:
        if arguments.tracker_port is not None:
            raise UsageError("--tracker-port belongs to --host, which runs a tracker: add --host, or name one with -t")
        trackers, overlay = chosen_sources(arguments, read_only=False)
        return await _share(arguments, directory, console, trackers, overlay=overlay)
    if arguments.tracker:
        raise UsageError("--host runs a tracker of its own: leave out -t")
    admission = Admission(Limits())  # one for both servers, because they share this process's file descriptors
    with one_error(), transcribed(arguments.transcript) as network:
        async with trio.open_nursery() as nursery:
            port = TRACKER_PORT if arguments.tracker_port is None else arguments.tracker_port
            address = await _start_tracker(nursery, network, port, TrackerOptions(), admission)
            overlay = chosen_overlay(arguments, read_only=False)
            trackers = [f"127.0.0.1:{address.port}"]
            await _share(arguments, directory, console, trackers, address.port, admission, overlay, network)
    return DONE


def directory_of(words: Sequence[str]) -> str | None:
    """The directory that is to be shared; None: single files are. Refuses what is neither.

    Raises:
        UsageError.
    """
    if len(words) == 1 and not Path(words[0]).exists():
        raise UsageError(f"there is no directory or file {escape(words[0])}")
    if len(words) == 1 and Path(words[0]).is_dir():
        return words[0]
    paths: dict[str, str] = {}
    for word in words:
        if Path(word).is_dir():
            raise UsageError(f"{escape(word)} is a directory: share it alone, or the one that all of them are in")
        check_file(word)
        other = paths.setdefault(Path(word).name, word)
        if Path(other) != Path(word):
            raise UsageError(f"{escape(other)} and {escape(word)} have one name: share the directory that they are in")
    return None


async def _share_files(node: Node, words: Sequence[str]) -> int:
    """Share files by their last names. Returns: how many.

    Raises:
        UnsafeName, StoreError, ListenFailed, TrackerError.
    """
    files = {os.fsencode(path.name): path for path in map(Path, words)}
    await node.share_files(files)
    return len(files)


def check_directory(directory: str) -> None:
    """Refuse what is no directory.

    Raises:
        UsageError.
    """
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{escape(directory)} is no directory: name the one that it is in")
    if not path.is_dir():
        raise UsageError(f"there is no directory {escape(directory)}")


async def _share(
    arguments: Namespace,
    directory: str | None,
    console: Console,
    trackers: list[str],
    hosted: int | None = None,
    admission: Admission | None = None,
    overlay: OverlayOptions | None = None,
    network: Network | None = None,
) -> int:
    """Share until cancelled.

    Args:
        directory: what to share; None: the files that the arguments name.
        hosted: the port of a tracker in this process.
        admission: what it shares with that tracker.
        overlay: to be in; None: in none.
        network: as `open_shown_node` takes it.
    """
    display = SharingDisplay(console, verbose=arguments.verbose > 0)
    async with open_shown_node(
        arguments, trackers, display.show, admission, overlay, network, console.together
    ) as shown:
        node = shown.node
        files = await (_share_files(node, arguments.shared) if directory is None else node.share(Path(directory)))
        await shown.shown()
        display.become_ready(directory, files)
        if hosted is not None:
            _invite(console, {entry.name for entry in await shown.node.list_files()}, hosted)
        elif not trackers:
            names = set(shown.node.shared_names(1000))
            address = await shown.node.listen()
            invite_to_join(console, address.port, overlay, _pattern(names) if names else "NAME")
        await trio.sleep_forever()
    return DONE


def _invite(console: Console, names: set[bytes], port: int) -> None:
    """Say what others must type to fetch all that is listed now."""
    addresses = own_addresses(port)
    command = f"osp2p get -t {addresses[0]} {_pattern(names)}"
    if console.json:
        console.records([{"event": "hosting", "addresses": addresses, "command": command}])
        return
    alone = Address(addresses[0].rpartition(":")[0], port).is_loopback
    where = "on this machine (it has no address that others can reach)" if alone else "on another machine"
    console.note(f"to fetch, type {where}:")
    console.say(command)
    if len(addresses) > 1:
        console.note(f"other addresses of this tracker: {', '.join(addresses[1:])}")


def invite_to_join(console: Console, port: int, options: OverlayOptions | None, word: str) -> None:
    """Say what others must type to fetch something through this node; or to join, where there is nothing to fetch."""
    if options is None or options.mainline:
        return
    addresses = own_addresses(port)
    network = "" if options.network == DEFAULT_NETWORK else f" --network {shell_word(options.network)}"
    join = f"--join {addresses[0]}{network}"
    if word.startswith("-- "):
        command = f"osp2p get {join} {word}"  # behind -- there are no options
    else:
        command = f"osp2p get {word} {join}" if word else f"osp2p node {join}"
    if console.json:
        console.records([{"event": "joinable", "addresses": addresses, "command": command}])
        return
    console.note("to fetch, type on another machine:" if word else "to join, type on another machine:")
    console.say(command)
    if len(addresses) > 1:
        console.note(f"other addresses of this node: {', '.join(addresses[1:])}")


def _pattern(names: set[bytes]) -> str:
    """What fetches all of some files: the only one's name, or a pattern."""
    if len(names) == 1:
        (name,) = names
        text = os.fsdecode(name)
        return f"{'-- ' if text.startswith('-') else ''}{shell_word(text)}"
    return "'**'" if any(b"/" in name for name in names) else "'*'"


async def run_old_peer(arguments: Namespace, console: Console) -> int:
    """Register a directory, fetch files in turn into it, then serve until cancelled, as in 2007.

    A file that cannot be fetched is said so, and the next one is tried.

    Raises:
        UsageError, StoreError, ListenFailed, TrackerError.
    """
    check_directory(arguments.directory)
    display = SharingDisplay(console, verbose=arguments.verbose > 0)
    async with open_shown_node(arguments, chosen_trackers(arguments), display.show) as shown:
        files = await shown.node.share(Path(arguments.directory))
        await shown.shown()
        display.become_ready(arguments.directory, files)
        for name in map(os.fsencode, arguments.files):
            await _fetch_in_turn(shown, name, Path(arguments.directory))
        await trio.sleep_forever()
    return DONE


async def _fetch_in_turn(shown: ShownNode, name: bytes, directory: Path) -> None:
    options = GetOptions(beneath=directory)
    try:
        target = local_path(directory, name, Limits())
        shown.report(await shown.node.get(name, target, options, shown.report))
    except Osp2pError as error:
        shown.report(TransferFailed(name, error))
