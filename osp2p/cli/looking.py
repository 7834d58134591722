"""``ls``, ``who``, ``checksum`` and ``md5``: what there is, who is there, and what proves it."""

from __future__ import annotations

import hashlib
import os
from argparse import Namespace
from collections.abc import Sequence

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.overlay_options import chosen_sources
from osp2p.cli.patterns import match_words
from osp2p.cli.records import claimed_size, file_record, name_fields, peer_record
from osp2p.cli.targets import check_file
from osp2p.cli.text import escape, format_size, name_line, shell_word
from osp2p.errors import NobodyHasIt
from osp2p.net.errors import disk_errors
from osp2p.peer.events import Event, Remark
from osp2p.peer.node import open_node
from osp2p.wire.checksum import write_md5
from osp2p.wire.entry import FileEntry


async def list_files(arguments: Namespace, console: Console) -> int:
    """Print what the tracker lists.

    Raises:
        UsageError: forms of output that exclude each other.
        NobodyHasIt: a word stands for nothing.
        TrackerError.
    """
    if arguments.null and (arguments.long or console.json):
        raise UsageError("-0 prints names alone: leave out -l and --json")
    words = [os.fsencode(word) for word in arguments.patterns]
    trackers, overlay = chosen_sources(arguments, read_only=True)

    def show(event: Event) -> None:
        if isinstance(event, Remark):
            console.note(event.text)

    async with open_node(trackers=trackers, overlay=overlay, report=show) as node:
        entries = await node.list_files()
    if words:
        matched = match_words(words, [entry.name for entry in entries], all_listed=True)
        if matched.unmatched:
            texts = [f"{escape(word)}: {error}" for word, error in matched.unmatched]
            raise NobodyHasIt("; ".join([*texts, "without a word, `osp2p ls` shows what there is"]))
        for word, remark in matched.remarks:
            console.note(f"{escape(word)}: {remark}")
        chosen = set(matched.names)
        entries = [entry for entry in entries if entry.name in chosen]
    _print_files(entries, arguments, console)
    return DONE


def _print_files(entries: Sequence[FileEntry], arguments: Namespace, console: Console) -> None:
    """Print names in the form that fits who reads them: a person who may paste them, or a program."""
    names = dict.fromkeys(entry.name for entry in entries)
    show = (lambda name: shell_word(os.fsdecode(name))) if console.is_for_a_person else name_line
    if console.json:
        console.records(map(file_record, entries))
    elif arguments.null:
        console.say_raw(b"".join(name + b"\0" for name in names))
    elif arguments.long:
        console.say(*(f"{_size(entry):>8}  {show(entry.name)}" for entry in entries))
    else:
        console.say(*map(show, names))


def _size(entry: FileEntry) -> str:
    size = claimed_size(entry.attributes)
    return format_size(size) if size is not None else "?"


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
    check_file(path)
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
