"""A node whose reports are shown: taken in its own tasks, written in one of ours, which may fail."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from osp2p.net.groups import one_error
from osp2p.peer.events import Event, Report
from osp2p.peer.node import Node, open_node


@asynccontextmanager
async def open_shown_node(
    arguments: Namespace, trackers: Sequence[str], show: Callable[[Event], None]
) -> AsyncIterator[tuple[Node, Report]]:
    """Open a node as the arguments say.

    Args:
        arguments: `alias` and `port`.
        trackers: as `open_node` takes them.
        show: gets each event; what it raises ends the block.

    Yields: the node, and what takes further events for `show`, as reports of single transfers.
    """
    send, receive = trio.open_memory_channel[Event](float("inf"))

    async def show_all() -> None:
        async for event in receive:
            show(event)

    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show_all)
            with send:
                async with open_node(
                    trackers=trackers, alias=arguments.alias, port=arguments.port, report=send.send_nowait
                ) as node:
                    yield node, send.send_nowait
