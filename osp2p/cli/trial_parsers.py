"""The options of ``crashes`` and ``siege``: declarations, no work."""

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
