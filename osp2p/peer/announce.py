"""Keeping one tracker told of what this peer shares, across its restarts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import trio

from osp2p.errors import LineTooLong, NetworkError, TrackerError, TrackerRefused, TrackerUnreachable
from osp2p.limits import Limits
from osp2p.net import Network
from osp2p.net.groups import one_error
from osp2p.peer.events import Registered, Report, TrackerConnected, TrackerLost, TrackerSaid, Withdrawn
from osp2p.peer.tracker_client import TrackerClient, open_tracker, reason_of
from osp2p.wire.address import Address
from osp2p.wire.checksum import write_md5
from osp2p.wire.reply import Reply
from osp2p.wire.request import write_request
from osp2p.wire.word import quote

#: How many names are registered in one go, between two looks at what has changed meanwhile.
_BATCH = 10_000

#: What stands for itself in a line of any program, and how long an alias fits the buffers of 2007 by far.
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9._-]")
_PLAIN_ALIAS_BYTES = 100

#: The code of a success that needs a remark, and that of a refusal: of a HAVE beyond a tracker's limit of files, and of
#: a CHECKPEER for somebody whom the tracker does not list.
_REMARK = 220
_REFUSED = 300


class Announcement(NamedTuple):
    """What a tracker is told of one name.

    Attributes:
        size: bytes.
        md5: 16 bytes, or None until it is computed.
        b3: 32 bytes, or None until it is computed.
        partial: still being fetched; only for trackers that said HELLO.
    """

    size: int
    md5: bytes | None = None
    b3: bytes | None = None
    partial: bool = False


class _Line(NamedTuple):
    """A line for the tracker about one name: what it offers, or None where it withdraws."""

    name: bytes
    offers: Announcement | None
    text: bytes


class Told(Protocol):
    """Somebody who is kept told of what this peer shares: a tracker, or the overlay."""

    def offer(self, names: Iterable[tuple[bytes, Announcement]]) -> None:
        """Share these names, or tell more about them."""

    def withdraw(self, names: Iterable[bytes]) -> None:
        """Share these names no longer."""

    async def wait_first_round(self) -> None:
        """Wait until it has been tried once. Raises: TrackerError."""

    async def wait_settled(self) -> None:
        """Wait until it has answered for everything that is offered now."""

    def addresses(self) -> set[Address]:
        """Where it may tell others that we listen."""


class Announcer:
    """Tells one tracker. `offer` and `withdraw` say what is shared; `run` makes the tracker know it.

    Args:
        port: where this peer serves.
        report: takes `TrackerConnected`, `TrackerLost`, `TrackerSaid`, `Registered`, `Withdrawn`.
    """

    def __init__(
        self, network: Network, host: str, port_of_tracker: int, alias: bytes, port: int, limits: Limits, report: Report
    ) -> None:
        self._network = network
        self._host = host
        self._port_of_tracker = port_of_tracker
        self._alias = alias
        self._port = port
        self._limits = limits
        self._report = report
        self.label = str(Address(host, port_of_tracker))
        #: Where the tracker was last told that we listen.
        self.address: Address | None = None
        self._wanted: dict[bytes, Announcement] = {}
        self._partial: set[bytes] = set()
        self._known: dict[bytes, Announcement] = {}
        self._refused: dict[bytes, Announcement] = {}
        self._beyond: dict[bytes, None] = {}
        self._refuses_repeats = False
        self._dirty: dict[bytes, None] = {}
        self._changed = trio.Event()
        self._settled = trio.Event()
        self._first_round = trio.Event()
        self._failure: TrackerError | None = None

    def addresses(self) -> set[Address]:
        """See `Told`."""
        return set() if self.address is None else {self.address}

    def offer(self, names: Iterable[tuple[bytes, Announcement]]) -> None:
        """Share these names, or tell more about them."""
        changed = []
        for name, announcement in names:
            if self._wanted.get(name) != announcement:
                self._wanted[name] = announcement
                (self._partial.add if announcement.partial else self._partial.discard)(name)
                changed.append(name)
        self._mark(changed)

    def withdraw(self, names: Iterable[bytes]) -> None:
        """Share these names no longer."""
        changed = [name for name in names if self._wanted.pop(name, None) is not None]
        self._partial.difference_update(changed)
        self._mark(changed)

    def _mark(self, names: Collection[bytes]) -> None:
        """Note that the tracker is to be told of these."""
        if not names:
            return
        self._dirty.update(dict.fromkeys(names))
        self._settled = trio.Event() if self._settled.is_set() else self._settled
        self._changed.set()

    async def wait_settled(self) -> None:
        """Wait until the tracker has answered for everything that is offered now."""
        await self._settled.wait()

    async def wait_first_round(self) -> None:
        """Wait until the tracker has been tried once.

        Raises:
            TrackerError: it has never taken us so far; it is still tried again. Once it has, this does not raise any
                more: `TrackerLost` tells what becomes of the connection.
        """
        await self._first_round.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Run until cancelled: connect, register, keep up, connect again with back-off."""
        pause = self._limits.reconnect_first
        taken = False
        while True:
            since = float("inf")
            try:
                async with open_tracker(self._network, self._host, self._port_of_tracker, self._limits) as client:
                    await self._log_in(client)
                    since, taken = trio.current_time(), True
                    self._failure = None
                    self._first_round.set()
                    reason = await self._keep_up(client)
            except (TrackerError, NetworkError, LineTooLong) as error:
                reason = reason_of(error, self.label)
                if not taken:
                    lost = TrackerUnreachable(f"tracker {self.label}: {reason}")
                    self._failure = error if isinstance(error, TrackerError) else lost
                    self._first_round.set()
            # A tracker that takes us and hangs up at once is not to be told everything four times a second.
            if trio.current_time() - since >= self._limits.reconnect_most:
                pause = self._limits.reconnect_first
            self._report(TrackerLost(self.label, reason, pause))
            await trio.sleep(pause)
            pause = min(2 * pause, self._limits.reconnect_most)

    async def _log_in(self, client: TrackerClient) -> None:
        """Say ADDR; afterwards the tracker knows nothing of ours yet.

        Raises:
            NetworkError, LineTooLong.
            TrackerRefused: it does not list us.
        """
        address = own_address(client, self._network, self._port)
        alias = self._alias if client.hello else plain_alias(self._alias)
        if not client.hello:  # what answers to nothing may be no tracker at all
            client.patience = self._limits.answer_timeout
        reply = await client.request(write_addr(alias, address))
        client.patience = self._limits.reply_timeout
        if not reply.ok:
            text = reply.text.decode("utf-8", "replace")
            raise TrackerRefused(reply.code, f"tracker {self.label} does not register us at {address}: {text}")
        if reply.code == _REMARK and await self._is_ignored(client, alias, address):
            text = reply.text.decode("utf-8", "replace")
            raise TrackerRefused(reply.code, f"tracker {self.label} does not list this peer: {text}")
        self.address = address
        self._report(TrackerConnected(self.label, alias, address, client.hello))
        remarks = [remark for _, remark in reply.context[: self._limits.max_remarks]]
        for remark in [*remarks, reply.text] if reply.code == _REMARK else remarks:
            self._report(TrackerSaid(self.label, remark))
        self._known = {}
        self._refused = {}
        self._refuses_repeats = False
        self._mark(self._wanted)

    async def _is_ignored(self, client: TrackerClient, alias: bytes, address: Address) -> bool:
        """Whether an ADDR that was answered 220 has come to nothing.

        220 is a success with a remark, or what a tracker with ``-x`` says to everybody who is not on its own host, and
        says to each HAVE, too. Whether we are listed tells the two apart.
        """
        reply = await client.request(write_address_of(b"CHECKPEER", alias, address))
        return reply.code == _REFUSED

    async def _keep_up(self, client: TrackerClient) -> str:
        """Tell the tracker of every change. Returns: why the tracker ended the connection."""
        while True:
            while self._dirty:
                await self._tell(client)
            if not self._settled.is_set():
                self._settled.set()
                total = len(self._wanted) - (0 if client.hello else len(self._partial))
                self._report(Registered(self.label, len(self._known), total))
            reason = await self._wait_for_change(client)
            if reason is not None:
                return reason

    async def _wait_for_change(self, client: TrackerClient) -> str | None:
        """Wait for something to tell, with a sign of life now and then. Returns: why the tracker is gone, if it is."""
        gone: list[str] = []

        async def watch() -> None:
            gone.append(await client.wait_closed())
            nursery.cancel_scope.cancel()

        async def wait() -> None:
            while not self._dirty:
                self._changed = trio.Event()
                with trio.move_on_after(self._limits.keepalive_interval):
                    await self._changed.wait()
                    continue
                await client.keep_alive()
                if not client.hello:
                    await trio.sleep(self._limits.unasked_wait)
            nursery.cancel_scope.cancel()

        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.start_soon(wait)
        return gone[0] if gone else None

    async def _tell(self, client: TrackerClient) -> None:
        """Send the lines of one batch of names and note what the tracker made of them."""
        names = list(islice(self._dirty, _BATCH))
        for name in names:
            del self._dirty[name]
        lines: list[_Line] = []

        def write() -> Iterator[bytes]:
            for name in names:
                for line in self._lines_for(name, self._wanted.get(name), client.hello):
                    lines.append(line)
                    yield line.text

        registered = len(self._known)
        replies = await client.requests(write())
        for line, reply in zip(lines, replies, strict=True):
            if line.offers is None:
                self._known.pop(line.name, None)
            else:
                self._note_have(line.name, line.offers, reply, client.hello)
        self._mark(list(islice(self._beyond, max(0, registered - len(self._known)))))  # there is room for so many now

    def _lines_for(self, name: bytes, wanted: Announcement | None, hello: bool) -> list[_Line]:
        """The lines that bring what the tracker knows of a name to what is wanted."""
        known = self._known.get(name)
        if wanted is None:
            self._refused.pop(name, None)
            self._beyond.pop(name, None)
        if wanted is None or wanted == self._refused.get(name) or (wanted.partial and not hello):
            return [_withdrawal(name)] if known else []
        if wanted == known:
            return []
        have = _Line(name, wanted, _write_have(name, wanted, hello=hello))
        # An old tracker keeps the first checksum of a name for as long as we hold it, and takes none at all for what it
        # has once a peer has registered as many files as it may.
        stuck = known is not None and not hello and (self._refuses_repeats or known.md5 not in (None, wanted.md5))
        return [_withdrawal(name), have] if stuck else [have]

    def _note_have(self, name: bytes, wanted: Announcement, reply: Reply, hello: bool) -> None:
        """Note the answer to a HAVE. Beyond a tracker's limit of files (300), `Registered` tells how many it took."""
        self._beyond.pop(name, None)
        if reply.ok:
            self._known[name] = wanted
        elif reply.code != _REFUSED:
            self._report(Withdrawn(self.label, name, f"{reply.code} {reply.text.decode('utf-8', 'replace')}".strip()))
            self._refused[name] = wanted
            if name in self._known:
                self._mark([name])
        elif name not in self._known:
            self._beyond[name] = None
        elif not hello:
            self._refuses_repeats = True
            self._mark([name])


def own_address(client: TrackerClient, network: Network, port: int) -> Address:
    """The address that others can reach us at, as seen from our connection to a tracker.

    Over loopback, a tracker that speaks OSP2P/2 and does not keep 127.x (``FEATURE local``) is given this machine's
    own address, so that a tracker and a sharer on one machine serve the others.
    """
    here = Address(client.local.host, port)
    if client.features is None or b"local" in client.features or not here.is_loopback:
        return here
    hosts = network.local_ipv6_addresses() if here.is_ipv6 else network.local_addresses()
    outside = (Address(host, port) for host in hosts)
    return next((address for address in outside if not address.is_loopback), here)


def plain_alias(alias: bytes) -> bytes:
    """An alias that a tracker of 2007 can print raw, as it does, without ending the peers that read it."""
    return _NOT_PLAIN.sub(b"_", alias)[:_PLAIN_ALIAS_BYTES]


def write_addr(alias: bytes, address: Address) -> bytes:
    """Write an ADDR line."""
    return write_address_of(b"ADDR", alias, address)


def write_address_of(verb: bytes, alias: bytes, address: Address) -> bytes:
    """Write a line about a peer; the address stands unquoted, as every tracker expects it."""
    return write_request(verb, alias).rstrip(b"\n") + f" {address}\n".encode()


def _write_have(name: bytes, wanted: Announcement, *, hello: bool) -> bytes:
    """Write a HAVE line; what stands behind the name needs no quotes, and there are 100,000 at a start."""
    line = b"HAVE " + quote(name)
    if wanted.md5:
        line += b" " + write_md5(wanted.md5)
    if hello:
        line += b" size=%d" % wanted.size
        if wanted.b3:
            line += b" b3=" + wanted.b3.hex().encode()
        if wanted.partial:
            line += b" part=yes"
    return line + b"\n"


def _withdrawal(name: bytes) -> _Line:
    return _Line(name, None, write_request(b"DONTHAVE", name))
