"""``node``, ``find`` and ``overlay``: the network without a tracker."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Iterable

import trio

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.linking import is_link, read_link
from osp2p.cli.overlay_options import chosen_overlay
from osp2p.cli.records import Record, name_fields
from osp2p.cli.reporting import open_shown_node
from osp2p.cli.serving import SharingDisplay, invite_to_join
from osp2p.cli.text import count_of, escape, format_size
from osp2p.errors import MalformedLine, NobodyHasIt, NodeNotFound, OverlayUnreachable
from osp2p.limits import Limits
from osp2p.net import TcpNetwork
from osp2p.overlay.identifier import parse_id
from osp2p.overlay.item import MutableItem
from osp2p.overlay.node import Overlay
from osp2p.overlay.status import FamilyStatus, OverlayStatus
from osp2p.peer.node import Node
from osp2p.peer.overlay_status import ask_status
from osp2p.rpc.contact import read_contact
from osp2p.rpc.identity import SALT
from osp2p.wire.address import parse_node
from osp2p.wire.entry import PeerEntry
from osp2p.wire.link import Link

#: How long a node waits to join before it says how others can.
_JOIN_SECONDS = 3.0


async def run_node(arguments: Namespace, console: Console) -> int:
    """Be a node until cancelled.

    Raises:
        UsageError, ListenFailed.
    """
    options = chosen_overlay(arguments, read_only=False, always=True)
    display = SharingDisplay(console, verbose=arguments.verbose > 0)
    async with open_shown_node(arguments, [], display.show, overlay=options) as shown:
        address = await shown.node.listen()
        if options is not None and options.joins and shown.node.overlay is not None:
            with contextlib.suppress(OverlayUnreachable):  # it goes on trying, and says so
                await shown.node.overlay.wait_connected(_JOIN_SECONDS)
        await shown.shown()
        display.become_ready(None, 0)
        invite_to_join(console, address.port, options, "")
        await trio.sleep_forever()
    return DONE


async def find(arguments: Namespace, console: Console) -> int:
    """Print who has a file, or where a node is.

    Raises:
        UsageError: the word is none of what can be found.
        NobodyHasIt, NodeNotFound, OverlayUnreachable.
    """
    word = arguments.word[0]
    if not word:
        raise UsageError("a name has at least one byte")
    options = chosen_overlay(arguments, read_only=True, always=True)
    assert options is not None
    limits = Limits()
    async with open_shown_node(arguments, [], lambda event: None, overlay=options) as shown:
        overlay = shown.node.overlay
        assert overlay is not None
        await overlay.wait_connected(limits.join_patience)
        if is_address(word):
            await _find_node(overlay, word.lower(), limits, console)
        else:
            await _find_file(shown.node, word, console)
    return DONE


def is_address(word: str) -> bool:
    """Whether a word is a node's address."""
    try:
        parse_id(word)
    except MalformedLine:
        return False
    return True


async def _find_node(overlay: Overlay, address: str, limits: Limits, console: Console) -> None:
    item = await overlay.get_item(bytes.fromhex(address), SALT)
    if not isinstance(item, MutableItem):
        raise NodeNotFound(f"nobody knows where the node {address} is")
    try:
        contact = read_contact(item, address, limits.max_values)
    except MalformedLine as error:
        raise NodeNotFound(str(error)) from error
    if console.json:
        console.records(
            [
                {
                    "event": "node",
                    "address": address,
                    "at": [str(place) for place in contact.addresses],
                    "sequence": contact.sequence,
                }
            ]
        )
    else:
        console.say(*map(str, contact.addresses))


async def _find_file(node: Node, word: str, console: Console) -> None:
    link = read_link(word) if is_link(word) else None
    name = link.name if link is not None else os.fsencode(word)
    holders = await node.find_holders(name, link.b3 if link is not None else None)
    if not holders:
        raise NobodyHasIt(f"{escape(name)}: nobody in the overlay has it")
    if console.json:
        console.records(_holder_record(name, entry) for entry in holders)
        return
    for b3, entries in _by_content(holders).items():
        console.say(str(Link("", 0, name, bytes.fromhex(b3.decode()))) if b3 else f"{escape(name)}: still being hashed")
        console.say(*map(_holder_line, entries))


def _by_content(holders: Iterable[PeerEntry]) -> dict[bytes, list[PeerEntry]]:
    """Holders by what they have; the content that most of them have first."""
    found: dict[bytes, list[PeerEntry]] = {}
    for entry in holders:
        found.setdefault(entry.attributes.get(b"b3", b""), []).append(entry)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _holder_line(entry: PeerEntry) -> str:
    size = entry.attributes.get(b"size")
    part = ", a part of it" if entry.attributes.get(b"part") == b"yes" else ""
    return f"  {entry.address}" + (f"  {format_size(int(size))}{part}" if size is not None else part)


def _holder_record(name: bytes, entry: PeerEntry) -> Record:
    attributes = entry.attributes
    record: Record = {"event": "holder", **name_fields(name), "address": str(entry.address)}
    if b"size" in attributes:
        record["size"] = int(attributes[b"size"])
    if b"b3" in attributes:
        record["b3"] = attributes[b"b3"].decode("ascii")
        record["link"] = str(Link("", 0, name, bytes.fromhex(attributes[b"b3"].decode("ascii"))))
    record["part"] = attributes.get(b"part") == b"yes"
    return record


# --- what a node knows ---


async def show_overlay(arguments: Namespace, console: Console) -> int:
    """Print what a node on this machine knows of the overlay.

    Raises:
        UsageError: its place cannot be read.
        NetworkError: nobody answers there.
        NobodyHasIt: whoever answers is in no overlay.
    """
    try:
        host, port = parse_node(arguments.node[0] if arguments.node else "127.0.0.1")
    except MalformedLine as error:
        raise UsageError(str(error)) from None
    status = await ask_status(TcpNetwork(), host, port, Limits())
    if console.json:
        console.records([status_record(status)])
    else:
        console.say(*status_lines(status))
    return DONE


def status_record(status: OverlayStatus) -> Record:
    """What a node knows, for JSON."""
    return {
        "event": "overlay",
        "network": status.network,
        "port": status.port,
        "families": [_family_record(family) for family in status.families],
        "stored": {"keys": status.stored_keys, "peers": status.stored_peers, "items": status.stored_items},
        "published": {"all": status.published, "taken": status.published_taken},
        "counts": status.counts,
    }


def _family_record(family: FamilyStatus) -> Record:
    return {
        "family": "IPv6" if family.ipv6 else "IPv4",
        "id": family.id.hex(),
        "host": family.host,
        "buckets": list(family.buckets),
        "spares": family.spares,
        "neighbours": [
            {
                "id": neighbour.id.hex(),
                "address": str(neighbour.address),
                "quiet": neighbour.quiet,
                "failures": neighbour.failures,
            }
            for neighbour in family.neighbours
        ],
    }


def status_lines(status: OverlayStatus) -> list[str]:
    """What a node knows, for people."""
    network = "BitTorrent's network" if status.network is None else f"network {escape(status.network)}"
    lines = [f"node at port {status.port}, {network}, {count_of(status.neighbours, 'neighbour')}"]
    for family in status.families:
        if not family.neighbours and family.host is None:
            continue
        lines.append(f"{'IPv6' if family.ipv6 else 'IPv4'}: id {family.id.hex()}, seen at {family.host or 'unknown'}")
        lines.append(f"  buckets, the farthest first: {' '.join(map(str, family.buckets))}; {family.spares} to replace")
        for neighbour in family.neighbours:
            silent = f", silent {neighbour.failures} times" if neighbour.failures else ""
            lines.append(f"  {neighbour.id.hex()}  {neighbour.address}  heard {neighbour.quiet:.0f} s ago{silent}")
    lines.append(
        f"kept for others: {count_of(status.stored_peers, 'announcement')} of {count_of(status.stored_keys, 'key')}, "
        f"{count_of(status.stored_items, 'item')}"
    )
    lines.append(f"own: {status.published_taken} of {status.published} kept by others")
    lines.append("since it began: " + ", ".join(f"{name} {number}" for name, number in status.counts.items()))
    return lines
