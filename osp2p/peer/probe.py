"""Which holders speak OSP2P/2, where no tracker can know, and what they claim to have.

Behind a tracker that knows HELLO, those speak of whom it says so. Behind an old one each is asked, once: a probe costs
a peer of 2007 the only connection that it serves at a time, so what came of it is remembered for each address. Only who
said nothing is asked again, a good while later: he may have had more to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import trio

from osp2p.errors import NetworkError, RemoteProtocolError
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.groups import one_error
from osp2p.peer.chunk_client import HELLO
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry, parse_b3, parse_number
from osp2p.wire.reply import Reply
from osp2p.wire.request import write_request


def speaks(entry: PeerEntry) -> bool | None:
    """Whether a tracker says that a peer speaks OSP2P/2; None if it cannot know."""
    version = entry.attributes.get(b"v")
    return None if version is None else version == b"2"


class Prober:
    """What the peers of a node's trackers speak.

    Args:
        network: where they are.
        limits: `probe_timeout`, `probe_again`, `max_connecting`, `max_probed`.
    """

    def __init__(self, network: Network, limits: Limits) -> None:
        self._network = network
        self._limits = limits
        #: Whether each speaks, and until when that is believed.
        self._known: dict[Address, tuple[bool, float]] = {}
        self._probing: dict[Address, trio.Event] = {}

    def speaks(self, entry: PeerEntry) -> bool | None:
        """Whether a peer speaks OSP2P/2, as its tracker says or a probe has shown; None if nobody knows yet."""
        told = speaks(entry)
        if told is not None:
            return told
        known, until = self._known.get(entry.address, (None, 0.0))
        return known if trio.current_time() < until else None

    async def speakers(self, name: bytes, b3: bytes, entries: Iterable[PeerEntry]) -> list[PeerEntry]:
        """Of some holders, those that speak OSP2P/2 and do not claim another content; the unknown ones are probed."""
        entries = list(entries)
        unknown = [entry for entry in entries if self.speaks(entry) is None]
        claims = {entry.address: entry for entry in await self._ask(name, b3, unknown)}
        known = [claims.get(entry.address, entry) for entry in entries if self.speaks(entry)]
        wanted = b3.hex().encode()
        return [entry for entry in known if entry.attributes.get(b"b3", wanted) == wanted]

    async def claims(
        self, name: bytes, b3: bytes | None, entries: Iterable[PeerEntry], within: float | None = None
    ) -> list[PeerEntry]:
        """Ask holders what they have of a name, but for those that are known not to speak OSP2P/2.

        Args:
            b3: the content that is wanted; None: whatever they have.
            within: seconds that all of them have; None: `probe_timeout`.

        Returns: those that have some of it and say which content and size it is, with that in their attributes.
        """
        return await self._ask(name, b3, [entry for entry in entries if self.speaks(entry) is not False], within)

    async def _ask(
        self, name: bytes, b3: bytes | None, entries: Iterable[PeerEntry], within: float | None = None
    ) -> list[PeerEntry]:
        """Ask some holders at a time, all of them within `probe_timeout`, or what is said."""
        found: list[PeerEntry] = []
        limiter = trio.CapacityLimiter(self._limits.max_connecting)

        async def ask(entry: PeerEntry) -> None:
            async with limiter:
                if self.speaks(entry) is None and entry.address in self._probing:
                    await self._probing[entry.address].wait()
                    if not self.speaks(entry):
                        return
                claimed = await self._probe(name, b3, entry)
            if claimed is not None:
                found.append(replace(entry, attributes={**entry.attributes, **claimed}))

        with trio.move_on_after(self._limits.probe_timeout if within is None else within), one_error():
            async with trio.open_nursery() as nursery:
                for entry in entries:
                    nursery.start_soon(ask, entry)
        return found

    async def _probe(self, name: bytes, b3: bytes | None, entry: PeerEntry) -> Mapping[bytes, bytes] | None:
        """Ask one holder, and remember whether it speaks OSP2P/2. Returns: what it claims of the file.

        Cancellation: who has been connected to, and has said nothing, counts as one that does not speak, for a while.
        """
        ended = self._probing.setdefault(entry.address, trio.Event())
        try:
            connection = await self._network.connect(entry.address.host, entry.address.port)
            greeted, until = False, trio.current_time() + self._limits.probe_again
            try:
                lines = LineConnection(connection, self._limits, of_peer=True)
                greeted, claimed = await ask_state(lines, name, b3)
                until = float("inf")
            except RemoteProtocolError:  # it has answered, as no OSP2P/2 peer does
                until = float("inf")
                raise
            finally:
                connection.close()
                self._remember(entry, greeted, until)
            return claimed if claimed is not None and b"b3" in claimed else None
        except (NetworkError, RemoteProtocolError):
            return None
        finally:
            ended.set()
            self._probing.pop(entry.address, None)

    def _remember(self, entry: PeerEntry, greeted: bool, until: float) -> None:
        if speaks(entry) is None:
            self._known.pop(entry.address, None)
            while len(self._known) >= self._limits.max_probed:
                del self._known[next(iter(self._known))]
            self._known[entry.address] = greeted, until


async def ask_state(lines: LineConnection, name: bytes, b3: bytes | None) -> tuple[bool, dict[bytes, bytes] | None]:
    """Say HELLO to a peer, and ask what it has under a name.

    Args:
        b3: the content that it must have; None: any.

    Returns: whether it speaks OSP2P/2; and what it claims, in the form of a tracker's attributes, or None if it has no
        such file.

    Raises:
        NetworkError, RemoteProtocolError.
    """
    attributes = {} if b3 is None else {b"b3": b3.hex().encode()}
    await lines.connection.send(HELLO + write_request(b"STAT", name, attributes=attributes))
    if not (await lines.read_reply(float("inf"))).ok:
        return False, None
    stat = await lines.read_reply(float("inf"))
    return True, _claimed(stat) if stat.ok else None


def _claimed(stat: Reply) -> dict[bytes, bytes]:
    """What an answer to STAT claims.

    Raises:
        MalformedLine.
    """
    words = {key: value for key, _, value in (line.partition(b" ") for line in stat.data)}
    claimed = {b"v": b"2", b"size": b"%d" % parse_number(words.get(b"SIZE", b""), 2**63 - 1, "SIZE")}
    if b"B3" in words:
        claimed[b"b3"] = parse_b3(words[b"B3"]).hex().encode()
    if words.get(b"HAVE") != b"all":
        claimed[b"part"] = b"yes"
    return claimed
