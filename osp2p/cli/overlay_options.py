"""The options and the commands of the overlay: declarations, and what they come to."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from osp2p.cli.arguments import (
    TRACKER_VARIABLE,
    OptionParser,
    UsageError,
    add_common_options,
    chosen_trackers,
    port,
)
from osp2p.cli.text import escape

if TYPE_CHECKING:
    from osp2p.overlay.node import OverlayOptions

#: The variable that names nodes to join through, several separated by blanks.
JOIN_VARIABLE = "OSP2P_JOIN"

#: Where nodes of BitTorrent's network are.
_MAINLINE_JOINS = (("router.bittorrent.com", 6881), ("dht.transmissionbt.com", 6881), ("router.utorrent.com", 6881))


def add_overlay_options(parser: OptionParser) -> None:
    """Let the user join an overlay."""
    parser.add_argument(
        "--join",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help=f"no tracker is needed: join the overlay through this node (any will do), several times for several; "
        f"default ${JOIN_VARIABLE}",
    )
    parser.add_argument(
        "--overlay", action="store_true", help="be in the overlay though no node is known yet that one could join"
    )
    parser.add_argument(
        "--lan", action="store_true", help="find nodes on the local network (needs the extra osp2p[lan])"
    )
    parser.add_argument(
        "--network", metavar="NAME", help="the overlay's name, which keeps it apart from others; default osp2p"
    )
    parser.add_argument(
        "--mainline", action="store_true", help="be a node of BitTorrent's public network instead of one of our own"
    )


def chosen_overlay(arguments: argparse.Namespace, *, read_only: bool, always: bool = False) -> OverlayOptions | None:
    """The overlay that the user means; None if there is none.

    Args:
        read_only: for a command that is gone in a moment.
        always: for a command that is about the overlay.

    Raises:
        UsageError: what was named is no address, or no name.
    """
    joins: list[str] = getattr(arguments, "join", [])
    if not hasattr(arguments, "join"):
        return None
    origin = "--join"
    if not joins:
        joins, origin = os.environ.get(JOIN_VARIABLE, "").split(), f"${JOIN_VARIABLE}"
    named = arguments.overlay or arguments.lan or arguments.network is not None or arguments.mainline
    if not (joins or always or named):
        return None
    from platformdirs import user_cache_path

    from osp2p.errors import MalformedLine
    from osp2p.overlay import lan
    from osp2p.overlay.keys import DEFAULT_NETWORK, network_tag
    from osp2p.overlay.node import OverlayOptions
    from osp2p.wire.address import parse_node

    network = DEFAULT_NETWORK if arguments.network is None else arguments.network
    if not network or len(os.fsencode(network)) > 100:
        raise UsageError("a network's name has 1 to 100 bytes")
    if arguments.lan and not lan.is_available():
        raise UsageError("--lan needs a library that is not here: pip install 'osp2p[lan]'")
    found: list[tuple[str, int]] = []
    for text in joins:
        try:
            found.append(parse_node(text))
        except MalformedLine as error:
            raise UsageError(f"{origin}: {escape(str(error))}") from None
    name = "mainline" if arguments.mainline else network_tag(network).hex()
    return OverlayOptions(
        joins=(*found, *_MAINLINE_JOINS) if arguments.mainline else tuple(found),
        network=network,
        mainline=arguments.mainline,
        read_only=read_only,
        saved=user_cache_path("osp2p") / "overlay" / name,
        lan=() if arguments.lan else None,
    )


def chosen_sources(arguments: argparse.Namespace, *, read_only: bool) -> tuple[list[str], OverlayOptions | None]:
    """The trackers and the overlay that the user means: the default tracker only where no overlay is named.

    Raises:
        UsageError: what was named is no address.
    """
    overlay = chosen_overlay(arguments, read_only=read_only)
    if overlay is not None and not arguments.tracker and not os.environ.get(TRACKER_VARIABLE):
        return [], overlay
    return chosen_trackers(arguments), overlay


def node_parser() -> OptionParser:
    """``osp2p node``."""
    parser = OptionParser(
        "osp2p node",
        "[--join HOST:PORT] [--network NAME] [--port PORT] [--json] [-q]",
        "Be a node of the overlay that shares nothing, until SIGINT or SIGTERM: for others to join through, and to\n"
        "remember who has what.",
        [
            ("osp2p node", "the first node of a network; prints what others must type"),
            ("osp2p node --join 192.0.2.7:11112", "one more"),
        ],
    )
    add_overlay_options(parser)
    parser.add_argument(
        "--port", type=port, metavar="PORT", help="UDP and TCP port; default the first free one from 11112 on"
    )
    parser.set_defaults(tracker=[], alias=None, limit_up=None, limit_down=None)
    add_common_options(parser, quiet=True)
    return parser


def find_parser() -> OptionParser:
    """``osp2p find``."""
    parser = OptionParser(
        "osp2p find",
        "NAME|LINK|ADDRESS --join HOST:PORT [--network NAME] [--json]",
        "Find in the overlay who has a file, by its name or a link, and print a link to each content; or where a node\n"
        "is, by its address of 40 hex digits.",
        [
            ("osp2p find cat.jpg --join 192.0.2.7:11112", "who has a file of that name"),
            ("osp2p find 4a533d47ec9c7d95b1ad75f576cffc641853b750", "where that node is"),
        ],
        "A name may stand for several contents: each is a link, and whoever has it stands below.",
    )
    parser.add_words("word", "NAME", "a file's name, a link, or a node's address", 1, 1)
    add_overlay_options(parser)
    parser.set_defaults(tracker=[], alias=None, port=None, limit_up=None, limit_down=None)
    add_common_options(parser)
    return parser


def overlay_parser() -> OptionParser:
    """``osp2p overlay``."""
    parser = OptionParser(
        "osp2p overlay",
        "[HOST:PORT] [--json]",
        "Show what a node on this machine knows of the overlay: its address, its neighbours, what it keeps for\n"
        "others, what it announces, and how many datagrams came and went.",
        [
            ("osp2p overlay", "of the node at port 11112"),
            ("osp2p overlay 11113", "of another one"),
        ],
    )
    parser.add_words("node", "HOST:PORT", "where the node serves; default 127.0.0.1:11112", 0, 1)
    add_common_options(parser)
    return parser
