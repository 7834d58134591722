"""The options of ``grade``, ``talk`` and ``replay``: declarations, no work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from osp2p.cli.arguments import OptionParser, UsageError, add_common_options, duration
from osp2p.cli.text import escape

#: What can be graded.
KINDS = ("tracker", "peer", "downloader")

TRANSCRIPT_HELP = "write down all that is said on every connection, as text (docs/grading.md describes the lines)"


class CommandParser(OptionParser):
    """A parser behind whose ``--`` a command of the user's stands, as it is."""

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        end = argv.index("--") if "--" in argv else len(argv)
        arguments = super().read(argv[:end])
        arguments.command = list(argv[end + 1 :])
        return arguments


def read_address(text: str) -> tuple[str, int]:
    """Read where a program listens.

    Raises:
        UsageError: it is no address.
    """
    from osp2p.errors import MalformedLine
    from osp2p.wire.address import parse_tracker

    try:
        return parse_tracker(text)
    except MalformedLine as error:
        raise UsageError(f"{escape(text)}: {error}") from None


def add_transcript_option(parser: OptionParser) -> None:
    """Let the user have all that is said written down."""
    parser.add_argument("--transcript", metavar="FILE", help=TRANSCRIPT_HELP)


def grade_parser() -> OptionParser:
    """``osp2p grade``."""
    parser = CommandParser(
        "osp2p grade",
        "tracker|peer HOST:PORT [--file NAME] [OPTION…] [-- COMMAND…]\n"
        "       osp2p grade downloader [OPTION…] -- COMMAND…",
        "Grade a program that speaks OSP2P, whoever wrote it: dialogues, speed, OSP2P/2 if it offers that, and\n"
        "attacks, with an honest user before, beside and after each. Exit code 0 only if all that was asked passed.\n"
        "Behind --, the COMMAND that starts the program, and starts it again whenever it died. Of a downloader it is\n"
        "run in one world after the other, with {tracker}, {host}, {port}, {dir}, {file} and {files} filled in.",
        [
            ("osp2p grade tracker 127.0.0.1:11111", "one that runs"),
            ("osp2p grade peer 127.0.0.1:11112 --file cat.jpg --html report.html", "with a report for its author"),
            ("osp2p grade peer 127.0.0.1:4000 --file cat.jpg -- python peer.py 4000 dir", "one that is started here"),
            ("osp2p grade downloader -- python get.py {tracker} {dir} {files}", "one that fetches"),
            ("osp2p grade tracker 5000 --only 'attack/*' --skip '*/drip'", "some checks; --list shows all"),
        ],
    )
    parser.add_words("words", "KIND", "tracker, peer or downloader; behind the first two HOST:PORT", 1, 2)
    parser.add_argument("--file", metavar="NAME", help="of a peer: a file that it shares; 100 kB to 10 MB are best")
    parser.add_argument("--content", metavar="PATH", help="what that file holds; default what the peer sends at first")
    parser.add_argument(
        "--forbidden",
        metavar="NAME",
        action="append",
        default=[],
        help="of a peer: a name that leads to a file on its disk that is not shared, such as ../secret.txt",
    )
    for option, what in (("--only", "only checks whose id matches"), ("--skip", "no checks whose id matches")):
        parser.add_argument(option, metavar="GLOB", action="append", default=[], help=what)
    parser.add_argument("--list", action="store_true", help="list the checks and what each asks, and end")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed asks the same; default 1")
    parser.add_argument(
        "--patience",
        type=duration,
        metavar="TIME",
        help="how long one attack goes on at most; default 5s; of a downloader: how long it may take, default 60s",
    )
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="let each attack go on until a sound program must have ended it: takes some minutes",
    )
    parser.add_argument(
        "--keeps-running",
        action="store_true",
        help="of a downloader: it serves on when it has its files, and is ended then",
    )
    parser.add_argument(
        "--network-i-own",
        metavar="ADDR/PREFIX",
        action="append",
        default=[],
        help="let attacks go there, too, and not only to this machine",
    )
    parser.add_argument("--junit", metavar="FILE", help="write JUnit's XML, too")
    parser.add_argument("--html", metavar="FILE", help="write a page, too, with the evidence for each failure")
    add_common_options(parser, quiet=True)
    return parser


def talk_parser() -> OptionParser:
    """``osp2p talk``."""
    parser = OptionParser(
        "osp2p talk",
        "HOST:PORT [--explain] [--transcript FILE]",
        "Talk to a tracker or a peer in lines, as with telnet. Everything that comes is shown harmlessly; what is no\n"
        "text is counted and hashed. At a terminal there are history (arrow keys) and completion (tab: commands, and\n"
        "names that were listed). From a pipe, each line is sent when the one before it is answered.",
        [
            ("osp2p talk 127.0.0.1:11111", "HELP lists a tracker's commands"),
            ("osp2p talk 127.0.0.1:11112 --explain", "a peer; try HELLO OSP2P/2, then LIST"),
            ("printf 'LIST\\nQUIT\\n' | osp2p talk 5000", "from a pipe"),
        ],
    )
    parser.add_words("address", "HOST:PORT", "where it listens", 1, 1)
    parser.add_argument("--explain", action="store_true", help="say what each line of an answer means")
    parser.add_argument(
        "--wait",
        type=duration,
        metavar="TIME",
        default=2.0,
        help="how long an answer is waited for before the next line is sent; default 2s",
    )
    add_transcript_option(parser)
    add_common_options(parser)
    return parser


def replay_parser() -> OptionParser:
    """``osp2p replay``."""
    parser = OptionParser(
        "osp2p replay",
        "FILE HOST:PORT [--codes] [--of ADDRESS]",
        "Play the client of a transcript against another server, and show the first answer that is not as it was.\n"
        "Codes, data lines and bodies are compared; texts, addresses, serial numbers, times and the order of data\n"
        "lines are not. Exit code 0 if there is no difference.",
        [
            ("osp2p tracker --transcript talk.txt", "write one down"),
            ("osp2p replay talk.txt 127.0.0.1:5000", "does that tracker answer the same?"),
        ],
    )
    parser.add_words("words", "FILE HOST:PORT", "a transcript, and where the server listens", 2, 2)
    parser.add_argument("--codes", action="store_true", help="compare nothing but the codes of replies")
    parser.add_argument(
        "--of",
        metavar="ADDRESS",
        help="play the connections that were made to this address; default those that were accepted, or, if there are "
        "none, those to the first address",
    )
    add_common_options(parser)
    return parser
