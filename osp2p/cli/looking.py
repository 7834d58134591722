"""``ls``, ``who``, ``checksum`` and ``md5``: what there is, who is there, and what proves it."""

from __future__ import annotations

import hashlib
import os
from argparse import Namespace
from pathlib import Path

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.records import claimed_size, file_record, name_fields, peer_record
from osp2p.cli.text import escape, format_size
from osp2p.content.name import is_glob, matches_glob
from osp2p.errors import NobodyHasIt
from osp2p.net.errors import disk_errors
from osp2p.peer.node import open_node
from osp2p.wire.checksum import write_md5
from osp2p.wire.entry import FileEntry


async def list_files(arguments: Namespace, console: Console) -> int:
    """Print what the tracker lists.

    Raises:
        NobodyHasIt: a pattern matches nothing.
        TrackerError.
    """
    patterns = [os.fsencode(word) for word in arguments.patterns]
    async with open_node(trackers=chosen_trackers(arguments)) as node:
        entries = await node.list_files()
    chosen = _select(entries, patterns)
    if console.json:
        console.records(map(file_record, chosen))
    elif arguments.long:
        console.say(*map(_long_line, chosen))
    else:
        console.say(*dict.fromkeys(escape(entry.name) for entry in chosen))
    return DONE


def _select(entries: list[FileEntry], patterns: list[bytes]) -> list[FileEntry]:
    """What matches any of the patterns, in the tracker's order; all where there are none."""
    if not patterns:
        return entries
    names = {entry.name for entry in entries}
    found: set[bytes] = set()
    for pattern in patterns:
        exact = pattern in names or not is_glob(pattern)
        matching = {pattern} & names if exact else {name for name in names if matches_glob(name, pattern)}
        if not matching:
            raise NobodyHasIt(f"{escape(pattern)}: no file that the tracker lists has this name")
        found |= matching
    return [entry for entry in entries if entry.name in found]


def _long_line(entry: FileEntry) -> str:
    size = claimed_size(entry.attributes)
    return f"{format_size(size) if size is not None else '?':>8}  {escape(entry.name)}"


async def list_peers(arguments: Namespace, console: Console) -> int:
    """Print who is logged in.

    Raises:
        TrackerError.
    """
    async with open_node(trackers=chosen_trackers(arguments)) as node:
        entries = await node.list_peers()
    if console.json:
        console.records(map(peer_record, entries))
    else:
        width = max((len(str(entry.address)) for entry in entries), default=0)
        console.say(*(f"{entry.address!s:<{width}}  {escape(entry.alias)}" for entry in entries))
    return DONE


async def print_checksum(arguments: Namespace, console: Console) -> int:
    """Print the MD5 that the tracker knows.

    Raises:
        NobodyHasIt: it knows none.
        TrackerError.
    """
    name = os.fsencode(arguments.name[0])
    if not name:
        raise UsageError("a name has at least one byte")
    async with open_node(trackers=chosen_trackers(arguments)) as node:
        digest = await node.checksum(name)
    _print_md5(console, {"event": "checksum", **name_fields(name)}, digest)
    return DONE


def print_md5(arguments: Namespace, console: Console) -> int:
    """Print the MD5 of a local file.

    Raises:
        StoreError: it cannot be read.
    """
    path = arguments.file[0]
    if not Path(path).is_file():
        raise UsageError(f"there is no file {escape(path)}")
    with disk_errors(path), open(path, "rb") as file:
        digest = hashlib.file_digest(file, "md5").digest()
    _print_md5(console, {"event": "md5", "path": escape(path)}, digest)
    return DONE


def _print_md5(console: Console, fields: dict[str, object], digest: bytes) -> None:
    text = write_md5(digest).decode("ascii")
    if console.json:
        console.records([{**fields, "md5": text, "hex": digest.hex()}])
    else:
        console.say(text)
