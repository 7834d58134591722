"""``trackerless``: a network of processes without a tracker, and what becomes of it when most of them go."""

from __future__ import annotations

from argparse import Namespace

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.signals import Ending
from osp2p.cli.text import count_of
from osp2p.cli.trials import number_of, open_place, show
from osp2p.lab.process import ProgramEnded
from osp2p.lab.trackerless import Trackerless, run_trackerless

DEFAULT_NODES = 30


async def run_trackerless_trial(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Run ``osp2p trackerless``.

    Returns: the exit code: whether all held that must.

    Raises:
        UsageError: N is no number.
        StoreError: the directory that is to be kept cannot be made.

    Cancellation: every process that was started is ended.
    """
    nodes = number_of(arguments.nodes, DEFAULT_NODES, "nodes")
    if nodes < 9 or nodes > 300:
        raise UsageError("such a network has 9 to 300 nodes")

    def tell(line: str) -> None:
        show(console, {"event": "step", "text": line}, f"  {line}")

    with open_place(arguments.keep) as directory:
        ending.last_words = lambda: console.fault("interrupted")
        title = f"{count_of(nodes, 'node')}, no tracker, a third killed, a third stopped"
        show(console, {"event": "trial", "trial": "trackerless", "title": title}, f"trackerless: {title}", "")
        try:
            result = await run_trackerless(nodes, arguments.seed, directory, tell)
        except ProgramEnded as error:
            failed = {"event": "end", "failed": str(error), "exit": NOT_PASSED}
            show(console, failed, "", f"trackerless: failed: {error}")
            return NOT_PASSED
        ending.last_words = None
    return _report(console, result)


def _report(console: Console, result: Trackerless) -> int:
    code = NOT_PASSED if result.faults else DONE
    first, whole = result.medians
    record = {
        "event": "end",
        "nodes": result.nodes,
        "announced": result.announced,
        "fetched": result.fetched,
        "first_median": first,
        "whole_median": whole,
        "faults": result.faults,
        "exit": code,
    }
    verdict = count_of(len(result.faults), "fault") if result.faults else "all held that must"
    show(console, record, "", *(f"  NO   {fault}" for fault in result.faults), f"trackerless: {verdict}")
    return code
