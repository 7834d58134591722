"""A node whose reports are shown: taken in its own tasks, written in one of ours, which may fail."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext
from typing import TYPE_CHECKING

import trio

from osp2p.net import Admission, Network, TcpNetwork
from osp2p.net.groups import one_error
from osp2p.peer.event_stream import EventStream
from osp2p.peer.events import Event, Registered, Report, TrackerConnected, TrackerLost
from osp2p.peer.node import Node, open_node

if TYPE_CHECKING:
    from osp2p.overlay.node import OverlayOptions


class TrackerNews:
    """Tells which events about trackers say something that was not said before: a tracker may be away for hours."""

    def __init__(self) -> None:
        self._away: set[str] = set()
        self._registered: dict[str, Registered] = {}

    def is_news(self, event: Event) -> bool:
        """Take note of an event. Returns: whether to show it; what is not about trackers is always news."""
        if isinstance(event, TrackerLost):
            known = event.tracker in self._away
            self._away.add(event.tracker)
            return not known
        if isinstance(event, TrackerConnected):
            self._away.discard(event.tracker)
        elif isinstance(event, Registered):  # checksums are registered, too, and change no number
            before, self._registered[event.tracker] = self._registered.get(event.tracker), event
            return event != before
        return True


class ShownNode:
    """A node, and a way to show more beside what it reports itself.

    Attributes:
        node: the node.
        report: shows a further event, in its turn; for single transfers.
    """

    def __init__(self, node: Node, waiting: EventStream[Event | trio.Event]) -> None:
        self.node = node
        self.report: Report = waiting.put
        self._waiting = waiting

    async def shown(self) -> None:
        """Wait until all that has been reported so far is shown."""
        marker = trio.Event()
        self._waiting.put(marker)
        await marker.wait()


def transcribed(path: str | None) -> AbstractContextManager[Network]:
    """This machine's network, all of which is written down in a file, if there is a path.

    Raises:
        StoreError: the file cannot be made.
    """
    if path is None:
        return nullcontext(TcpNetwork())
    from osp2p.grade.recording import recorded

    return recorded(TcpNetwork(), path)


@asynccontextmanager
async def open_shown_node(
    arguments: Namespace,
    trackers: Sequence[str],
    show: Callable[[Event], None],
    admission: Admission | None = None,
    overlay: OverlayOptions | None = None,
    network: Network | None = None,
    together: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> AsyncIterator[ShownNode]:
    """Open a node as the arguments say.

    Args:
        arguments: `alias`, `port`, `limit_up`, `limit_down`, and endings that are not shared in `without`, if any; a
            file for a `transcript`, if any.
        trackers: as `open_node` takes them.
        show: gets each event; what it raises ends the block.
        admission, overlay: as `open_node` takes them.
        network: of a transcript that is written already.
        together: entered around calls of `show` for events that come at one time.
    """
    events = EventStream[Event | trio.Event]()

    async def show_all() -> None:
        async for first in events:
            with together():
                for item in (first, *events.waiting()):
                    if isinstance(item, trio.Event):
                        item.set()
                    else:
                        show(item)

    path = getattr(arguments, "transcript", None)
    with one_error(), transcribed(path) if network is None else nullcontext(network) as seen:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show_all)
            with closing(events):
                async with open_node(
                    trackers=trackers,
                    network=seen,
                    alias=arguments.alias,
                    port=arguments.port,
                    report=events.put,
                    limit_up=arguments.limit_up,
                    limit_down=arguments.limit_down,
                    without=getattr(arguments, "without", ()),
                    admission=admission,
                    overlay=overlay,
                ) as node:
                    yield ShownNode(node, events)
