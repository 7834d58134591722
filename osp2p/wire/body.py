"""Answers to many pipelined requests for whole files: replies with a body behind each, out of large pieces of bytes.

Grammar: a reply whose first data line is ``DATA length``, then so many bytes; or a refusal, which has no body.
"""

from __future__ import annotations

import re

from osp2p.errors import LineTooLong, MalformedLine
from osp2p.wire.entry import parse_number
from osp2p.wire.reply import Reply, ReplyParser

# The head of nearly every answer, which need not be cut into lines: a data line with the length and nothing behind it,
# and a terminator with a text.
_PLAIN_HEAD = re.compile(rb"DATA (\d{1,18})\r?\n2\d\d [^\n]{0,200}\n")

#: Bytes that are received at a time, at most.
_PIECE = 256 * 1024


class BodyParser:
    """Cuts received bytes into answers. The caller receives into `space`, says how much came, and takes answers.

    Args:
        max_body: the longest body in bytes; nothing longer is asked for.
        max_line: of one line, in bytes, its LF not counted.
        max_lines: of one reply.
        max_bytes: of one reply, without its body.
    """

    def __init__(self, max_body: int, max_line: int, max_lines: int, max_bytes: int) -> None:
        self._buffer = bytearray(max_body + 2 * _PIECE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._max_line = max_line
        self._replies = ReplyParser(max_lines, max_bytes)
        self._in_reply = False
        self._length: int | None = None

    def space(self) -> memoryview:
        """Where the next bytes belong. What earlier answers referred to is overwritten."""
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < _PIECE:
            rest = self._end - self._start
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest
        return self._view[self._end : self._end + _PIECE]

    def received(self, count: int) -> None:
        """Say that so many bytes are in `space` now."""
        self._end += count

    def next_reply(self) -> Reply | None:
        """Take a reply without a body. Returns: the reply; None if more is to come. Raises: LineTooLong."""
        while (end := self._buffer.find(b"\n", self._start, self._end)) >= 0:
            self._check_line(end)
            reply = self._replies.feed_line(bytes(self._view[self._start : end]))
            self._start = end + 1
            self._in_reply = reply is None
            if reply is not None:
                return reply
        self._check_line(self._end)
        return None

    def next(self, length: int) -> memoryview | Reply | None:
        """Take the next answer.

        Args:
            length: of the body that was asked for, in bytes; at most `max_body`.

        Returns: the body, which stays until `space` is called; a refusal; or None while the answer is not complete.

        Raises:
            MalformedLine: a 2xx without DATA, or with another length.
            LineTooLong: the reply is over a limit.
        """
        if self._length is None and not self._take_plain_head():
            reply = self.next_reply()
            if reply is None or not reply.ok:
                return reply
            self._length = _length_of(reply)
        if self._length != length:
            raise MalformedLine(f"sends {self._length} bytes instead of {length}")
        if self._end - self._start < length:
            return None
        body = self._view[self._start : self._start + length]
        self._start += length
        self._length = None
        return body

    def _take_plain_head(self) -> bool:
        """Take the head of an answer if it is an ordinary one, and here."""
        if self._in_reply:
            return False
        match = _PLAIN_HEAD.match(self._buffer, self._start, self._end)
        if match is None:
            return False
        self._length = int(match[1])
        self._start = match.end()
        return True

    def _check_line(self, end: int) -> None:
        if end - self._start > self._max_line:
            raise LineTooLong(f"a line is longer than {self._max_line} bytes")


def _length_of(reply: Reply) -> int:
    """The length that a reply says its body has.

    Raises:
        MalformedLine.
    """
    words = reply.data[0].split() if reply.data else []
    if len(words) < 2 or words[0] != b"DATA":
        raise MalformedLine("answers GET without a DATA line")
    return parse_number(words[1], 2**63 - 1, "DATA")
