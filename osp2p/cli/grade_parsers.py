"""The options of ``grade``, ``talk`` and ``replay``: declarations, no work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from osp2p.cli.arguments import OptionParser, add_common_options, duration

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
        help="how long one attack goes on at most; default 6s; of a downloader: how long it may take, default 60s",
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
    add_common_options(parser)
    return parser
