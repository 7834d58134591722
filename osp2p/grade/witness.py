"""What an attacker says and hears, written down as it happens: evidence that outlives an attack that is broken off."""

from __future__ import annotations

from typing import Literal

from osp2p.errors import ConnectionLost
from osp2p.evil.network import Listener, Network, Place, Stream
from osp2p.grade.recording import Recorder
from osp2p.grade.transcript import Scribe, Way


class _Stream:
    """One connection of an attacker."""

    def __init__(self, stream: Stream, scribe: Scribe, recorder: Recorder) -> None:
        self._stream = stream
        self._scribe = scribe
        self._recorder = recorder
        self._over = False
        self._their_end = False
        recorder.note(scribe.opened(recorder.seconds))

    @property
    def remote(self) -> Place:
        return self._stream.remote

    @property
    def local(self) -> Place:
        return self._stream.local

    def _moved(self, way: Way, data: bytes) -> None:
        if not self._over:
            self._recorder.note(*self._scribe.moved(way, data, self._recorder.seconds))

    def _end(self, *, lost: bool) -> None:
        if not self._over:
            self._over = True
            self._recorder.note(*self._scribe.closed(self._recorder.seconds, lost=lost))

    async def receive(self, max_bytes: int) -> bytes:
        try:
            data = await self._stream.receive(max_bytes)
        except ConnectionLost:
            self._end(lost=True)
            raise
        if data:
            self._moved("<", data)
        elif not self._their_end and not self._over:
            self._their_end = True
            self._recorder.note(*self._scribe.ended("<", self._recorder.seconds))
        return data

    async def send(self, data: bytes) -> None:
        self._moved(">", data)
        try:
            await self._stream.send(data)
        except ConnectionLost:
            self._end(lost=True)
            raise

    async def send_eof(self) -> None:
        await self._stream.send_eof()
        if not self._over:
            self._recorder.note(*self._scribe.ended(">", self._recorder.seconds))

    def close(self) -> None:
        self._end(lost=False)
        self._stream.close()

    def abort(self) -> None:
        self._end(lost=True)
        self._stream.abort()


class _Listener:
    """A port of an attacker."""

    def __init__(self, listener: Listener, network: WitnessedNetwork) -> None:
        self._listener = listener
        self._network = network

    @property
    def address(self) -> Place:
        return self._listener.address

    async def accept(self) -> Stream:
        return self._network.witnessed(await self._listener.accept(), "accept")

    def close(self) -> None:
        self._listener.close()


class WitnessedNetwork:
    """An attacker's network, all of whose connections are written down."""

    def __init__(self, network: Network, recorder: Recorder) -> None:
        self._network = network
        self._recorder = recorder

    def witnessed(self, stream: Stream, kind: Literal["accept", "connect"]) -> Stream:
        """The same connection, whose bytes are written down."""
        address = f"{stream.remote.host}:{stream.remote.port}"
        return _Stream(stream, Scribe(self._recorder.next_number(), kind, address), self._recorder)

    async def connect(self, host: str, port: int) -> Stream:
        return self.witnessed(await self._network.connect(host, port), "connect")

    async def listen(self, port: int, host: str = "127.0.0.1") -> Listener:
        return _Listener(await self._network.listen(port, host), self)
