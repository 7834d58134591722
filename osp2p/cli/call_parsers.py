"""The options of ``serve``, ``call`` and ``services``: declarations, no work."""

from __future__ import annotations

from pathlib import Path

from osp2p.cli.arguments import OptionParser, add_common_options, duration, port
from osp2p.cli.exits import describe_codes
from osp2p.cli.overlay_options import add_overlay_options

#: Seconds that a call may take when nobody says anything.
CALL_TIMEOUT = 30.0

_EXIT_CODES = f"exit codes:\n{describe_codes()}"

_ADDRESS = "4a533d47ec9c7d95b1ad75f576cffc641853b750"


def _add_identity_option(parser: OptionParser) -> None:
    parser.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="the file with this node's key, from which its address follows; made where there is none; default one "
        "among your data",
    )


def serve_parser() -> OptionParser:
    """``osp2p serve``."""
    parser = OptionParser(
        "osp2p serve",
        "[MODULE[:OBJECT]…] [--name NAME] [--join HOST:PORT] [--identity FILE] [--port PORT] [--json]",
        "Serve Python methods to every node, until SIGINT or SIGTERM, and let this machine's programs call any node\n"
        "through this one: XML-RPC over HTTP, on the same port. A class is made an object of; of a module its own\n"
        "functions are served. Names that begin or end with _ are private.",
        [
            ("osp2p serve clock:Clock", "the class Clock of clock.py, as the service clock"),
            ("osp2p serve clock:Clock --join 192.0.2.7:11112", "so that anybody who knows the address finds it"),
            ("osp2p serve", "nothing but the way to others for this machine's programs"),
        ],
    )
    parser.add_words("handlers", "MODULE[:OBJECT]", "what is imported and served, from this directory or installed", 0)
    parser.add_argument("--name", metavar="NAME", help="of the service; default the class's or module's, in lower case")
    parser.add_argument("--service-version", metavar="TEXT", default="1", help="what the service says of itself")
    parser.add_argument(
        "--port", type=port, metavar="PORT", help="UDP and TCP port; default the first free one from 11112 on"
    )
    parser.add_argument(
        "--http-anywhere",
        action="store_true",
        help="let programs of other machines, too, call in this node's name over HTTP",
    )
    _add_identity_option(parser)
    add_overlay_options(parser)
    add_common_options(parser)
    return parser


def call_parser() -> OptionParser:
    """``osp2p call``."""
    parser = OptionParser(
        "osp2p call",
        "ADDRESS|any:SERVICE|all:SERVICE service.method [ARG…] [--join HOST:PORT] [--timeout TIME] [--json]",
        "Call a method of a node, by the node's address alone; of any node that has a service; or of all that have\n"
        "it. ADDRESS@HOST:PORT says where the node listens, so that nobody needs to be asked. Each ARG is JSON, or\n"
        "else the text as it stands: 5 is a number, '\"5\"' and five are texts.",
        [
            (f"osp2p call {_ADDRESS} clock.now", "of that node"),
            ("osp2p call any:clock clock.add 2 3", "of any node that has the service"),
            ("osp2p call all:clock clock.ping", "of all, with what failed"),
        ],
        _EXIT_CODES,
    )
    parser.add_words("words", "ADDRESS|any:SERVICE|all:SERVICE", "whom to call, what, and the arguments", 2)
    parser.add_argument(
        "--timeout", type=duration, default=CALL_TIMEOUT, metavar="TIME", help="most time for all of it; default 30s"
    )
    parser.add_argument("--near", metavar="ADDRESS", help="with any: the node whose address is nearest to this one")
    _add_identity_option(parser)
    add_overlay_options(parser)
    add_common_options(parser)
    return parser


def services_parser() -> OptionParser:
    """``osp2p services``."""
    parser = OptionParser(
        "osp2p services",
        "[ADDRESS|SERVICE] [--join HOST:PORT] [--json]",
        "List who serves what: all nodes that are found, those that have one service, or the methods of one node.",
        [
            ("osp2p services --join 192.0.2.7:11112", "every node that is found, and its services"),
            ("osp2p services clock", "who has the service clock"),
            (f"osp2p services {_ADDRESS}", "what that node serves, and how it is called"),
        ],
        _EXIT_CODES,
    )
    parser.add_words("words", "ADDRESS|SERVICE", "a node's address, or the name of a service; default all", 0, 1)
    _add_identity_option(parser)
    add_overlay_options(parser)
    add_common_options(parser)
    return parser
