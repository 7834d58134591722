"""A person at a terminal: a line at a time, with history and completion, and answers that come in between."""

from __future__ import annotations

import contextlib
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from platformdirs import user_cache_path

from osp2p.cli.console import Console
from osp2p.errors import MalformedLine
from osp2p.wire.entry import parse_file_line
from osp2p.wire.word import quote

PROMPT = "> "

#: Most lines that are remembered from one talk to the next.
_HISTORY = 1000

#: Back to the beginning of the line, and nothing on it.
_CLEAR = "\r\x1b[K"

#: Commands that a name follows.
_WITH_NAME = ("WANT", "GET", "MD5SUM", "STAT", "CHUNKS", "HAVE", "DONTHAVE")


def known_verbs() -> list[str]:
    """What a tracker or a peer understands."""
    from osp2p.peer.session import VERBS as PEER
    from osp2p.tracker.commands import VERBS as TRACKER

    return sorted({verb.name.decode() for table in (TRACKER, PEER) for verb in table} | {"GET", "QUIT"})


class Completer:
    """What tab offers: commands at the beginning of a line, names that were listed behind one."""

    def __init__(self, verbs: list[str]) -> None:
        self._verbs = verbs
        self._names: dict[str, None] = {}

    def learn(self, line: bytes) -> None:
        """Take note of a line of an answer."""
        with contextlib.suppress(MalformedLine):
            self._names[quote(parse_file_line(line).name).decode()] = None

    def options(self, before: str, text: str) -> list[str]:
        """What a word may become.

        Args:
            before: the line before the word.
            text: what stands of the word.
        """
        if not before.strip():
            return [f"{verb} " for verb in self._verbs if verb.startswith(text.upper())]
        if before.split()[0].upper() in _WITH_NAME:
            return [f"{name} " for name in self._names if name.startswith(text)]
        return []


class Keyboard:
    """Reads lines from the terminal, in a thread, and lets other output step in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._completer = Completer(known_verbs())
        self._reading = False

    def learn(self, line: bytes) -> None:
        """Take note of a line of an answer."""
        self._completer.learn(line)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have history, completion, and in the end the terminal as it was."""
        import readline

        before = termios.tcgetattr(sys.stdin)
        history = user_cache_path("osp2p") / "talk-history"
        with contextlib.suppress(OSError):  # there is none yet
            readline.read_history_file(history)
        readline.set_history_length(_HISTORY)
        readline.set_completer_delims(" ")
        readline.set_completer(self._complete)
        readline.parse_and_bind("tab: complete")
        self._console.aside = self._aside
        try:
            yield
        finally:
            self._console.aside = contextlib.nullcontext
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            with contextlib.suppress(OSError):  # a cache that cannot be written is done without
                history.parent.mkdir(parents=True, exist_ok=True)
                readline.write_history_file(history)

    async def read(self) -> bytes | None:
        """Read a line. Returns: None at the end of input.

        Cancellation: the thread that reads is left behind; `open` repairs the terminal.
        """
        self._reading = True
        try:
            line = await trio.to_thread.run_sync(input, PROMPT, abandon_on_cancel=True)
        except EOFError:
            return None
        finally:
            self._reading = False
        return line.encode("utf-8", "surrogateescape")

    def _complete(self, text: str, state: int) -> str | None:
        import readline

        options = self._completer.options(readline.get_line_buffer()[: readline.get_begidx()], text)
        return options[state] if state < len(options) else None

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Let lines be written above the one that is being typed."""
        import readline

        if not self._reading:
            yield
            return
        self._console.out.write(_CLEAR)
        yield
        self._console.drain()  # what is typed stands behind it
        self._console.out.write(PROMPT + readline.get_line_buffer())
        self._console.out.flush()
