"""Exit codes: one table from our errors to numbers, and the same table for people."""

from __future__ import annotations

from collections.abc import Iterable

from osp2p import errors

DONE = 0
UNEXPECTED = 1
USAGE = 2
NOBODY_HAS_IT = 3
UNREACHABLE = 4
STALLED = 5
MISMATCH = 6
SOME_FAILED = 7
DISK = 8
FAULT = 9
NOT_PASSED = 10
INTERRUPTED = 130
PIPE_CLOSED = 141

#: What each code means, for ``--help`` and the README.
MEANINGS: dict[int, str] = {
    DONE: "done; after get: the bytes are on disk",
    UNEXPECTED: "a fault of this program; OSP2P_DEBUG=1 shows where",
    USAGE: "wrong usage, or a name that cannot be a file's",
    NOBODY_HAS_IT: "nobody has the file, or serves it; nobody knows the node, or has the service",
    UNREACHABLE: "the tracker or the network cannot be reached, or refuses",
    STALLED: "the bytes stopped coming, or came too slowly; a call was not answered in time",
    MISMATCH: "what arrived is not what was announced, or nothing proves it and --require-verified asks for proof",
    SOME_FAILED: "some files arrived and some did not, or they failed for different reasons",
    DISK: "the local disk: full, locked, not readable or writable, or the file is larger than allowed",
    FAULT: "the called method failed, on the other node",
    NOT_PASSED: "graded or replayed, it did not pass all that was asked; not all that a scenario expects came true",
    INTERRUPTED: "interrupted (a tracker or a sharer that is told to end: 0)",
    PIPE_CLOSED: "the program that read our output went away",
}

#: Every class of osp2p.errors, each by itself: a new one must be thought about here.
CODES: dict[type[errors.Osp2pError], int] = {
    errors.Osp2pError: UNEXPECTED,
    errors.LocalProtocolError: UNEXPECTED,
    errors.RemoteProtocolError: UNREACHABLE,
    errors.LineTooLong: UNREACHABLE,
    errors.MalformedLine: UNREACHABLE,
    errors.MalformedDatagram: UNREACHABLE,
    errors.MalformedDocument: UNREACHABLE,
    errors.NetworkError: UNREACHABLE,
    errors.ConnectFailed: UNREACHABLE,
    errors.ConnectionLost: UNREACHABLE,
    errors.TimedOut: UNREACHABLE,
    errors.ListenFailed: UNREACHABLE,
    errors.TrackerError: UNREACHABLE,
    errors.TrackerUnreachable: UNREACHABLE,
    errors.TrackerRefused: UNREACHABLE,
    errors.OverlayError: UNREACHABLE,
    errors.OverlayUnreachable: UNREACHABLE,
    errors.NotStored: UNREACHABLE,
    errors.TransferError: UNEXPECTED,
    errors.NobodyHasIt: NOBODY_HAS_IT,
    errors.SourceRefused: NOBODY_HAS_IT,
    errors.Stalled: STALLED,
    errors.TooLarge: DISK,
    errors.Unverified: MISMATCH,
    errors.ChecksumMismatch: MISMATCH,
    errors.ContentChanged: MISMATCH,
    errors.StoreError: DISK,
    errors.DiskFull: DISK,
    errors.TargetLocked: DISK,
    errors.SourceChanged: DISK,
    errors.CallError: UNREACHABLE,
    errors.NodeNotFound: NOBODY_HAS_IT,
    errors.NetworkFailed: UNREACHABLE,
    errors.CallTimedOut: STALLED,
    errors.Refused: UNREACHABLE,
    errors.Fault: FAULT,
    errors.UnsafeName: USAGE,
    errors.AttackError: USAGE,
    errors.UnknownAttack: USAGE,
    errors.NotAllowed: USAGE,
    errors.GradeError: USAGE,
    errors.CommandFailed: USAGE,
    errors.NothingAsked: USAGE,
}


def exit_code(error: errors.Osp2pError) -> int:
    """The code of one error: its class's, or that of the nearest class above it."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def exit_code_of_files(arrived: int, failures: Iterable[errors.Osp2pError]) -> int:
    """The code of a fetch of several files.

    Args:
        arrived: how many files are here.
        failures: why each other one is not.
    """
    codes = {exit_code(error) for error in failures}
    if not codes:
        return DONE
    return codes.pop() if len(codes) == 1 and arrived == 0 else SOME_FAILED


def describe_codes() -> str:
    """The table as text, one line for each code."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
