"""The boundary: what the operating system and trio raise becomes ours here, by one table."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, DiskFull, NetworkError, StoreError, TimedOut

#: trio's exceptions that a connection can raise.
TRIO_ERRORS: dict[type[Exception], type[NetworkError]] = {
    trio.BrokenResourceError: ConnectionLost,
    trio.ClosedResourceError: ConnectionLost,
    trio.TooSlowError: TimedOut,
}

#: errno values of a disk that is full; every other one of a file operation is a plain StoreError.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def describe(error: OSError) -> str:
    """The system's sentence for an error, in lower case and without the number."""
    return (error.strerror or os.strerror(error.errno or 0) or str(error)).lower()


@contextmanager
def network_errors(what: str, *, connecting: bool = False) -> Iterator[None]:
    """Turn OSError and trio's errors of the body into ours.

    Args:
        what: begins the sentence: ``tracker 127.0.0.1:11111``.
        connecting: whether an OSError means that there is no connection yet.

    Raises:
        ConnectFailed, ConnectionLost, TimedOut.
    """
    try:
        yield
    except OSError as error:
        mapped = ConnectFailed if connecting else ConnectionLost
        raise mapped(f"{what}: {describe(error)}") from error
    except tuple(TRIO_ERRORS) as error:
        kind = next(ours for theirs, ours in TRIO_ERRORS.items() if isinstance(error, theirs))
        text = "did not answer in time" if kind is TimedOut else "the connection is closed"
        raise kind(f"{what}: {text}") from error


@contextmanager
def deadline(at: float, what: str) -> Iterator[trio.CancelScope]:
    """Bound the body by an absolute time of trio's clock.

    Raises:
        TimedOut: the deadline passed in the body.
    """
    with trio.move_on_at(at) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TimedOut(f"{what}: not done in time")


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn OSError of the body, which works on local files, into ours.

    Raises:
        DiskFull, StoreError.
    """
    try:
        yield
    except OSError as error:
        mapped = DiskFull if error.errno in DISK_FULL else StoreError
        raise mapped(f"{what}: {describe(error)}") from error
