"""``siege``: shows a long run in which everything attacks an honest swarm, and whether all held that must."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from math import inf

from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.records import Record
from osp2p.cli.signals import Ending
from osp2p.cli.text import count_of, format_size
from osp2p.cli.trials import number_of, open_place, show
from osp2p.lab.besiegers import NICENESS
from osp2p.lab.process import ProgramEnded
from osp2p.lab.siege import BESIEGERS, LEAST_RATE, Phase, Plan, Siege, run_siege
from osp2p.lab.text import lay_out

DEFAULT_MINUTES = 5

#: How long the swarm fetches alone, in seconds: a part of the whole, within bounds.
_ALONE_SHARE = 0.2
_ALONE_SECONDS = (20.0, 60.0)


async def run_siege_trial(arguments: Namespace, console: Console, ending: Ending) -> int:
    """Run ``osp2p siege``.

    Returns: the exit code: whether all held that must.

    Raises:
        UsageError: MINUTES is no number.
        StoreError: the directory that is to be kept cannot be made.

    Cancellation: every process that was started is ended.
    """
    minutes = number_of(arguments.minutes, DEFAULT_MINUTES, "minutes")
    least, most = _ALONE_SECONDS
    plan = Plan(alone=min(max(60 * minutes * _ALONE_SHARE, least), most), besieged=60.0 * minutes)

    def tell(line: str) -> None:
        show(console, {"event": "step", "text": line}, f"  {line}")

    with open_place(arguments.keep) as directory:
        ending.last_words = lambda: console.fault("interrupted")
        title = f"{plan.members} peers and {plan.files} files, {count_of(minutes, 'minute')}, seed {arguments.seed}"
        show(console, {"event": "trial", "trial": "siege", "title": title}, f"siege: {title}", "")
        try:
            siege = await run_siege(plan, arguments.seed, directory, tell)
        except ProgramEnded as error:
            show(console, {"event": "end", "failed": str(error), "exit": NOT_PASSED}, "", f"siege: failed: {error}")
            return NOT_PASSED
        ending.last_words = None
    code = NOT_PASSED if siege.faults else DONE
    phases = {"alone": _phase_record(siege.alone), "besieged": _phase_record(siege.besieged)}
    record: Record = {"event": "end", **asdict(siege), **phases, "attacks": dict(siege.attacks), "exit": code}
    show(console, record, "", *_describe(siege, plan))
    return code


def _phase_record(phase: Phase) -> Record:
    times = {key: None if time == inf else time for key, time in _percentiles(phase).items()}
    return {**asdict(phase), "blamed": dict(phase.blamed), "latencies": times}


def _percentiles(phase: Phase) -> dict[str, float]:
    times = phase.latencies or [0.0]
    return {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "longest": times[-1]}


def _describe(siege: Siege, plan: Plan) -> Iterator[str]:
    yield from lay_out(("", "alone", "besieged", ""), list(_phases(siege)))
    kept = siege.besieged.rate / max(siege.alone.rate, 1.0)
    yield f"the rate under siege is {kept:.0%} of that alone (at least {LEAST_RATE:.0%})"
    yield ""
    workers = ", ".join(f"{count} at a time against {kind}" for kind, count in BESIEGERS.items())
    yield f"attackers: {len(siege.attacks)} of {siege.kinds} different attacks, {siege.attacks.total()} in all"
    yield f"  {workers}; each ended after {plan.attack:g} s"
    yield f"  niceness {NICENESS}, {format_size(siege.sent)} sent"
    again = "; ".join(f"{name} ({why})" for name, why in siege.suspected.items())
    if again:
        yield f"  run again alone, because they seemed to succeed: {again}"
    yield ""
    head = ("process", "memory peak", "descriptors", "tasks", "longest stall alone", "besieged", "")
    yield from lay_out(head, list(_processes(siege)))
    yield ""
    yield from (f"  NO   {fault}" for fault in siege.faults)
    yield f"siege: {count_of(len(siege.faults), 'fault') if siege.faults else 'all held that must'}"


def _phases(siege: Siege) -> Iterator[tuple[str, str, str, str]]:
    phases = (siege.alone, siege.besieged)
    times = [_percentiles(phase) for phase in phases]

    def row(what: str, *values: str) -> tuple[str, str, str, str]:
        return (what, values[0], values[1], "")

    yield row("seconds", *(f"{phase.seconds:.0f}" for phase in phases))
    yield row("files that arrived, all verified", *(f"{phase.files:,}" for phase in phases))
    yield row("bytes of them", *(format_size(phase.bytes) for phase in phases))
    yield row("bytes that came for them", *(format_size(phase.received) for phase in phases))
    yield row("rate of all together", *(f"{format_size(phase.rate)}/s" for phase in phases))
    yield row("sources that were left", *(f"{phase.blamed.total():,}" for phase in phases))
    yield row("tracker's answers, p50", *(f"{time['p50']:.1f} ms" for time in times))
    yield row("tracker's answers, p99", *(f"{time['p99']:.1f} ms" for time in times))
    yield row("processor, of the besieged", *(f"{phase.processor[0]:.0f} s" for phase in phases))
    yield row("processor, of the attackers", *(f"{phase.processor[1]:.0f} s" for phase in phases))


def _processes(siege: Siege) -> Iterator[tuple[str, ...]]:
    for who, peak in siege.peaks.items():
        before, after = siege.held.get(who, ({}, {}))
        held = [f"{before[key]} → {after[key]}" if before else "" for key in ("descriptors", "tasks")]
        stalls = [phase.stalls.get(who) for phase in (siege.alone, siege.besieged)]
        shown = ["" if stall is None else f"{stall * 1000:.0f} ms" for stall in stalls]
        yield (who, format_size(peak), *held, *shown, "")
