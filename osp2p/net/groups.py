"""One error out of a nursery, where only one can matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from osp2p.errors import Osp2pError


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

    Where several tasks failed at a time with errors of ours, the first stands for all. A group with anything else in
    it is a fault of the program and passes as it is; so does cancellation.

    Source: trio's own `open_tcp_stream` and websockets' trio client unwrap in the same way at their boundary.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found = [leaf for leaf in leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if found and all(isinstance(leaf, Osp2pError) for leaf in found):
            raise found[0] from group
        if len(found) == 1:
            raise found[0] from group
        raise
