"""``grade``: what is asked for in words, what came of it as a table, records, XML or a page."""

from __future__ import annotations

import ipaddress
import os
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.grade_parsers import KINDS, read_address
from osp2p.cli.records import Record
from osp2p.cli.text import count_of, escape
from osp2p.evil import LOOPBACK, Subnet
from osp2p.grade.html import write_html
from osp2p.grade.junit import write_junit
from osp2p.grade.run import Server, Terms, checks_of, grade_server
from osp2p.grade.transcript import write_entry
from osp2p.grade.verdict import Check, Grade, Judged, Selection
from osp2p.net.errors import disk_errors

_MARKS = {"passed": "ok", "failed": "FAILED", "not offered": "-"}


async def grade(arguments: Namespace, console: Console) -> int:
    """Grade a program. Returns: the exit code.

    Raises:
        UsageError, GradeError, AttackError, NetworkError, TransferError, StoreError.
    """
    kind, *rest = arguments.words
    if kind not in KINDS:
        raise UsageError(f"there is no grade for '{escape(kind)}': one of {', '.join(KINDS)}")
    if arguments.list:
        _list(console, _selected(_checks(kind, thorough=arguments.thorough), arguments))
        return DONE
    reports = [path for path in (arguments.junit, arguments.html) if path]
    _check_writable(reports)
    found = await _grade(kind, rest, arguments, console)
    _show_end(found, console)
    if arguments.junit:
        _write(arguments.junit, write_junit(found))
    if arguments.html:
        _write(arguments.html, write_html(found))
    return DONE if found.passed else NOT_PASSED


def _checks(kind: str, *, thorough: bool) -> list[Check]:
    if kind == "downloader":
        from osp2p.grade.downloader import downloader_checks

        return downloader_checks(thorough=thorough)
    return checks_of("tracker" if kind == "tracker" else "peer")


def _selected(checks: Iterable[Check], arguments: Namespace) -> list[Check]:
    selection = _selection(arguments)
    return [check for check in checks if selection.takes(check)]


def _selection(arguments: Namespace) -> Selection:
    return Selection(tuple(arguments.only), tuple(arguments.skip))


def _list(console: Console, checks: Iterable[Check]) -> None:
    if console.json:
        console.records({"id": check.id, "category": check.category, "title": check.title} for check in checks)
    else:
        console.say(*(f"{check.id:<34} {check.category:<11} {check.title}" for check in checks))


def _write(path: str, text: str) -> None:
    with disk_errors(f"cannot write {escape(path)}"):
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


def _check_writable(paths: Iterable[str]) -> None:
    """Find out before the work, not after it, that a report has no place."""
    for path in paths:
        with disk_errors(f"cannot write {escape(path)}"), open(path, "ab"):
            pass


async def _grade(kind: str, rest: list[str], arguments: Namespace, console: Console) -> Grade:
    show = Display(console).show
    if kind == "downloader":
        from osp2p.grade.downloader import DownloaderTerms, grade_downloader

        if rest or not arguments.command:
            raise UsageError("a downloader is started here: osp2p grade downloader -- COMMAND…")
        return await grade_downloader(
            DownloaderTerms(
                command=tuple(arguments.command),
                seed=arguments.seed,
                selection=_selection(arguments),
                within=arguments.patience or 60.0,
                keeps_running=arguments.keeps_running,
                thorough=arguments.thorough,
            ),
            show,
        )
    if not rest:
        raise UsageError(f"where is the {kind}? osp2p grade {kind} HOST:PORT")
    host, port = read_address(rest[0])
    server: Literal["tracker", "peer"] = "tracker" if kind == "tracker" else "peer"
    return await grade_server(server, host, port, _terms(server, arguments), show)


def _terms(kind: Server, arguments: Namespace) -> Terms:
    if kind == "peer" and not arguments.file:
        raise UsageError("which file does the peer share? --file NAME")
    content = None
    if arguments.content:
        with disk_errors(f"cannot read {escape(arguments.content)}"):
            content = Path(arguments.content).read_bytes()
    return Terms(
        seed=arguments.seed,
        selection=_selection(arguments),
        patience=None if arguments.thorough else arguments.patience or 5.0,
        allowed=(*LOOPBACK, *map(_network, arguments.network_i_own)),
        command=tuple(arguments.command),
        name=os.fsencode(arguments.file or ""),
        content=content,
        forbidden=tuple(map(os.fsencode, arguments.forbidden)),
    )


def _network(text: str) -> Subnet:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"--network-i-own {escape(text)}: {error}") from None


class Display:
    """Shows each verdict as it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._gone = False

    def show(self, judged: Judged) -> None:
        """Show one verdict."""
        if self._console.json:
            self._console.records([judged_record(judged)])
            return
        if self._console.quiet and judged.outcome in ("passed", "not offered"):
            return
        if judged.outcome == "not run":
            if not self._gone:
                self._console.say(f"NOT RUN  the other checks: {judged.reason}")
            self._gone = True
            return
        lines = [f"{_MARKS[judged.outcome]:<8} {judged.check.id:<34} {_aside(judged)}".rstrip()]
        if judged.outcome == "failed":
            lines.append(f"         {judged.reason}")
        self._console.say(*lines)


def _aside(judged: Judged) -> str:
    """What stands behind a check's id."""
    if judged.outcome == "not offered":
        return "not offered"
    if judged.check.category == "speed" and judged.figures:
        return ", ".join(f"{name} {value}" for name, value in judged.figures.items())
    return f"{judged.seconds:.2f} s"


def judged_record(judged: Judged) -> Record:
    """A verdict as a record; with the evidence, where it did not pass."""
    record: Record = {"event": "check", "id": judged.check.id, "category": judged.check.category}
    record |= {"outcome": judged.outcome, "reason": judged.reason, "seconds": round(judged.seconds, 3)}
    record |= {"title": judged.check.title, "figures": dict(judged.figures)}
    if judged.outcome == "failed":
        record["evidence"] = [write_entry(entry) for entry in judged.evidence]
    return record


def _show_end(found: Grade, console: Console) -> None:
    if console.json:
        scores = [
            {"category": score.category, "passed": score.passed, "asked": score.asked, "percent": score.percent}
            for score in found.scores()
        ]
        record: Record = {"event": "grade", "kind": found.kind, "target": found.target, "seed": found.seed}
        record |= {"seconds": round(found.seconds, 3), "passed": found.passed, "scores": scores}
        console.records([record])
        return
    console.say("", *(_score_line(score.category, score.passed, score.asked) for score in found.scores()))
    wrong = sum(one.outcome in ("failed", "not run") for one in found.judged)
    end = "all that was asked passed" if found.passed else f"{count_of(wrong, 'check')} did not pass"
    console.say("", f"{found.kind} {found.target}: {end}, in {found.seconds:.1f} s, seed {found.seed}")


def _score_line(category: str, passed: int, asked: int) -> str:
    if not asked:
        return f"{category:<11} not offered"
    return f"{category:<11} {passed:>3} of {asked:<3} {100 * passed // asked:>4} %"
