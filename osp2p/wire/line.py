"""Lines: the unit of everything that OSP2P says.

Grammar: a line is any run of bytes but LF, ended by one LF. A CR before the LF is white space, so it
stays in the line and falls away when the line is cut into words. A line has at most `max_line` bytes,
its LF not counted; the limit binds complete lines as well as what is still incomplete.
"""

from __future__ import annotations

from osp2p.errors import LineTooLong


class LineBuffer:
    """Received bytes, given out again as lines or as raw bytes.

    Holds at most one incomplete line plus what the last `feed` brought, and lets go of it once it is given out: a
    connection that has gone quiet costs nothing, of which a stranger may open many.

    Args:
        max_line: the longest line in bytes, LF not counted.

    Source: the limit of 4096 bytes is the 2007 tracker's; that it binds complete lines too is from
        websockets' stream reader.
    """

    __slots__ = ("_data", "_max_line", "_start", "overlong")

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._data = b""
        self._start = 0
        #: True once a line over the limit was met. No line comes out any more.
        self.overlong = False

    def __len__(self) -> int:
        """How many received bytes have not been given out yet."""
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Append received bytes. Call it when no complete line is left: it copies what has not been given out."""
        rest = self._data[self._start :] if self._start else self._data
        self._data = rest + data if rest else data
        self._start = 0

    def _advance(self, start: int) -> None:
        """Give out everything before `start`, and let go of the bytes with the last of them."""
        if start < len(self._data):
            self._start = start
        else:
            self._data = b""
            self._start = 0

    def next_line(self) -> bytes | None:
        """Take the next complete line, without its LF.

        Returns: the line, or None while there is no complete one.

        Raises:
            LineTooLong: the next line, complete or not, is over the limit.
        """
        end = self._data.find(b"\n", self._start)
        length = (len(self._data) if end < 0 else end) - self._start
        if self.overlong or length > self._max_line:
            self.overlong = True
            raise LineTooLong(f"a line is longer than {self._max_line} bytes")
        if end < 0:
            return None
        line = self._data[self._start : end]
        self._advance(end + 1)
        return line

    def feed_lines(self, data: bytes) -> list[bytes]:
        """Append received bytes and take every complete line at once: the servers' fast path.

        A line over the limit ends the list before it and sets `overlong`: what came before it is still answered.

        Returns: the complete lines, without their LF.
        """
        if self.overlong:
            return []
        self.feed(data)
        end = self._data.rfind(b"\n")
        lines: list[bytes] = []
        if end >= 0:
            lines = self._data[:end].split(b"\n")
            self._advance(end + 1)
            if end > self._max_line and max(map(len, lines)) > self._max_line:
                self.overlong = True
                return lines[: next(index for index, line in enumerate(lines) if len(line) > self._max_line)]
        if len(self) > self._max_line:
            self.overlong = True
        return lines

    def take(self, max_bytes: int) -> bytes:
        """Take up to `max_bytes` raw bytes that have already arrived (those behind a `DATA` reply)."""
        data = self._data[self._start : self._start + max_bytes]
        self._advance(self._start + len(data))
        return data
