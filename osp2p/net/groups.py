"""One error out of a nursery, where only one can matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from osp2p.errors import LocalProtocolError, Osp2pError


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The single exceptions in a group of groups; an exception that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


@contextmanager
def one_error() -> Iterator[None]:
    """Raise the one error that a nursery in the body wrapped, so that callers can catch it by its class.

    Where several tasks failed at a time with errors of ours, the first stands for all, unless one of them is
    `LocalProtocolError`: a fault is never hidden by an accident. It keeps its cause. A group of several errors with a
    foreign one among them passes as it is, and so does a group of cancellations alone.

    Source: trio's own `open_tcp_stream` and websockets' trio client unwrap in the same way at their boundary.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found = [leaf for leaf in leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if len(found) == 1 or (found and all(isinstance(leaf, Osp2pError) for leaf in found)):
            error = next((leaf for leaf in found if isinstance(leaf, LocalProtocolError)), found[0])
            raise error from error.__cause__
        raise
