"""``talk``: a telnet that can be read. At a terminal with history and completion; from a pipe one line at a time."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator

import trio

from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.grade_parsers import read_address
from osp2p.cli.keyboard import Keyboard
from osp2p.cli.records import Record
from osp2p.errors import ConnectionLost
from osp2p.grade.recording import RecordedNetwork, Recorder, open_transcript
from osp2p.grade.transcript import Entry
from osp2p.limits import DEFAULT
from osp2p.net import Connection, TcpNetwork
from osp2p.net.errors import deadline
from osp2p.wire.address import Address
from osp2p.wire.meaning import explain_line
from osp2p.wire.reply import terminator_code

#: How long a greeting is waited for: peers have none.
GREETING_SECONDS = 0.5

_READ_BYTES = 65536


async def talk(arguments: Namespace, console: Console) -> int:
    """Talk until either side ends. Returns: the exit code.

    Raises:
        UsageError, NetworkError, StoreError.
    """
    host, port = read_address(arguments.address[0])
    with open_transcript(arguments.transcript) as write:
        conversation = Conversation(console, explain=arguments.explain, patience=arguments.wait)

        def note(entry: Entry) -> None:
            write(entry)
            conversation.hear(entry)

        network = RecordedNetwork(TcpNetwork(), Recorder(note))
        with deadline(trio.current_time() + DEFAULT.connect_timeout, str(Address(host, port))):
            connection = await network.connect(host, port)
        try:
            await conversation.hold(connection)
        finally:
            connection.close()
    return DONE


class Conversation:
    """One connection and a person, or a pipe.

    Args:
        explain: whether each line is said in words, too.
        patience: seconds of silence for which an answer is waited for, before the next line is sent.
    """

    def __init__(self, console: Console, *, explain: bool, patience: float) -> None:
        self._console = console
        self._explain = explain
        self._patience = patience
        self._keyboard = Keyboard(console) if sys.stdin.isatty() and sys.stdout.isatty() and not console.json else None
        self._news = trio.Event()
        self._answered = False
        self._body = False
        self._last_meaning: str | None = None

    async def hold(self, connection: Connection) -> None:
        """Send what is typed, until either side ends.

        Raises:
            ConnectionLost: it broke.
        """
        broken: list[ConnectionLost] = []

        async def receive() -> None:
            try:
                while await connection.receive(_READ_BYTES):
                    pass
            except ConnectionLost as error:
                broken.append(error)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await self._wait(GREETING_SECONDS)
            async for line in self._lines():
                await self._say(connection, line)
            if self._keyboard is None:  # a person who leaves has read what he wanted
                await connection.send_eof()
                await self._wait(self._patience, until_end=True)
            nursery.cancel_scope.cancel()
        if broken:
            raise broken[0]

    async def _lines(self) -> AsyncIterator[bytes]:
        """What is typed, or comes from the pipe."""
        if self._keyboard is None:
            async for line in _piped_lines():
                yield line
            return
        with self._keyboard.open():
            while (typed := await self._keyboard.read()) is not None:
                yield typed

    async def _say(self, connection: Connection, line: bytes) -> None:
        self._answered = False
        try:
            await connection.send(line + b"\n")
        except ConnectionLost:
            await trio.sleep_forever()  # whoever receives hears the same, and ends us
        if line.strip():
            await self._wait(self._patience)

    async def _wait(self, seconds: float, *, until_end: bool = False) -> None:
        """Wait for a whole answer, or for so much silence."""
        while until_end or not self._answered or self._body:
            self._news = trio.Event()
            with trio.move_on_after(seconds) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                return

    # --- what is heard ---

    def hear(self, entry: Entry) -> None:
        """Show what came."""
        self._news.set()
        if entry.kind == "<":
            self._hear_line(entry.data)
        elif entry.kind == "<=":
            self._body = False
        if entry.kind == "<" and self._keyboard is not None:
            self._keyboard.learn(entry.data)
        if self._console.json:
            self._console.records(_records(entry))
        else:
            self._console.say(*self._shown(entry))

    def _hear_line(self, line: bytes) -> None:
        """Take note of where an answer ends."""
        words = line.split()
        if terminator_code(line) is not None:
            self._answered = True
        elif words[:1] == [b"DATA"] and words[1:2] not in ([], [b"0"]):
            self._body = True

    def _shown(self, entry: Entry) -> Iterator[str]:
        text = entry.data.decode("utf-8", "backslashreplace").rstrip("\r")
        match entry.kind:
            case "<":
                yield text
                yield from self._meaning(explain_line(entry.data))
            case "<~":
                yield text
                yield "(no line end)"
            case "<=":
                yield from _shown_body(entry)
                if not entry.size:
                    yield from self._meaning("an empty file and a refusal look the same")
            case ">":
                self._last_meaning = None
                if self._keyboard is None:
                    yield f"> {text}"
            case "<!":
                yield "(the connection closes)"
            case "lost":
                yield "(the connection is broken)"

    def _meaning(self, meaning: str | None) -> Iterator[str]:
        """What a line means, if that was asked for; once for lines that follow each other and mean the same."""
        if self._explain and meaning and meaning != self._last_meaning:
            yield f"    {meaning}"
        self._last_meaning = meaning


def _shown_body(entry: Entry) -> Iterator[str]:
    """A body: itself, if it is a short text."""
    text = entry.head.decode("utf-8", "replace")
    if entry.size and entry.size == len(entry.head) and text.replace("\n", "").replace("\t", "").isprintable():
        yield from text.splitlines()
    yield f"({entry.size} bytes, SHA-256 {entry.sha256})"


def _records(entry: Entry) -> Iterator[Record]:
    if entry.kind in ("<", ">", "<~", ">~"):
        text = entry.data.decode("utf-8", "backslashreplace")
        yield {"event": "line", "way": entry.way, "whole": "~" not in entry.kind, "text": text}
    elif entry.kind in ("<=", ">="):
        yield {"event": "body", "way": entry.way, "size": entry.size, "sha256": entry.sha256}
    elif entry.kind in ("<!", "lost"):
        yield {"event": "end", "broken": entry.kind == "lost"}


async def _piped_lines() -> AsyncIterator[bytes]:
    """The lines of standard input, the last one also without its end."""
    rest = b""
    while data := await trio.to_thread.run_sync(os.read, 0, _READ_BYTES, abandon_on_cancel=True):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
