"""Rate limits: how many bytes a second may move, over all connections that share one limit."""

from __future__ import annotations

import trio

from osp2p.net.connection import Connection, Listener, Network
from osp2p.wire.address import Address

#: For how long one slice keeps the line busy at the limit: short, so that bytes move evenly.
_SLICE_SECONDS = 0.05

#: How far behind the limit a pause may fall and still be made up for: what the scheduler costs, and no burst.
_CATCH_UP_SECONDS = 0.1

_LEAST_SLICE = 1024


class Throttle:
    """A token bucket that begins full and holds a tenth of a second's bytes.

    Args:
        rate: bytes per second; None: no limit, and every call returns at once.
    """

    __slots__ = ("free_at", "rate")

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        #: When the limit will have made up for all that was moved.
        self.free_at = float("-inf")

    def slice(self, count: int) -> int:
        """How many of `count` bytes to move in one go."""
        if self.rate is None:
            return count
        return min(count, max(int(self.rate * _SLICE_SECONDS), _LEAST_SLICE))

    async def ready(self) -> None:
        """Wait until the limit has made up for all that was moved.

        Cancellation: nothing has been moved, so nothing is lost.
        """
        if self.rate is not None and self.free_at > trio.current_time():
            await trio.sleep_until(self.free_at)

    def moved(self, count: int, now: float) -> None:
        """Account for `count` bytes that were moved."""
        if self.rate is not None:
            self.free_at = max(self.free_at, now - _CATCH_UP_SECONDS) + count / self.rate


class _Turn:
    """The place of one direction of one connection among all that share a limit.

    It is kept until bytes are moved, across calls that are cancelled: else who looks up now and then, to see whether
    the other side is silent, would go to the end of the queue each time, and never have a turn.
    """

    __slots__ = ("_at", "throttle")

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self._at: float | None = None

    async def ready(self) -> None:
        """Wait for the turn."""
        if self.throttle.rate is None:
            return
        if self._at is None:
            self._at = self.throttle.free_at
        if self._at > trio.current_time():
            await trio.sleep_until(self._at)

    def moved(self, count: int) -> None:
        """Account for bytes; for the next ones there is a turn of their own."""
        self._at = None
        self.throttle.moved(count, trio.current_time())


class ThrottledConnection:
    """A connection whose bytes obey two limits. See `Connection` for its methods.

    The wait comes before the bytes move, so that a cancelled call has lost none, nor its turn.
    """

    def __init__(self, connection: Connection, up: Throttle, down: Throttle) -> None:
        self._connection = connection
        self._up = _Turn(up)
        self._down = _Turn(down)

    @property
    def remote(self) -> Address:
        return self._connection.remote

    @property
    def local(self) -> Address:
        return self._connection.local

    async def receive(self, max_bytes: int) -> bytes:
        await self._down.ready()
        data = await self._connection.receive(self._down.throttle.slice(max_bytes))
        self._down.moved(len(data))
        return data

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        await self._down.ready()
        count = await self._connection.receive_into(buffer[: self._down.throttle.slice(len(buffer))], gather=gather)
        self._down.moved(count)
        return count

    async def send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            await self._up.ready()
            piece = rest[: self._up.throttle.slice(len(rest))]
            await self._connection.send(piece)
            self._up.moved(len(piece))
            rest = rest[len(piece) :]

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        await self._up.ready()
        moved = await self._connection.send_file_some(fd, offset, self._up.throttle.slice(count))
        self._up.moved(moved)
        return moved

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        total = 0
        while total < count:
            moved = await self.send_file_some(fd, offset + total, count - total)
            if moved == 0:
                break
            total += moved
        return total

    async def send_eof(self) -> None:
        await self._connection.send_eof()

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        self._connection.abort()


class ThrottledNetwork:
    """A network all of whose connections, made and taken, share two limits. See `Network`.

    Args:
        up: bytes per second that leave; None: no limit.
        down: bytes per second that arrive; None: no limit.
    """

    def __init__(self, network: Network, up: float | None, down: float | None) -> None:
        self._network = network
        self._up = Throttle(up)
        self._down = Throttle(down)

    def throttled(self, connection: Connection) -> Connection:
        """The same connection, under the limits."""
        if self._up.rate is None and self._down.rate is None:
            return connection
        return ThrottledConnection(connection, self._up, self._down)

    async def connect(self, host: str, port: int) -> Connection:
        return self.throttled(await self._network.connect(host, port))

    async def listen(self, port: int, host: str = "0.0.0.0") -> Listener:
        return await self._network.listen(port, host)

    async def resolve(self, host: str) -> list[str]:
        return await self._network.resolve(host)

    def local_addresses(self) -> list[str]:
        return self._network.local_addresses()

    def local_ipv6_addresses(self) -> list[str]:
        return self._network.local_ipv6_addresses()
