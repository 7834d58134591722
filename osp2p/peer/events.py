"""What a node tells its user while it works: small frozen values, given to a callback or an async iterator.

Names, aliases and texts in events are as they came from the network: hostile until they are escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from osp2p.errors import Osp2pError
from osp2p.wire.address import Address


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""


Report = Callable[[Event], None]
"""Takes events as they happen, in the node's own task: it must return at once and may not raise."""


# --- sharing ---


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """The node's port is open."""

    address: Address


@dataclass(frozen=True, slots=True)
class TrackerConnected(Event):
    """A tracker knows us as `alias` at `address`; `hello` tells whether it speaks OSP2P/2."""

    tracker: str
    alias: bytes
    address: Address
    hello: bool


@dataclass(frozen=True, slots=True)
class TrackerLost(Event):
    """The connection to a tracker is gone, or could not be made; it is tried again in `retry_in` seconds."""

    tracker: str
    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class Joined(Event):
    """The node has found others in the overlay.

    Attributes:
        neighbours: how many it knows by now.
    """

    neighbours: int


@dataclass(frozen=True, slots=True)
class Alone(Event):
    """The node knows nobody in the overlay; it goes on trying.

    Attributes:
        port: where others can join through it.
        tried: where nodes should be; empty if nobody said.
        other_network: one of them, if it belongs to another network.
    """

    port: int
    tried: tuple[Address, ...]
    other_network: Address | None


@dataclass(frozen=True, slots=True)
class TrackerSaid(Event):
    """A remark of the tracker about our registration (a context line), for people."""

    tracker: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Registered(Event):
    """All that waited to be registered has been answered: the tracker lists `registered` of our `total` names."""

    tracker: str
    registered: int
    total: int


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """A name of ours is not registered, though the file is there; `reason` says why."""

    tracker: str
    name: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class FileAdded(Event):
    """A file of a shared directory is offered now (`changed`: with other content than before)."""

    name: bytes
    size: int
    changed: bool = False


@dataclass(frozen=True, slots=True)
class FileRemoved(Event):
    """A file is offered no longer."""

    name: bytes


@dataclass(frozen=True, slots=True)
class NotShared(Event):
    """Something in a shared directory is left out; `reason` says why."""

    name: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Uploaded(Event):
    """An upload ended: `sent` bytes of `name` to `remote`, in one request or several; `error` if it broke off."""

    name: bytes
    remote: Address
    sent: int
    error: Osp2pError | None = None


# --- fetching ---


@dataclass(frozen=True, slots=True)
class Source:
    """One holder and what it gave to a file: `fetched` bytes, and why it was left (`error`), if it was."""

    alias: bytes
    address: Address
    fetched: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NamedContent:
    """One of the contents that a name stands for.

    Attributes:
        b3: its content id, 64 hex digits.
        size: bytes, as claimed; None if nobody says it.
        holders: how many have all of it, as a tracker counts them.
        partial: how many have a part of it.
        link: fetches it, whatever else the name stands for.
    """

    b3: str
    size: int | None
    holders: int
    partial: int
    link: str


@dataclass(frozen=True, slots=True)
class SeveralContents(Event):
    """A name stands for several contents. `chosen` is the b3 of the one that is fetched: what the trackers say the name
    stands for, unless a link named another. None: its b3 is not known yet."""

    name: bytes
    chosen: str | None
    contents: tuple[NamedContent, ...]


@dataclass(frozen=True, slots=True)
class TransferStarted(Event):
    """The tracker named holders for a file. `size` is None until it is known."""

    name: bytes
    size: int | None
    holders: int


@dataclass(frozen=True, slots=True)
class TransferProgress(Event):
    """`done` bytes of `size` are here (`resumed` of them from before), coming from `sources` holders now."""

    name: bytes
    done: int
    size: int | None
    sources: int
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class SourceFailed(Event):
    """A holder of a file was left."""

    name: bytes
    alias: bytes
    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Remark(Event):
    """Something about a file that its user should know, e.g. that its name stands for several contents."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class TransferDone(Event):
    """A file is on disk under its final name.

    Attributes:
        path: where; with `already` it was there before, with the same content.
        size: bytes.
        fetched: bytes that came over the network for it, useless ones included.
        resumed: bytes that were there from an earlier run.
        verified: how it was proved: "md5", "b3", or None.
        seconds: from the start of this fetch to the rename.
        sources: who gave what.
    """

    name: bytes
    path: Path
    size: int
    fetched: int
    resumed: int
    verified: str | None
    seconds: float
    already: bool = False
    sources: tuple[Source, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class TransferFailed(Event):
    """A file did not arrive. Nothing is under its final name.

    Attributes:
        error: one of ours; its class decides the exit code.
        fetched: bytes that came over the network for it.
        sources: who gave what.
        size: bytes of the file, as claimed; None if nobody says.
        resumed: bytes that were there from an earlier run.
        proved: bytes that are here and proved, for a later run.
    """

    name: bytes
    error: Osp2pError
    fetched: int = 0
    sources: tuple[Source, ...] = field(default=())
    size: int | None = None
    resumed: int = 0
    proved: int = 0
