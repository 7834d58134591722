"""A node: one peer of the network, as other programs use it. Everything a user can do goes through here."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from osp2p.content.name import is_glob, matches_glob
from osp2p.errors import NobodyHasIt, OverlayUnreachable, TrackerError
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, Listener, Network, TcpNetwork, Visit, serve_visits
from osp2p.net.groups import one_error
from osp2p.net.throttle import ThrottledNetwork
from osp2p.peer.announce import Announcer, own_address
from osp2p.peer.calling import Calling, CallingNode
from osp2p.peer.events import Listening, Remark, Report
from osp2p.peer.fetching import Fetching, FetchingNode, ignore
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.ports import open_ports
from osp2p.peer.probe import Prober
from osp2p.peer.questions import Questions
from osp2p.peer.server import UploadServer
from osp2p.peer.sharing import Sharing
from osp2p.peer.sources import HolderSource, Sources
from osp2p.peer.tracker_client import open_tracker
from osp2p.peer.trackers import Trackers
from osp2p.wire.address import Address, parse_tracker
from osp2p.wire.entry import FileEntry, PeerEntry

if TYPE_CHECKING:  # what only some nodes need, that share, or join an overlay, is imported when they do
    from osp2p.content.cache import HashCache
    from osp2p.net.datagrams import DatagramNetwork
    from osp2p.overlay.node import Overlay, OverlayOptions
    from osp2p.peer.membership import Membership

_DEFAULT = Limits()


class Node(FetchingNode, CallingNode):
    """One peer. Made by `open_node`; its methods may run side by side."""

    def __init__(
        self,
        nursery: trio.Nursery,
        network: Network,
        trackers: Sequence[tuple[str, int]],
        alias: bytes,
        port: int | None,
        open_cache: Callable[[], HashCache],
        limits: Limits,
        rng: random.Random,
        report: Report,
        limit_up: float | None,
        limit_down: float | None,
        without: tuple[bytes, ...],
        admission: Admission,
        identity: Path | None,
        http_anywhere: bool,
    ) -> None:
        self._nursery = nursery
        self._admission = admission
        self._network = network
        self._throttled = ThrottledNetwork(network, limit_up, limit_down)
        #: Host and port of each tracker.
        self.tracker_addresses = tuple(trackers)
        self._trackers = Trackers(network, trackers, limits)
        self._port = port
        self._limits = limits
        self._rng = rng
        self._report = report
        self._starting = trio.Lock()
        self._listeners: list[Listener] = []
        self._known = False
        self._membership: Membership | None = None
        self._sources = Sources([self._trackers] if trackers else [], limits)
        self._alias = alias
        self._sharing = Sharing(open_cache, limits, report, without)
        self._server = UploadServer(self._sharing, limits, report)
        self._fetching = Fetching(
            nursery,
            self._throttled,
            Questions(lambda: self._sources, self._trackers.holder_counts, self._own_addresses, limits),
            Prober(network, limits),
            LinkRate(limit_down, lambda: self._throttled.is_down_full),
            self._sharing,
            limits,
            rng,
            report,
            own=self._own_addresses,
            listen=self.listen,
            share_file=self.share_file,
        )
        self._calling = Calling(
            nursery,
            network,
            limits,
            rng,
            self._server,
            identity,
            lambda: self._membership,
            self.listen,
            http_anywhere=http_anywhere,
        )

    # --- sharing ---

    async def listen(self) -> Address:
        """Open the node's port and tell the trackers of it, once; every later call only returns the address.

        Returns: where the node listens.

        Raises:
            ListenFailed: no port is free.
            TrackerError: no tracker took us. The node goes on trying; call again to ask again.
        """
        async with self._starting:
            if not self._known:
                # What waits comes first: whoever is cancelled there has begun nothing, and a later call begins it all.
                trackers = [(await self._resolve(host), port) for host, port in self.tracker_addresses]
                if not self._listeners:
                    await self._open()
                self._known = True
                self._report(Listening(self._listeners[0].address))
                for hosts, port in trackers:
                    self._announce(hosts, port)
                if self._membership is not None:
                    announcer = self._membership.announcer(self._listeners[0].address.port)
                    self._sharing.tell(announcer, essential=False)
            await self._sharing.wait_for_a_tracker()
            return self._listeners[0].address

    async def _resolve(self, host: str) -> list[str]:
        """A tracker's numeric addresses; its name, where nobody knows any in time."""
        found: list[str] = []
        with trio.move_on_after(self._limits.connect_timeout):
            found = await self._network.resolve(host)
        return found or [host]

    def _announce(self, hosts: Sequence[str], port: int) -> None:
        """Tell a tracker of this node: over IPv4, and over IPv6 too where its name has both.

        Base clients see only those who registered over IPv4, and a peer without IPv4 sees only the others. What is
        said of the second family would say everything twice, so nobody hears it.
        """
        own_port = self._listeners[0].address.port
        for number, numeric in enumerate(hosts):
            report = ignore if number else self._report
            announcer = Announcer(self._network, numeric, port, self._alias, own_port, self._limits, report)
            self._sharing.tell(announcer, essential=number == 0)
            self._nursery.start_soon(announcer.run)

    def _own_addresses(self) -> set[Address]:
        """Where this node listens, by whatever address of this machine a tracker may know it."""
        own = self._sharing.own_addresses()
        for listener in self._listeners:
            ipv6 = listener.address.is_ipv6
            hosts = self._network.local_ipv6_addresses() if ipv6 else self._network.local_addresses()
            own |= {Address(host, listener.address.port) for host in hosts}
        return own

    async def _serve_one(self, connection: Connection, visit: Visit) -> None:
        await self._server.serve(self._throttled.throttled(connection), visit)

    async def join(self, membership: Membership) -> None:
        """Be in an overlay from now on: as one who only asks, or with the UDP port of the TCP port's number.

        Raises:
            ListenFailed: no port is free.
        """
        from osp2p.peer.overlay_status import add_overlay_verb

        self._membership = membership
        add_overlay_verb(self._server.verbs, self._server.features, lambda: membership.overlay)
        if membership.options.read_only:
            await membership.start(0)
        else:
            await self._open()
        assert membership.source is not None
        sources: list[HolderSource] = [self._trackers] if self.tracker_addresses else []
        self._sources = Sources([*sources, membership.source], self._limits)

    @property
    def overlay(self) -> Overlay | None:
        """The overlay that this node is in."""
        return self._membership.overlay if self._membership is not None else None

    async def _open(self) -> None:
        """Open the ports, with that of the overlay, if one is joined and not only asked; and answer there."""
        membership = self._membership
        beside = membership.start if membership is not None and membership.overlay is None else None
        self._listeners = await open_ports(self._network, self._port, beside)
        for listener in self._listeners:
            self._nursery.start_soon(serve_visits, listener, self._serve_one, self._admission)

    async def share(self, directory: Path) -> int:
        """Share a directory, live, until the node ends.

        Returns: how many files it has now. By then a tracker has answered for each of their names.

        Raises:
            StoreError: it cannot be read.
            ListenFailed, TrackerError: as `listen`.
        """
        count: int = await self._nursery.start(self._sharing.run_directory, directory)
        await self.listen()
        await self._sharing.wait_settled()
        return count

    async def share_file(self, name: bytes, path: Path) -> None:
        """Share one file under a name, until the node ends.

        Raises:
            StoreError, UnsafeName: it cannot be shared.
            ListenFailed, TrackerError: as `listen`.
        """
        await self.share_files({name: path})

    async def share_files(self, files: Mapping[bytes, Path]) -> None:
        """Share several files, each under a name of its own, until the node ends.

        Raises:
            StoreError, UnsafeName: one cannot be shared; those before it are.
            ListenFailed, TrackerError: as `listen`.
        """
        for name, path in files.items():
            await self._sharing.add_file(self._nursery, name, path)
        await self.listen()
        await self._sharing.wait_settled()

    def shared_names(self, most: int) -> list[bytes]:
        """The first names that are shared here, in their order.

        Args:
            most: how many.
        """
        return [offer.name for offer in self._sharing.page(b"", b"", most)]

    # --- looking ---

    async def list_files(self, prefix: bytes = b"") -> list[FileEntry]:
        """What the trackers list, in name order; where there are none, or none answers, what the overlay's sharers do.
        A `Remark` is reported where that is not all of it.

        Raises:
            TrackerError: no tracker answered, and this node is in no overlay.
            OverlayUnreachable: likewise, and there is nobody in the overlay.
        """
        overlay = self.overlay
        if self.tracker_addresses or overlay is None:
            try:
                return await self._trackers.list_files(prefix)
            except TrackerError:
                if overlay is None:
                    raise
        from osp2p.peer.overlay_listing import list_overlay

        return await list_overlay(
            overlay, self._network, prefix, self._limits, lambda text: self._report(Remark(b"", text))
        )

    async def list_some(self, prefixes: Sequence[bytes], most: int) -> list[bytes]:
        """A few of the names that the trackers list, for one short question to each.

        Args:
            prefixes: what the names begin with.
            most: how many of each are asked for; a tracker of 2007 names all that it has.

        Raises:
            TrackerError: none answered.
        """
        return await self._trackers.list_some(prefixes, most)

    async def list_peers(self) -> list[PeerEntry]:
        """Who is logged in.

        Raises:
            TrackerError: none answered.
        """
        return await self._trackers.list_peers()

    async def checksum(self, name: bytes) -> bytes:
        """The MD5 that a tracker knows of a name.

        Returns: 16 bytes.

        Raises:
            NobodyHasIt: none knows one.
            TrackerError: none answered.
        """
        return await self._trackers.checksum(name)

    async def tracker_for_others(self) -> tuple[str, int]:
        """Where the first tracker is, as others must name it: in a link, say.

        One on this machine gets an address that others reach, unless it lists peers for this machine alone. One that
        does not answer is taken to be for others.

        Returns: host and port.
        """
        host, port = self.tracker_addresses[0]
        if not Address((await self._resolve(host))[0], port).is_loopback:
            return host, port
        try:
            async with open_tracker(self._network, host, port, self._limits) as client:
                return own_address(client, self._network, port)
        except TrackerError:
            return self._network.local_addresses()[0], port

    async def find(self, patterns: Sequence[bytes]) -> tuple[list[FileEntry], list[bytes]]:
        """Turn what a user typed into files.

        Args:
            patterns: names or globs. An exact name wins over a glob; a name without ``*``, ``?`` and ``[`` is taken as
                it is.

        Returns: files, each name once, in the patterns' order, those of one glob in name order; and the globs that
            match nothing. A name that was not looked up, or is listed with several contents, has no attributes.

        Raises:
            TrackerError: no tracker answered.
        """
        listed = unambiguous(await self.list_files()) if any(map(is_glob, patterns)) else {}
        found: dict[bytes, FileEntry] = {}
        unmatched: list[bytes] = []
        for pattern in patterns:
            if pattern in listed or not is_glob(pattern):
                matching = [pattern]
            else:
                matching = [name for name in listed if matches_glob(name, pattern)]
                if not matching:
                    unmatched.append(pattern)
            found.update((name, listed.get(name) or FileEntry(name)) for name in matching)
        return list(found.values()), unmatched

    async def expand(self, patterns: Sequence[bytes]) -> list[bytes]:
        """Turn what a user typed into names. See `find`.

        Raises:
            NobodyHasIt: a glob matches nothing.
            TrackerError: no tracker answered.
        """
        found, unmatched = await self.find(patterns)
        if unmatched:
            raise NobodyHasIt(f"no file matches {unmatched[0].decode('utf-8', 'backslashreplace')}")
        return [entry.name for entry in found]

    async def find_holders(self, name: bytes, b3: bytes | None = None) -> list[PeerEntry]:
        """Who in the overlay has a file, and what they claim of it.

        Args:
            b3: the content that they must have; None: any.

        Raises:
            OverlayUnreachable: this node is in no overlay, or knows nobody there.
        """
        source = self._membership.source if self._membership is not None else None
        if source is None:
            raise OverlayUnreachable("this node is in no overlay")
        return await source.find(name, b3)

    async def wait_unused(self) -> None:
        """Wait until nobody is being served by this node."""
        while True:
            until = self._server.slots.idle_at(trio.current_time())
            if until <= trio.current_time():
                return
            await trio.sleep_until(until)

    def close(self) -> None:
        """Close every connection and the port; waits for nothing."""
        self._trackers.close()
        self._calling.close()
        for listener in self._listeners:
            listener.close()


def _user() -> str:
    """The user's name, or what stands for it where the system knows none, as in some containers."""
    import getpass  # for those who name no alias

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "peer"


def unambiguous(listed: Iterable[FileEntry]) -> dict[bytes, FileEntry]:
    """What a listing says of each name; of one with several contents, only that there is one."""
    found: dict[bytes, FileEntry] = {}
    for entry in listed:
        found[entry.name] = FileEntry(entry.name) if entry.name in found else entry
    return found


@asynccontextmanager
async def open_node(
    *,
    trackers: Sequence[str] = (),
    network: Network | None = None,
    limits: Limits = _DEFAULT,
    alias: bytes | None = None,
    port: int | None = None,
    cache: Path | None = None,
    rng: random.Random | None = None,
    report: Report = ignore,
    limit_up: float | None = None,
    limit_down: float | None = None,
    without: tuple[bytes, ...] = (),
    admission: Admission | None = None,
    overlay: OverlayOptions | None = None,
    datagrams: DatagramNetwork | None = None,
    identity: Path | None = None,
    http_anywhere: bool = False,
) -> AsyncIterator[Node]:
    """Open a node; it ends with the block.

    Args:
        trackers: each as ``host``, ``port``, ``host:port`` or ``[ipv6]:port``.
        network: where connections come from; None: this machine's TCP.
        limits: every number that a stranger can push on.
        alias: what trackers list us as; None: the user's name and a number.
        port: where to serve; None: the first free port from 11112 on.
        cache: the file that remembers digests; None: one in the user's cache directory.
        rng: for every choice; None: seeded by the system.
        report: takes what happens to what is shared.
        limit_up: bytes per second that are sent to other peers, all together; None: no limit.
        limit_down: bytes per second that are received from them; None: no limit.
        without: endings of file names that are not shared, beside hidden files, backups and partial downloads.
        admission: who may be connected, where another server of this process shares what there is room for.
        overlay: the overlay to join; None: none.
        datagrams: where its datagrams come from; None: this machine's UDP.
        identity: the file with the node's key, for calls, made where there is none; None: one among the user's data.
        http_anywhere: whether programs of other machines, too, may make calls in this node's name.

    Raises:
        MalformedLine: a tracker's address cannot be read.
        ListenFailed: an overlay is to be joined, and no port is free.
    """
    overlay_rng = random.Random(rng.getrandbits(64)) if rng is not None else None
    rng = rng or random.Random()
    alias = alias or os.fsencode(f"{_user()}{rng.randrange(10000)}")
    addresses = [parse_tracker(text) for text in trackers]

    with contextlib.ExitStack() as behind:  # what threads of the nursery's tasks may use until they have ended

        def open_cache() -> HashCache:
            from osp2p.content.cache import HashCache, default_path

            return behind.enter_context(contextlib.closing(HashCache(cache or default_path())))

        with one_error():
            async with trio.open_nursery() as nursery:
                node = Node(
                    nursery,
                    network or TcpNetwork(),
                    addresses,
                    alias,
                    port,
                    open_cache,
                    limits,
                    rng,
                    report,
                    limit_up,
                    limit_down,
                    without,
                    admission or Admission(limits),
                    identity,
                    http_anywhere,
                )
                try:
                    if overlay is not None:
                        from osp2p.peer.membership import Membership

                        await node.join(
                            Membership(
                                nursery, overlay, network or TcpNetwork(), datagrams, limits, overlay_rng, report
                            )
                        )
                    yield node
                finally:
                    node.close()
                    nursery.cancel_scope.cancel()
