"""Plays the documents' sessions against servers of ours, and says where a document tells something else.

It reads and writes sockets with code of its own, not the package's. What is compared: codes, data lines, bytes of
files, and ends of connections. Texts behind codes are for people and may differ.

``python -m tests.docs.replay docs/protocol.md`` plays them, too, and writes what was really said into the document.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.docs.dialogue import (
    CLOSES,
    Reply,
    Session,
    Step,
    body_length,
    in_order,
    raw_text,
    read_answers,
    read_sessions,
)
from tests.docs.worlds import PEER_PORT, World, open_world

#: Up to how many bytes of a file are shown.
_SHOWN = 100

_REPLY_LINE = re.compile(rb"(\d\d\d)([ -]|$)")


class Wire:
    """One connection of a session."""

    def __init__(self, stream: trio.SocketStream, *, to_peer: bool) -> None:
        self._stream = stream
        self._buffer = b""
        self._to_peer = to_peer
        #: Whether a file without any answer around it is to be expected.
        self.is_raw = False
        self._fresh = True

    async def say(self, line: str) -> None:
        """Send a line; the first one decides how the rest of a peer's connection is read."""
        if self._fresh:
            self.is_raw = self._to_peer and line.split()[:2] != ["HELLO", "OSP2P/2"]
        self._fresh = False
        await self._stream.send_all(line.encode() + b"\n")

    async def _more(self) -> bool:
        try:
            data = await self._stream.receive_some(1 << 20)
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        return bool(data)

    async def _line(self) -> str | None:
        while b"\n" not in self._buffer:
            if not await self._more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")

    async def read_answer(self) -> Reply | None:
        """Read one answer. Returns: None at the end of the connection."""
        context: list[str] = []
        data: list[str] = []
        while (line := await self._line()) is not None:
            match = _REPLY_LINE.match(line.encode("latin-1"))
            if match is None:
                data.append(line)
            elif match[2] == b"-":
                context.append(line[:3])
            else:
                length = body_length(line[:3], data)
                body = None if length is None else await self._bytes(length)
                return Reply(line[:3], tuple(context), in_order(data), body)
        return None

    async def _bytes(self, length: int) -> bytes:
        while len(self._buffer) < length and await self._more():
            pass
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    async def read_all(self) -> bytes:
        """Read to the end of the connection."""
        while await self._more():
            pass
        rest, self._buffer = self._buffer, b""
        return rest

    async def read_rest(self) -> bytes:
        """End our direction and read what the document has not told."""
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return self._buffer
        return await self.read_all()

    async def read_until_silent(self, silence: float) -> tuple[bytes, bool]:
        """For the recorder. Returns: what came, and whether the connection ended."""
        ended = False
        while not ended:
            with trio.move_on_after(silence) as scope:
                ended = not await self._more()
            if scope.cancelled_caught:
                break
        came, self._buffer = self._buffer, b""
        return came, ended

    async def aclose(self) -> None:
        await self._stream.aclose()


class Player:
    """Plays one session in one world.

    Args:
        peer_ports: the documents' ports at which peers listen.

    Attributes:
        wires: the connections, by name.
    """

    def __init__(self, world: World, peer_ports: Collection[int] = (PEER_PORT,)) -> None:
        self._world = world
        self._peer_ports = peer_ports
        self.wires: dict[str, Wire] = {}
        self._listeners: dict[str, trio.SocketListener] = {}

    async def act(self, step: Step) -> Wire | None:
        """Do what a step says. Returns: the connection on which something may be heard now."""
        if step.kind == "arrive":
            self._world.arrive(int(step.text))
            return None
        if step.kind == "end":
            self._world.end()
            return None
        if step.kind == "listen":
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._listeners[step.connection] = listener
            self._world.ports[int(step.text)] = listener.socket.getsockname()[1]
            return None
        if step.kind == "open":
            port = int(step.text)
            stream = await trio.open_tcp_stream("127.0.0.1", self._world.ports[port])
            self.wires[step.connection] = Wire(stream, to_peer=port in self._peer_ports)
        elif step.kind == "say":
            await self.wires[step.connection].say(self._to_real(step.text))
        elif step.connection in self._listeners:
            async with self._listeners.pop(step.connection) as listener:
                self.wires[step.connection] = Wire(await listener.accept(), to_peer=True)
            self.wires[step.connection].is_raw = True
        return self.wires[step.connection]

    def _to_real(self, text: str) -> str:
        for shown, real in self._world.ports.items():
            text = re.sub(rf"127\.0\.0\.1:{shown}\b", f"127.0.0.1:{real}", text)
        return text

    def to_shown(self, text: str) -> str:
        """Write the documents' ports for the real ones."""
        for shown, real in self._world.ports.items():
            text = re.sub(rf"127\.0\.0\.1:{real}\b", f"127.0.0.1:{shown}", text)
        return text

    def shown_reply(self, reply: Reply | None) -> Reply | None:
        """A reply with the documents' ports."""
        if reply is None:
            return None
        return Reply(reply.code, reply.context, in_order([self.to_shown(line) for line in reply.data]), reply.body)

    async def aclose(self) -> None:
        for wire in self.wires.values():
            await wire.aclose()
        for listener in self._listeners.values():
            await listener.aclose()


@asynccontextmanager
async def open_player(session: Session) -> AsyncIterator[Player]:
    """A player in a fresh world."""
    with tempfile.TemporaryDirectory(prefix="osp2p-docs-") as directory:
        async with open_world(session.world, Path(directory)) as world:
            player = Player(world)
            try:
                yield player
            finally:
                await player.aclose()


async def differences(session: Session, patience: float = 10) -> list[str]:
    """Play a session.

    Args:
        patience: seconds that each answer may take.

    Returns: what was said otherwise than in the document, one sentence each.
    """
    found: list[str] = []
    async with open_player(session) as player:
        for step in session.steps:
            try:
                with trio.fail_after(patience):
                    found += await compare_step(player, step)
            except trio.TooSlowError:
                return [*found, f"line {step.at}: no such answer within {patience} s"]
        for name, wire in player.wires.items():
            with trio.move_on_after(patience):
                if rest := await wire.read_rest():
                    found.append(f"connection {name!r} also heard {rest[:200]!r}")
    return found


async def compare_step(player: Player, step: Step) -> list[str]:
    """Do what a step says, and read what the document says that comes. Returns: differences."""
    wire = await player.act(step)
    if wire is None:
        return []
    if wire.is_raw:
        return await _compare_raw(player, wire, step)
    found = []
    for told in read_answers(step.printed):
        real = player.shown_reply(await wire.read_answer())
        if told != _as_told(real, told):
            found.append(f"line {step.at}: {step.text!r} is answered {real}, not {told}")
    return found


def _as_told(real: Reply | None, told: Reply | None) -> Reply | None:
    """What was really said, with only the number of a file's bytes where the document gives no more."""
    if real is None or told is None or not isinstance(told.body, int) or not isinstance(real.body, bytes):
        return real
    return Reply(real.code, real.context, real.data, len(real.body))


async def _compare_raw(player: Player, wire: Wire, step: Step) -> list[str]:
    told, closes = raw_text(step.printed)
    if not step.printed:
        return []
    assert closes, f"line {step.at}: without an answer around it a file ends with its connection"
    real = player.to_shown((await wire.read_all()).decode("latin-1")).encode("latin-1")
    if told in (real, real + b"\n", len(real)):
        return []
    return [f"line {step.at}: {step.text!r} is answered {real[:200]!r}, not {str(told)[:200]}"]


# --- recording ---


def transcribe(came: bytes, *, is_raw: bool) -> list[str]:
    """Write what came as it is printed in a document."""
    if is_raw:
        return _show_bytes(came)
    printed: list[str] = []
    data: list[str] = []
    while came:
        raw, newline, came = came.partition(b"\n")
        assert newline, f"an answer ends in the middle of a line: {raw!r}"
        line = raw.decode("latin-1")
        printed.append(line)
        match = _REPLY_LINE.match(raw)
        if match is None:
            data.append(line)
        elif match[2] != b"-":
            length = body_length(line[:3], data) or 0
            printed += _show_bytes(came[:length])
            came, data = came[length:], []
    return printed


def _show_bytes(body: bytes) -> list[str]:
    if len(body) <= _SHOWN and body.isascii() and body.decode().replace("\n", "").isprintable():
        return body.decode().splitlines()
    return [f"({len(body)} bytes)"]


async def record(document: str, silence: float = 0.3) -> str:
    """Play all sessions.

    Args:
        silence: seconds after which all has been said.

    Returns: the document, with what was really said.
    """
    lines = document.splitlines()
    heard: dict[int, list[str]] = {}
    told: dict[int, int] = {}
    for session in read_sessions(document):
        async with open_player(session) as player:
            for step in session.steps:
                told[step.at] = len(step.printed)
                wire = await player.act(step)
                heard[step.at] = await _hear(player, wire, silence) if wire is not None else []
    out: list[str] = []
    skip = 0
    for at, line in enumerate(lines, 1):
        if skip:
            skip -= 1
            continue
        out.append(line)
        if at in heard:
            out += heard[at]
            skip = told[at]
    return "\n".join(out) + "\n"


async def _hear(player: Player, wire: Wire, silence: float) -> list[str]:
    came, ended = await wire.read_until_silent(silence)
    printed = transcribe(player.to_shown(came.decode("latin-1")).encode("latin-1"), is_raw=wire.is_raw)
    return [*printed, CLOSES] if ended else printed


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        path.write_text(trio.run(record, path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
