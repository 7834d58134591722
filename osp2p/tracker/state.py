"""What all connections of one tracker share, and what one connection has said so far. No socket in it."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from osp2p.limits import Limits
from osp2p.net.admission import source_of
from osp2p.net.lane import Making, make_at_once
from osp2p.tracker.holdings import Peer
from osp2p.tracker.lines import Fakes, how_few
from osp2p.tracker.registry import Registry
from osp2p.wire.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """The options of the 2007 tracker.

    Attributes:
        local: new peers on this host are told to register 127.x (``-l``); base peers do so anyway.
        own_host_only: list only peers on the tracker's own host, and ignore the registrations of others (``-x``).
        fakes: name 250 peers that are not there in every answer (``-f``).
    """

    local: bool = False
    own_host_only: bool = False
    fakes: bool = False


class Subscriptions(Protocol):
    """Who is told of new peers by NOTIFY; the doing is the server's."""

    def subscribe(self, peer: Peer) -> None:
        """Tell this peer of new ones from now on."""

    def unsubscribe(self, peer: Peer) -> None:
        """Tell this peer no more."""

    def tell(self, new: Peer) -> None:
        """Tell everybody who asked for it of a new peer."""


class TrackerState:
    """What all connections of one tracker share.

    Args:
        own_addresses: gives the addresses of the tracker's own host, as numeric text.
        subscriptions: carries out NOTIFY.
        rng: puts holders into random order and invents the peers of ``-f``.
        on_backlog: called when a peer has left that held so much that `Registry.forget_some` must go on with it.
    """

    def __init__(
        self,
        options: TrackerOptions,
        limits: Limits,
        own_addresses: Callable[[], Collection[str]],
        subscriptions: Subscriptions,
        rng: random.Random,
        on_backlog: Callable[[], None],
    ) -> None:
        self.options = options
        self.limits = limits
        self.own_addresses = own_addresses
        self.subscriptions = subscriptions
        self.rng = rng
        self._on_backlog = on_backlog
        self.registry = Registry(limits)
        self.fakes = Fakes(rng) if options.fakes else None
        #: Of a name with so many holders, a WANT names all, and nobody else.
        self.few = how_few(limits) if self.fakes is None else 0
        #: The connections that have said BLOCKNOTIFY.
        self.listeners: dict[Session, None] = {}
        #: How many peers of each source are logged in.
        self._sources: Counter[str] = Counter()

    def may_login(self, session: Session) -> bool:
        """Whether one more peer may be where this connection comes from."""
        return self._sources[source_of(session.remote.host)] < self.limits.max_peers_per_host

    def login(self, session: Session, peer: Peer) -> None:
        """Enter a connection's peer, and tell everybody who asked to be told."""
        session.peer = peer
        self._sources[source_of(session.remote.host)] += 1
        self.registry.login(peer)
        session.on_login()
        for listener in self.listeners:
            if listener is not session:
                listener.hear(peer)
        self.subscriptions.tell(peer)

    def logout(self, session: Session) -> None:
        """Forget a connection, and its peer with all that it registered. Safe to call twice."""
        self.listeners.pop(session, None)
        peer = session.peer
        if peer is not None and not peer.gone:
            source = source_of(session.remote.host)
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]
            self.subscriptions.unsubscribe(peer)
            if self.registry.leave(peer):
                self._on_backlog()


class Session:
    """One connection, as the handlers of verbs see it.

    Attributes:
        remote: where it comes from.
        local: the address at which it reached the tracker.
        hello: whether it said HELLO.
        commanded: whether it has said anything but blank lines.
        peer: what it registered as by ADDR.
        ignored: whether its ADDR was answered but not entered (``-x``).
        waiting: whether BLOCKNOTIFY has not been answered yet.
        wake: called when the answer to BLOCKNOTIFY is there.
        closing: whether it said QUIT.
        on_login: called when ADDR has entered its peer.
        attention: whether the server must look at `waiting`, `costly` and `closing`, or give others a turn, before it
            goes on.
        at_once: whether costly answers are given at once, too.
        costly: what makes the answer that was just asked for, if it is costly, and so was not given.
    """

    __slots__ = (
        "_news", "at_once", "attention", "closing", "commanded", "costly", "hello", "ignored", "local", "on_login",
        "peer", "remote", "state", "waiting", "wake",
    )  # fmt: skip

    def __init__(
        self, state: TrackerState, remote: Address, local: Address, on_login: Callable[[], None] | None = None
    ) -> None:
        self.state = state
        self.on_login = on_login or _nothing
        self.remote = remote
        self.local = local
        self.hello = False
        self.commanded = False
        self.peer: Peer | None = None
        self.ignored = False
        self.waiting = False
        self.wake: Callable[[], None] = _nothing
        self.closing = False
        self.attention = False
        self.at_once = True
        self.costly: Making | None = None
        self._news: deque[bytes] = deque(maxlen=state.limits.max_block_queue)

    def is_own_host(self) -> bool:
        """Whether it comes from the tracker's own host."""
        remote = self.remote
        return remote.is_loopback or remote.host == self.local.host or remote.host in self.state.own_addresses()

    def give(self, making: Making) -> bytes:
        """Give a costly answer, or put it off. Returns: b"" if it was put off."""
        self.attention = True
        if self.at_once:
            return make_at_once(making)
        self.costly = making
        return b""

    def hear(self, new: Peer) -> None:
        """Take note of a new peer, for BLOCKNOTIFY."""
        line = new.hello_line if self.hello else new.base_line
        if line:
            self._news.append(line)
            self.wake()

    def take_news(self) -> bytes | None:
        """The PEER line, with its LF, of the oldest new peer that this connection has not been told of."""
        return self._news.popleft() if self._news else None


def _nothing() -> None:
    """What is called where nobody wants to know."""
