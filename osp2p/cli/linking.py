"""``link`` and ``verify``: contents that prove themselves, in one word."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.records import name_fields
from osp2p.cli.targets import check_file, is_path, names_file
from osp2p.cli.text import escape
from osp2p.content.digest import digest_in_thread, verify_file
from osp2p.errors import ChecksumMismatch, MalformedLine, NobodyHasIt
from osp2p.peer.node import Node, open_node
from osp2p.wire.entry import parse_b3
from osp2p.wire.link import SCHEME, Link, parse_link


def read_link(word: str) -> Link:
    """Read a link that a user typed.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_link(word)
    except MalformedLine as error:
        raise UsageError(f"{escape(word)} is no link: {error}") from None


def is_link(word: str) -> bool:
    """Whether a word is meant to be a link."""
    return word.startswith(SCHEME)


async def print_link(arguments: Namespace, console: Console) -> int:
    """Print a link to what a tracker lists, or to a file on this machine.

    Raises:
        NobodyHasIt: the tracker lists no such name, or does not know its content yet.
        TrackerError, StoreError.
    """
    word = arguments.name[0]
    if is_path(word):
        check_file(word)
    async with open_node(trackers=[chosen_trackers(arguments)[0]]) as node:
        if names_file(word):
            name = os.fsencode(Path(word).name)
            b3 = (await digest_in_thread(Path(word), with_md5=False)).digests.b3
        else:
            name = os.fsencode(word)
            b3 = await _listed_b3(node, name)
        link = Link(*await node.tracker_for_others(), name, b3)
    if console.json:
        console.records([{"event": "link", **name_fields(link.name), "b3": link.b3.hex(), "link": str(link)}])
    else:
        console.say(str(link))
    return DONE


async def _listed_b3(node: Node, name: bytes) -> bytes:
    listed = [entry for entry in await node.list_files(name) if entry.name == name]
    if not listed:
        raise NobodyHasIt(f"{escape(name)}: the tracker lists no such file")
    if b"b3" not in listed[0].attributes:
        raise NobodyHasIt(f"{escape(name)}: the tracker does not know its content yet; try again in a moment")
    return parse_b3(listed[0].attributes[b"b3"])


async def verify(arguments: Namespace, console: Console) -> int:
    """Tell whether a file has the content of a link.

    Raises:
        ChecksumMismatch: it has not.
        UsageError, StoreError.
    """
    path, word = arguments.words
    link = read_link(word)
    check_file(path)
    same = await verify_file(Path(path), link.b3)
    if console.json:
        console.records([{"event": "verify", "path": escape(path), "b3": link.b3.hex(), "same": same}])
    if not same:
        raise ChecksumMismatch(f"{escape(path)} has another content than the link names")
    if not console.json:
        console.say(f"{escape(path)}: the content is the link's")
    return DONE
