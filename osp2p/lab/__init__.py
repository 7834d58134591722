"""The lab: builds the world of a scenario's table from real processes, and judges what came true."""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str]) -> int:
    """``osp2p lab``: run a scenario and print what happened.

    Returns: 0 if all that its table expects came true, 1 if not, 2 for a wrong command line, 130 if interrupted.
    """
    from osp2p.lab.command import run  # trio is loaded late: --help need not wait for it

    return run(args)


__all__ = ["main"]
