"""The options of ``crashes``, ``siege`` and ``trackerless``: declarations, no work."""

from __future__ import annotations

from pathlib import Path

from osp2p.cli.arguments import OptionParser, add_common_options, number
from osp2p.cli.exits import DONE, NOT_PASSED

#: What everything random is a function of, unless the user chooses otherwise.
SEED = 2007

_CODES = f"exit code: {DONE} if all that must hold did, {NOT_PASSED} if not"


def _add_trial_options(parser: OptionParser) -> OptionParser:
    parser.add_argument(
        "--seed", type=number, default=SEED, metavar="N", help=f"makes files, moments and attacks; default {SEED}"
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="a new directory for all files, kept afterwards")
    add_common_options(parser)
    return parser


def siege_parser() -> OptionParser:
    """``osp2p siege``."""
    parser = OptionParser(
        "osp2p siege",
        "[MINUTES] [--seed N] [--keep DIR] [--json]",
        "Let peers on this machine fetch files from each other, first alone, then while every attack of the catalogue\n"
        "(osp2p evil --list) goes on against their tracker and all of them. Every file must arrive, verified, at half\n"
        "the rate at least; memory must stay bounded; and afterwards nothing may be left of it.",
        [
            ("osp2p siege", "five minutes"),
            ("osp2p siege 60 --seed 7", "an hour, with other files and another order of attacks"),
        ],
        _CODES,
    )
    parser.add_words("minutes", "MINUTES", "how long the siege is; default 5", 0, 1)
    return _add_trial_options(parser)


def crashes_parser() -> OptionParser:
    """``osp2p crashes``."""
    parser = OptionParser(
        "osp2p crashes",
        "[N] [--seed N] [--keep DIR] [--json]",
        "Kill fetches on this machine (kill -9) N times at random moments, and look at what they leave on the disk,\n"
        "and what their successors make of it. Then kill a tracker, under load, once for every ten of them, and see\n"
        "how soon everything is registered again.",
        [
            ("osp2p crashes", "200 kills"),
            ("osp2p crashes 20 --seed 7", "fewer, at other moments"),
        ],
        _CODES,
    )
    parser.add_words("kills", "N", "how many kills; default 200", 0, 1)
    return _add_trial_options(parser)


def trackerless_parser() -> OptionParser:
    """``osp2p trackerless``."""
    parser = OptionParser(
        "osp2p trackerless",
        "[N] [--seed N] [--keep DIR] [--json]",
        "Let N nodes on this machine share files without any tracker. Kill a third of them (kill -9): every file must\n"
        "still be found and fetched. Stop another third (SIGSTOP): every name must be found, the first result within\n"
        "1 s and all of it within 2 s, at the median.",
        [
            ("osp2p trackerless", "30 nodes"),
            ("osp2p trackerless 60 --seed 7", "more of them, with other files"),
        ],
        _CODES,
    )
    parser.add_words("nodes", "N", "how many nodes; default 30", 0, 1)
    return _add_trial_options(parser)
