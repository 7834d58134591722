"""An honest user beside an attack: is the victim still of use to anybody else?

Source: the conversation called "sanity" before and after each attack is tlsfuzzer's; ours goes on meanwhile, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from random import Random

import trio

from osp2p.errors import ConnectFailed
from osp2p.evil.bounds import Bounds, Budget, OtherSideLeft, Unsound
from osp2p.evil.datagrams import Port, returned
from osp2p.evil.network import DatagramNetwork, Network
from osp2p.evil.wire import Wire
from osp2p.evil.words import quote

#: How long an honest exchange may take, unless the caller says otherwise.
PATIENCE = 5.0

#: How long a tracker is given to forget an attacker, before what it says afterwards counts.
_END_WITHIN = 10.0
_PAUSE = 0.25

_PROBE_BOUNDS = Bounds(evidence_bytes=0)


class Probe:
    """An honest user of a tracker or an uploader.

    Args:
        name: for an uploader: the file that it is asked for; b"" if none is known.
        patience: seconds that one exchange may take.
    """

    def __init__(
        self, network: Network, host: str, port: int, against: str, name: bytes, seed: int, patience: float = PATIENCE
    ) -> None:
        self._network = network
        self._host = host
        self._port = port
        self._against = against
        self._patience = patience
        self._port_of_ours: Port | None = None
        self._name = name
        self._budget = Budget(_PROBE_BOUNDS)
        self._file = b"honest-%08x" % Random(f"probe {seed}").getrandbits(32)
        self._login: Wire | None = None
        self._digest: bytes | None = None
        #: Seconds of the slowest honest exchange.
        self.slowest = 0.0

    async def begin(self) -> None:
        """Have a first exchange; with a tracker, register what must still be found later.

        Raises:
            Unsound: the victim is of no use, before anybody has attacked it.
        """
        await self._bounded({"tracker": self._log_in, "node": self._meet}.get(self._against, self._fetch))

    async def check(self) -> None:
        """Have an exchange.

        Raises:
            Unsound: the victim is of no use any more.
        """
        await self._bounded({"tracker": self._look, "node": self._ping}.get(self._against, self._fetch))

    async def end(self) -> None:
        """Have the last exchange, when the attack is over and a victim may have to get rid of it for a moment.

        Raises:
            Unsound: the victim is of no use any more.
        """
        latest = trio.current_time() + _END_WITHIN
        while True:
            try:
                return await self.check()
            except Unsound:
                if trio.current_time() > latest:
                    raise
                await trio.sleep(_PAUSE)

    def close(self) -> None:
        """Leave; waits for nothing."""
        if self._login is not None:
            self._login.close()
        if self._port_of_ours is not None:
            self._port_of_ours.close()

    async def _bounded(self, work: Callable[[], Awaitable[None]]) -> None:
        began = trio.current_time()
        with trio.move_on_after(self._patience) as scope:
            try:
                await work()
            except (ConnectFailed, OtherSideLeft) as error:
                raise Unsound(f"takes no honest user: {error or 'it closes the connection'}") from error
        self.slowest = max(self.slowest, trio.current_time() - began)
        if scope.cancelled_caught:
            raise Unsound(f"has nothing to say to an honest user for {self._patience:.0f} s")

    async def _connect(self) -> Wire:
        return Wire(await self._network.connect(self._host, self._port), self._budget, 0, Random(0))

    async def _log_in(self) -> None:
        wire = self._login = await self._connect()
        await _read_greeting(wire)
        port = 1 + Random(self._file).randrange(60_000)
        self._peer = b"%s:%d" % (wire.local_host.encode(), port)
        await wire.expect(b"ADDR honest " + self._peer, 2)
        await wire.expect(b"HAVE " + self._file, 2)

    async def _look(self) -> None:
        """A stranger looks for what the honest peer has registered, which gives a sign of life meanwhile."""
        if self._login is not None:
            await self._login.send(b"\n")
        wire = await self._connect()
        try:
            await _read_greeting(wire)
            answer = await wire.expect(b"WANT " + self._file, 2)
            if not any(line.split()[-1:] == [self._peer] for line in answer.data if line.startswith(b"PEER ")):
                raise Unsound("does not name an honest peer any more that is still connected")
        finally:
            wire.close()

    async def _meet(self) -> None:
        """See whether it is a node of the overlay, or at least takes connections."""
        if isinstance(self._network, DatagramNetwork):
            sock = await self._network.open_datagrams(0)
            port = Port(sock, (self._host, self._port), self._budget, 0, Random(self._file))
            self._port_of_ours = port
            if await port.learn_network():
                return
            port.close()
            self._port_of_ours = None
        await self._fetch()

    async def _ping(self) -> None:
        """Ping the node; of one that takes connections alone, see whether it still does."""
        if self._port_of_ours is None:
            await self._fetch()
        elif not returned(await self._port_of_ours.ask(b"ping", seconds=self._patience)):
            raise Unsound("does not answer the ping of an honest node any more")

    async def _fetch(self) -> None:
        """Fetch the file: it must be the same every time."""
        wire = await self._connect()
        try:
            if not self._name:
                return
            await wire.send(b"GET %s OSP2P\n" % quote(self._name))
            digest = hashlib.blake2b()
            while data := await wire.receive():
                digest.update(data)
            if not wire.received and self._digest is None:
                raise Unsound(f"does not serve {ascii(self._name)[1:]}")
            if self._digest not in (None, digest.digest()):
                raise Unsound("serves an honest user another content than before")
            self._digest = digest.digest()
        finally:
            wire.close()


async def _read_greeting(wire: Wire) -> None:
    if await wire.read_answer() is None:
        raise OtherSideLeft
