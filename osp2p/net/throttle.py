"""Rate limits: how many bytes a second may move, over all connections that share one limit."""

from __future__ import annotations

import trio

from osp2p.errors import ConnectionLost
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

    @property
    def at(self) -> float:
        """When it comes."""
        if self.throttle.rate is None:
            return float("-inf")
        if self._at is None:
            self._at = self.throttle.free_at
        return self._at

    def moved(self, count: int) -> None:
        """Account for bytes; for the next ones there is a turn of their own."""
        self._at = None
        self.throttle.moved(count, trio.current_time())


class OwnTime:
    """Keeps the time that our own limits take out of a deadline that the other side has to meet: a context manager.

    Args:
        connection: any; without limits there is nothing to keep out.
        scope: whose deadline moves on while we wait for our own turn.

    Attributes:
        waited: seconds by which it has moved on.
    """

    __slots__ = ("_connection", "_deadline", "_scope", "_since", "_waits", "waited")

    def __init__(self, connection: Connection, scope: trio.CancelScope) -> None:
        self._connection = connection if isinstance(connection, ThrottledConnection) else None
        self._scope = scope
        self._waits = 0
        self._since = self._deadline = 0.0
        self.waited = 0.0

    def __enter__(self) -> OwnTime:
        if self._connection is not None:
            self._connection.own_times[self] = None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            del self._connection.own_times[self]

    def begin(self) -> None:
        """We begin to wait."""
        if not self._waits:
            self._since, self._deadline = trio.current_time(), self._scope.deadline
            self._scope.deadline = float("inf")
        self._waits += 1

    def end(self) -> None:
        """We have waited."""
        self._waits -= 1
        if not self._waits:
            waited = trio.current_time() - self._since
            self._scope.deadline = self._deadline + waited
            self.waited += waited


class ThrottledConnection:
    """A connection whose bytes obey two limits. See `Connection` for its methods.

    The wait comes before the bytes move, so that a cancelled call has lost none, nor its turn.

    Attributes:
        own_times: the deadlines that do not run while it waits.
    """

    def __init__(self, connection: Connection, up: Throttle, down: Throttle) -> None:
        self._connection = connection
        self._up = _Turn(up)
        self._down = _Turn(down)
        self._unsent = False
        self.own_times: dict[OwnTime, None] = {}

    async def _wait_for(self, turn: _Turn) -> None:
        """Wait for the turn of one direction."""
        if turn.at <= trio.current_time():
            return
        own_times = list(self.own_times)
        for own_time in own_times:
            own_time.begin()
        try:
            await trio.sleep_until(turn.at)
        finally:
            for own_time in own_times:
                own_time.end()

    @property
    def remote(self) -> Address:
        return self._connection.remote

    @property
    def local(self) -> Address:
        return self._connection.local

    async def receive(self, max_bytes: int) -> bytes:
        await self._wait_for(self._down)
        data = await self._connection.receive(self._down.throttle.slice(max_bytes))
        self._down.moved(len(data))
        return data

    async def receive_into(self, buffer: memoryview, *, gather: bool = False) -> int:
        await self._wait_for(self._down)
        count = await self._connection.receive_into(buffer[: self._down.throttle.slice(len(buffer))], gather=gather)
        self._down.moved(count)
        return count

    def _check_sound(self) -> None:
        if self._unsent:
            raise ConnectionLost(f"{self.remote}: an earlier send was not finished")

    async def send(self, data: bytes | memoryview) -> None:
        self._check_sound()
        self._unsent = True  # failed or cancelled between two slices, the stream stays ruined
        rest = memoryview(data)
        while rest:
            await self._wait_for(self._up)
            piece = rest[: self._up.throttle.slice(len(rest))]
            await self._connection.send(piece)
            self._up.moved(len(piece))
            rest = rest[len(piece) :]
        self._unsent = False

    async def send_file_some(self, fd: int, offset: int, count: int) -> int:
        self._check_sound()
        await self._wait_for(self._up)
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
        self._check_sound()
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

    @property
    def is_down_full(self) -> bool:
        """Whether as much arrives just now as the limit allows."""
        return self._down.free_at > trio.current_time()

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
