"""What a node tells, as lines for people. `Console` escapes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from osp2p.cli.text import count_of, escape, format_rate, format_size
from osp2p.peer.events import (
    Alone,
    Event,
    FileAdded,
    FileRemoved,
    Joined,
    Listening,
    NamedContent,
    NotShared,
    Registered,
    Remark,
    SeveralContents,
    SourceFailed,
    TrackerConnected,
    TrackerLost,
    TrackerSaid,
    TransferDone,
    TransferFailed,
    TransferProgress,
    TransferStarted,
    Uploaded,
    Withdrawn,
)
from osp2p.wire.address import Address

Kind = TypeVar("Kind", bound=Event)

#: How many other contents of a name a line shows; records have them all.
_MOST_OTHERS = 3

_WRITERS: dict[type[Event], Callable[..., str | None]] = {}


def event_line(event: Event) -> str | None:
    """Write an event as one line; None where a person needs none."""
    return _WRITERS[type(event)](event)


def detail_lines(event: Event) -> Iterator[str]:
    """Write what only those want to know who ask for more: a file's beginning, and who gave what of it."""
    if isinstance(event, TransferStarted):
        size = "size unknown" if event.size is None else format_size(event.size)
        yield f"{escape(event.name)}: {count_of(event.holders, 'holder')}, {size}"
    elif isinstance(event, TransferDone | TransferFailed):
        for source in event.sources:
            yield (
                f"{escape(event.name)}: {format_size(source.fetched)} from {_holder(source.alias, source.address)}"
                + (f", which was left: {source.error}" if source.error else "")
            )


def _holder(alias: bytes, address: Address) -> str:
    """Write who a holder is; one that the overlay names has no alias but its address."""
    name = escape(alias)
    return name if name == str(address) else f"{name} at {address}"


def _writes(kind: type[Kind]) -> Callable[[Callable[[Kind], str | None]], Callable[[Kind], str | None]]:
    def enter(function: Callable[[Kind], str | None]) -> Callable[[Kind], str | None]:
        _WRITERS[kind] = function
        return function

    return enter


@_writes(Listening)
def _listening(event: Listening) -> str:
    return f"serving files on port {event.address.port}"


@_writes(TrackerConnected)
def _tracker_connected(event: TrackerConnected) -> str:
    old = "" if event.hello else ", as in 2007"
    return f"tracker {event.tracker} knows this peer as {escape(event.alias)} at {event.address}{old}"


@_writes(TrackerLost)
def _tracker_lost(event: TrackerLost) -> str:
    return f"tracker {event.tracker} is out of reach: {event.reason}; trying again"


@_writes(Joined)
def _joined(event: Joined) -> str:
    return f"joined the overlay: {count_of(event.neighbours, 'neighbour')} so far"


@_writes(Alone)
def _alone(event: Alone) -> str:
    if event.other_network is not None:
        return f"the node at {event.other_network} belongs to another network; trying again"
    if event.tried:
        return f"alone in the overlay: no answer from {', '.join(map(str, event.tried))}; trying again"
    return f"alone in the overlay so far: others join through port {event.port} of this machine"


@_writes(TrackerSaid)
def _tracker_said(event: TrackerSaid) -> str:
    return f"tracker {event.tracker} says: {escape(event.text)}"


@_writes(Registered)
def _registered(event: Registered) -> str:
    return f"{event.registered} of {event.total} registered at {event.tracker}"


@_writes(Withdrawn)
def _withdrawn(event: Withdrawn) -> str:
    return f"{escape(event.name)}: not registered at {event.tracker}: {event.reason}"


@_writes(FileAdded)
def _file_added(event: FileAdded) -> str:
    return f"{escape(event.name)}: {'changed' if event.changed else 'shared'}, {format_size(event.size)}"


@_writes(FileRemoved)
def _file_removed(event: FileRemoved) -> str:
    return f"{escape(event.name)}: no longer shared"


@_writes(NotShared)
def _not_shared(event: NotShared) -> str:
    return f"{escape(event.name)}: not shared: {event.reason}"


@_writes(Uploaded)
def _uploaded(event: Uploaded) -> str:
    end = f", then {event.error}" if event.error else ""
    return f"{escape(event.name)}: {format_size(event.sent)} sent to {event.remote}{end}"


@_writes(TransferStarted)
def _started(event: TransferStarted) -> None:
    return None


@_writes(TransferProgress)
def _progress(event: TransferProgress) -> None:
    return None


@_writes(SourceFailed)
def _source_failed(event: SourceFailed) -> str:
    reason = event.reason.removeprefix(f"{event.address}: ")
    return f"{escape(event.name)}: {_holder(event.alias, event.address)} was left: {reason}"


@_writes(Remark)
def _remark(event: Remark) -> str:
    return f"{escape(event.name)}: {event.text}" if event.name else event.text


@_writes(SeveralContents)
def _several_contents(event: SeveralContents) -> str:
    chosen = [content for content in event.contents if content.b3 == event.chosen]
    others = [content for content in event.contents if content.b3 != event.chosen]
    fetched = f"b3 {event.chosen} {_numbers(chosen[0])}" if chosen else "the one whose b3 is not known yet"
    links = [f"{content.link} {_numbers(content)}" for content in others]
    more = [f"and {len(links) - _MOST_OTHERS} more"] if len(links) > _MOST_OTHERS else []
    return (
        f"{escape(event.name)} stands for {count_of(len(event.contents), 'content')}; fetched is {fetched};"
        f" to fetch another, get its link: {', '.join(links[:_MOST_OTHERS] + more)}"
    )


def _numbers(content: NamedContent) -> str:
    """How large a content is, and how many hold it, as a tracker says."""
    size = "size unknown" if content.size is None else format_size(content.size)
    partial = f" and {count_of(content.partial, 'partial one')}" if content.partial else ""
    return f"({size}, {count_of(content.holders, 'holder')}{partial})"


@_writes(TransferDone)
def _done(event: TransferDone) -> str:
    proof = f"verified by {event.verified.upper()}" if event.verified else "unverified: no checksum known"
    name = f"{escape(event.name)} -> {event.path}: {format_size(event.size)}"
    if event.already:
        return f"{name}, here already, {proof}"
    if event.size == 0:
        return f"{name}, {proof}"
    givers = len({source.address for source in event.sources if source.fetched})
    rate = format_rate(event.size - event.resumed, event.seconds)
    resumed = f", {format_size(event.resumed)} of it from before" if event.resumed else ""
    return f"{name} from {count_of(givers, 'source')} at {rate}{resumed}, {proof}"


@_writes(TransferFailed)
def _failed(event: TransferFailed) -> str:
    name = escape(event.name)
    return f"{name}: {str(event.error).removeprefix(f'{name}: ')}"
