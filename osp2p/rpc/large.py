"""Reading documents without holding up what else the process does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from osp2p.limits import KIB

T = TypeVar("T")

#: Documents from this length on are read in a worker thread: one takes some milliseconds.
LARGE = 64 * KIB


async def read_document(parse: Callable[[bytes], T], document: bytes) -> T:
    """What `parse` makes of a document.

    Raises: what `parse` raises.
    """
    if len(document) < LARGE:
        return parse(document)
    return await trio.to_thread.run_sync(parse, document, abandon_on_cancel=True)
