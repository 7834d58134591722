"""The boundary: what the operating system and trio raise becomes ours here, by one table."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import trio

from osp2p.errors import ConnectFailed, ConnectionLost, DiskFull, LocalProtocolError, Osp2pError, StoreError, TimedOut

#: trio's exceptions that a connection can raise, and what each becomes, with the end of the sentence that says so.
TRIO_ERRORS: dict[type[Exception], tuple[type[Osp2pError], str]] = {
    trio.BrokenResourceError: (ConnectionLost, "the connection is broken"),
    trio.ClosedResourceError: (ConnectionLost, "the connection is closed"),
    trio.BusyResourceError: (LocalProtocolError, "two tasks use one direction of the connection at a time"),
    trio.TooSlowError: (TimedOut, "did not answer in time"),
}

#: Everything that `network_error` can map: for the `except` of a hot path, where a context manager costs too much.
FOREIGN_ERRORS: tuple[type[Exception], ...] = (OSError, *TRIO_ERRORS)

#: errno values of a disk that is full; every other one of a file operation is a plain StoreError.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def describe(error: OSError) -> str:
    """The system's sentence for an error, in lower case and without the number.

    The number is asked before the text, into which trio and others write addresses; a name lookup's error has
    numbers of its own, below zero or not the system's.
    """
    if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or "unknown error").lower()


def network_error(error: Exception, what: str, *, connecting: bool = False) -> Osp2pError:
    """What one of `FOREIGN_ERRORS` becomes.

    Args:
        error: a foreign exception.
        what: begins the sentence: ``tracker 127.0.0.1:11111``.
        connecting: whether an OSError means that there is no connection yet.
    """
    if isinstance(error, OSError):
        return (ConnectFailed if connecting else ConnectionLost)(f"{what}: {describe(error)}")
    ours, text = next(row for theirs, row in TRIO_ERRORS.items() if isinstance(error, theirs))
    return ours(f"{what}: {text}")


@contextmanager
def network_errors(what: str, *, connecting: bool = False) -> Iterator[None]:
    """Turn OSError and trio's errors of the body into ours.

    Args:
        what: begins the sentence.
        connecting: whether an OSError means that there is no connection yet.

    Raises:
        ConnectFailed, ConnectionLost, TimedOut.
        LocalProtocolError: two tasks of ours were in each other's way.
    """
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise network_error(error, what, connecting=connecting) from error


class deadline:
    """Bound the body of a ``with`` by an absolute time of trio's clock. Yields: the scope that does it.

    Args:
        what: begins the sentence, if there is one.

    Raises:
        TimedOut: the deadline passed in the body, and cancelled it there. A body that is through in spite of that
            keeps its result; a cancellation from outside passes unchanged.

    A class, since a generator would cost whoever waits for lines half as much again.
    """

    __slots__ = ("_scope", "_what")

    def __init__(self, at: float, what: object) -> None:
        self._scope = trio.CancelScope(deadline=at)
        self._what = what

    def __enter__(self) -> trio.CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        ends = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise TimedOut(f"{self._what}: not done in time") from None
        return ends


def disk_error(error: OSError, what: str) -> StoreError:
    """What an OSError of a file operation becomes: for loops in which the context manager would cost too much."""
    return (DiskFull if error.errno in DISK_FULL else StoreError)(f"{what}: {describe(error)}")


class disk_errors:
    """Turn OSError of the body, which works on local files, into ours.

    Raises:
        DiskFull, StoreError.

    A class, as a generator would cost more than the system calls of a small file that is served.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise disk_error(error, self._what) from error
