"""How a command that failed says so: one line for each thing that went wrong, and the exit code."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import TRACEBACK_HINT, Console, discard_stdout, wants_tracebacks
from osp2p.cli.exits import PIPE_CLOSED, UNEXPECTED, USAGE, exit_code_of_files
from osp2p.errors import (
    DiskFull,
    NotAllowed,
    Osp2pError,
    OverlayUnreachable,
    StoreError,
    TargetLocked,
    TrackerUnreachable,
    Unverified,
)

#: What the user can do about an error, where its sentence does not say so already.
HINTS: dict[type[Osp2pError], str] = {
    TrackerUnreachable: "start one with `osp2p tracker`, or name another with -t HOST:PORT",
    OverlayUnreachable: "name a node that is there with --join HOST:PORT, or begin a network with `osp2p node`",
    DiskFull: "make room, or choose another disk",
    TargetLocked: "wait for the other fetch, or choose another place with -o",
    Unverified: "leave out --require-verified to take it unproved",
    NotAllowed: "let attacks go there with --network-i-own ADDR/PREFIX, if it is yours",
}


def report_failure(console: Console, error: BaseException) -> int:
    """Say what ended a command.

    A group stands for the errors in it: what nobody expects comes before what users cause.

    Returns: the exit code. It does not depend on whether there is anybody to hear.
    """
    causes = _causes(error)
    if any(isinstance(cause, BrokenPipeError) for cause in causes):
        discard_stdout()
        return PIPE_CLOSED
    try:
        if wants_tracebacks():
            for line in "".join(traceback.format_exception(error)).splitlines():
                console.fault(line)
        return _complain(console, causes)
    except BrokenPipeError:
        discard_stdout()
        return PIPE_CLOSED


def _causes(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    from osp2p.net.groups import leaves

    return list(leaves(error))


def _complain(console: Console, causes: Sequence[BaseException]) -> int:
    ours = [cause for cause in causes if isinstance(cause, Osp2pError)]
    usage = [cause for cause in causes if isinstance(cause, UsageError)]
    if len(ours) + len(usage) < len(causes):
        unexpected = [cause for cause in causes if not isinstance(cause, Osp2pError | UsageError)]
        _say(console, map(_unexpected_sentence, unexpected))
        return UNEXPECTED
    if console.json and ours:
        from osp2p.cli.records import error_fields

        with suppress(StoreError):  # standard output is full, and standard error says what there is to say
            console.records({"event": "error", **error_fields(cause)} for cause in ours)
    _say(console, (text for cause in causes for text in (_sentence(cause), *getattr(cause, "__notes__", ()))))
    return USAGE if usage else exit_code_of_files(0, ours)


def _unexpected_sentence(cause: BaseException) -> str:
    if isinstance(cause, ModuleNotFoundError):
        return f"the Python package {cause.name} is not installed here: run ./run-good once, then use .venv/bin/python"
    return f"unexpected {type(cause).__name__}: {cause} ({TRACEBACK_HINT})"


def _sentence(cause: BaseException) -> str:
    reasons = [reason for reason in (cause, cause.__cause__) if isinstance(reason, Osp2pError)]
    hint = next((HINTS[type(reason)] for reason in reasons if type(reason) in HINTS), None)
    return f"{cause}; {hint}" if hint else str(cause)


def _say(console: Console, texts: Iterable[str]) -> None:
    for text in dict.fromkeys(texts):
        console.complain(text)
