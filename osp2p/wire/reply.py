"""Replies: what a server answers to one request.

Grammar: data lines (any text that begins neither like a context line nor like a terminator), then context
lines ``ddd-text``, then one terminator ``ddd text`` or ``ddd``. The terminator's code decides. A reply is
written in one piece, because old clients read it into one buffer. A blank line says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from osp2p.errors import LineTooLong, LocalProtocolError

# A terminator begins with three decimal digits and a blank, behind which stands the text; or it is just the three
# digits, with or without CRs of a line end: all of them, as no data line that is given out may look like a terminator.
_TERMINATOR = re.compile(rb"(\d\d\d)(?: |\r*\Z)")

# A context line begins with three decimal digits and a hyphen, behind which stands the text.
_CONTEXT = re.compile(rb"(\d\d\d)-")


def is_reply_line(line: bytes) -> bool:
    """Whether a line begins with three digits, as a context line and a terminator do; a data line never does."""
    return _TERMINATOR.match(line) is not None or _CONTEXT.match(line) is not None


class Reply(NamedTuple):
    """One parsed reply.

    Attributes:
        code: the terminator's three digits as a number.
        text: the terminator's text, for people.
        data: the data lines, in order.
        context: the context lines' codes and texts, in order.
    """

    code: int
    text: bytes
    data: tuple[bytes, ...] = ()
    context: tuple[tuple[int, bytes], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the code is 2xx."""
        return 200 <= self.code < 300


def terminator_code(line: bytes) -> int | None:
    """The code of a line that ends a reply; None of any other line."""
    match = _TERMINATOR.match(line)
    return int(match[1]) if match else None


class ReplyParser:
    """Puts lines together to replies.

    Args:
        max_lines: how many lines one reply may have.
        max_bytes: how many bytes its lines may have together.
    """

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._bare = b""
        self._same = Reply(0, b"")
        self._clear()

    def _clear(self) -> None:
        self._lines = 0
        self._bytes = 0
        self._data: list[bytes] = []
        self._context: list[tuple[int, bytes]] = []

    def feed_line(self, line: bytes) -> Reply | None:
        """Take one line without its LF.

        Returns: the reply that it completes, or None.

        Raises:
            LineTooLong: the reply is over a limit; nothing more can be read from this server.
        """
        self._lines += 1
        self._bytes += len(line)
        if self._lines > self._max_lines or self._bytes > self._max_bytes:
            raise LineTooLong(f"a reply is longer than {self._max_lines} lines or {self._max_bytes} bytes")
        if not line or line.isspace():
            return None
        if line == self._bare and self._lines == 1:  # thousands of HAVEs are all answered alike
            self._lines = self._bytes = 0
            return self._same
        if not b"0" <= line[:1] <= b"9":  # of a long reply, all lines but a few: two matches would double their time
            self._data.append(line.rstrip(b"\r"))
            return None
        if match := _TERMINATOR.match(line):
            reply = Reply(int(match[1]), line[match.end() :].rstrip(b"\r"), tuple(self._data), tuple(self._context))
            if self._lines == 1:
                self._bare, self._same = line, reply
            self._clear()
            return reply
        if match := _CONTEXT.match(line):
            self._context.append((int(match[1]), line[match.end() :].rstrip(b"\r")))
        else:
            self._data.append(line.rstrip(b"\r"))
        return None


def write_reply(code: int, text: bytes, data: Iterable[bytes] = (), context: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """Write a whole reply, to be sent in one write.

    Args:
        code: 100 to 999.
        text: for people.
        data: data lines, each beginning with its keyword (never like a terminator), and not empty.
        context: codes and texts of context lines.

    Raises:
        LocalProtocolError: a text or a line has an LF in it, so that a stranger's words could pass for a reply.
    """
    lines = [*data, *(b"%d-%s" % (number, remark) for number, remark in context), b"%d %s\n" % (code, text)]
    reply = b"\n".join(lines)
    if reply.count(b"\n") != len(lines):
        raise LocalProtocolError("a line of a reply has a line end in it")
    return reply
