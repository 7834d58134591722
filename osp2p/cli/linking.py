"""``link`` and ``verify``: contents that prove themselves, in one word."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.records import name_fields
from osp2p.cli.text import escape
from osp2p.content.digest import digest_in_thread, verify_file
from osp2p.errors import ChecksumMismatch, MalformedLine, NobodyHasIt
from osp2p.net import TcpNetwork
from osp2p.peer.node import open_node
from osp2p.wire.address import Address, parse_tracker
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


def _is_file(path: str) -> bool:
    return Path(path).is_file()


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
    tracker = chosen_trackers(arguments)[0]
    host, port = parse_tracker(tracker)
    if Address(host, port).is_loopback or host == "localhost":  # of no use to anybody but this machine
        host = TcpNetwork().local_addresses()[0]
    if "/" in word and _is_file(word):
        digest = await digest_in_thread(Path(word), with_md5=False)
        link = Link(host, port, os.fsencode(Path(word).name), digest.digests.b3)
    else:
        link = Link(host, port, os.fsencode(word), await _listed_b3(os.fsencode(word), tracker))
    if console.json:
        console.records([{"event": "link", **name_fields(link.name), "b3": link.b3.hex(), "link": str(link)}])
    else:
        console.say(str(link))
    return DONE


async def _listed_b3(name: bytes, tracker: str) -> bytes:
    async with open_node(trackers=[tracker]) as node:
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
    if not _is_file(path):
        raise UsageError(f"there is no file {escape(path)}")
    same = await verify_file(Path(path), link.b3)
    if console.json:
        console.records([{"event": "verify", "path": escape(path), "b3": link.b3.hex(), "same": same}])
    if not same:
        raise ChecksumMismatch(f"{escape(path)} has another content than the link names")
    if not console.json:
        console.say(f"{escape(path)}: the content is the link's")
    return DONE
