"""An honest client of a tracker: waits until everything is known there, and measures how fast it is answered."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle

import trio

from osp2p.errors import NetworkError
from osp2p.limits import DEFAULT
from osp2p.net import LineConnection, Network
from osp2p.wire.address import Address
from osp2p.wire.request import write_request

_LOOK_EVERY = 0.05
_ASK_EVERY = 0.02


class Asker:
    """Asks one tracker."""

    def __init__(self, network: Network, tracker: Address) -> None:
        self._network = network
        self._tracker = tracker

    async def _connect(self, at: float) -> LineConnection:
        connection = await self._network.connect(self._tracker.host, self._tracker.port)
        lines = LineConnection(connection, DEFAULT)
        await lines.read_reply(at)
        await lines.send(b"HELLO OSP2P/2\n", at)
        await lines.read_reply(at)
        return lines

    async def wait_until_known(self, holders: Mapping[bytes, int], with_b3: Collection[bytes]) -> None:
        """Wait until a tracker knows files.

        Args:
            holders: how many must be known of each name.
            with_b3: of which names the content id must be known.

        Raises:
            NetworkError.
        """
        at = float("inf")
        names = list(holders)
        lines = await self._connect(at)
        try:
            while names:
                await lines.send(b"".join(write_request(b"STAT", name) for name in names), at)
                missing = []
                for name in names:
                    data = (await lines.read_reply(at)).data
                    known = b"PEERS %d" % holders[name] in data
                    if not known or (name in with_b3 and not any(line.startswith(b"B3 ") for line in data)):
                        missing.append(name)
                names = missing
                await trio.sleep(_LOOK_EVERY if names else 0)
        finally:
            lines.close()

    async def ask_again_and_again(
        self, names: Sequence[bytes], latencies: list[float], pause: float = _ASK_EVERY
    ) -> None:
        """Ask for holders until cancelled, on one connection; on another one, if that ends.

        Args:
            latencies: gets the milliseconds that each answer took; infinity, where there was none.
            pause: seconds between an answer and the next command.
        """
        requests = cycle([write_request(b"WANT", name) for name in names])
        while True:
            try:
                at = trio.current_time() + DEFAULT.reply_timeout
                lines = await self._connect(at)
                try:
                    while True:
                        at = trio.current_time() + DEFAULT.reply_timeout
                        begun = time.perf_counter()
                        await lines.send(next(requests), at)
                        await lines.read_reply(at)
                        latencies.append((time.perf_counter() - begun) * 1000)
                        await trio.sleep(pause)
                finally:
                    lines.close()
            except NetworkError:
                latencies.append(float("inf"))
                await trio.sleep(_ASK_EVERY)
