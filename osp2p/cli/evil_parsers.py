"""The options of ``evil``: declarations, no work."""

from __future__ import annotations

import argparse
import ipaddress

from osp2p.cli.arguments import OptionParser, add_common_options, add_tracker_option, duration, number, port
from osp2p.cli.text import escape


def subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read an option's network."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{escape(text)}' is no ADDR/PREFIX: {escape(str(error))}") from None


def evil_parser() -> OptionParser:
    """``osp2p evil``."""
    parser = OptionParser(
        "osp2p evil",
        "--list [ID…] [--against WHAT] [--json]\n"
        "       osp2p evil ID… HOST:PORT [--file NAME] [OPTION…]     attack a tracker, peer or node\n"
        "       osp2p evil --peer ID… [-t HOST:PORT] [OPTION…]       attack those who fetch\n"
        "       osp2p evil ID --port PORT [-t HOST:PORT] [OPTION…]   be an evil tracker or node",
        "Attack a program that speaks OSP2P, and see how it stands it. An ID is family/name, a family, or a pattern.\n"
        "A tracker or a peer is attacked with an honest user before, beside and after each attack, and there is a\n"
        "verdict for each; exit code 0 only if all are good. Who fetches from an evil peer or asks an evil tracker\n"
        "must judge for himself what came of it. Only this machine is attacked, unless --network-i-own names more.",
        [
            ("osp2p evil --list", "every attack, and what a sound program does"),
            ("osp2p evil 'lines/*' books 127.0.0.1:11111", "two families against a tracker"),
            ("osp2p evil paths/outside 127.0.0.1:11112 --file cat.jpg", "one attack against a peer"),
            ("osp2p evil --peer chunks -t 127.0.0.1", "claim what is listed, and serve wrong chunks"),
            ("osp2p evil tracker/endless-peers --port 5000 -t 127.0.0.1", "lie about what a sound tracker knows"),
            (
                "osp2p evil neighbours/sybils --port 5001 -t 127.0.0.1:11112",
                "enter an overlay through a node; lie there",
            ),
            ("osp2p evil callees/forged --port 5002", "be a node whose results are forged"),
        ],
        "docs/zoo.md describes every attack.",
    )
    parser.add_words("words", "ID", "attacks; where no option says otherwise, HOST:PORT stands behind them", 0)
    parser.add_argument("--list", action="store_true", help="print the catalogue, and end; with --json as one array")
    parser.add_argument("--peer", action="store_true", help="register at the tracker as a holder, and attack who comes")
    parser.add_argument("--port", type=port, metavar="PORT", help="be an evil tracker, node or peer that listens there")
    parser.add_argument(
        "--against",
        choices=("tracker", "uploader", "node", "downloader"),
        help="what stands at HOST:PORT, where the IDs do not tell; with --list: show no others",
    )
    parser.add_argument(
        "--file",
        metavar="NAME",
        action="append",
        default=[],
        help="of a peer: a file that it shares; with --peer: what to claim, default all that the tracker lists",
    )
    parser.add_argument(
        "--forbidden",
        metavar="NAME",
        action="append",
        default=[],
        help="of a peer: a name that leads to a file on its disk that is not shared, such as ../secret.txt",
    )
    parser.add_argument("--seed", type=number, default=1, metavar="N", help="the same seed sends the same; default 1")
    parser.add_argument(
        "--within",
        type=duration,
        metavar="TIME",
        help="leave out attacks that a sound program may need longer to end: some take ten minutes",
    )
    parser.add_argument(
        "--network-i-own",
        metavar="ADDR/PREFIX",
        type=subnet,
        action="append",
        default=[],
        help="attack hosts there, too, and not only this machine",
    )
    add_tracker_option(parser)
    add_common_options(parser, quiet=True)
    return parser
