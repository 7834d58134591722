r"""Transcripts: what was said on connections, as plain text, one line each.

Grammar: a line is ``seconds connection what``, separated by single blanks. Seconds count from the beginning of the
transcript, connections from 1. A line that begins with ``#`` is a remark, and so is an empty one. `what` is one of

=====================  ==========================================================================
``accept HOST:PORT``   somebody connected to us from there
``connect HOST:PORT``  we connected to there
``< text``             a line came, whose LF is not shown
``> text``             a line went
``<~ text``            bytes came behind which no line end followed; ``>~`` likewise
``<= N sha256:HEX``    N bytes came that are no lines: the body of a file, or noise; ``>=`` likewise
``<!``                 nothing more comes: the other side has ended its direction; ``>!``: we have ended ours
``close``              we closed the connection
``lost``               it broke, or was reset, by either side
=====================  ==========================================================================

In a text, bytes from blank to ``~`` stand for themselves, but for the backslash, which is ``\\``; every other byte is
``\xNN``. So a transcript is ASCII, and a text can be had back exactly.

What is a body: on a connection that begins with ``GET file OSP2P`` all that the server sends; behind HELLO, as many
bytes as a DATA line has announced, once its reply is through. Noise is what runs on for more than `NOISE` bytes without
a line end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from osp2p.errors import MalformedLine
from osp2p.wire.reply import terminator_code

#: The first line of a transcript.
HEADING = "# OSP2P transcript 1"

#: Bytes without a line end beyond which they are not shown any more. Source: the longest line of 2007.
NOISE = 4096

#: How much of a body is at hand for those who look on.
HEAD = 2048

Kind = Literal["accept", "connect", "<", ">", "<~", ">~", "<=", ">=", "<!", ">!", "close", "lost"]
Way = Literal["<", ">"]
"""Where bytes went: to us, or from us."""

_WITH_ADDRESS = ("accept", "connect")
_WITH_TEXT = ("<", ">", "<~", ">~")
_WITH_BODY = ("<=", ">=")
_ALONE = ("<!", ">!", "close", "lost")

_LINE = re.compile(r"(\d{1,9}\.\d{1,9}) (\d{1,9}) (accept|connect|[<>][~=!]?|close|lost)(?: (.*))?")
_BODY = re.compile(r"(\d{1,18}) sha256:([0-9a-f]{64})")
_TEXT = re.compile(r"(?:[ -\[\]-~]|\\\\|\\x[0-9a-f]{2})*")
_ESCAPED = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a transcript.

    Attributes:
        seconds: since its beginning.
        connection: its number, from 1.
        kind: see the module.
        data: of a text, its bytes.
        address: of a connection, where it leads.
        size, sha256: of a body.
        head: the first bytes of a body, which no transcript holds.
    """

    seconds: float
    connection: int
    kind: Kind
    data: bytes = b""
    address: str = ""
    size: int = 0
    sha256: str = ""
    head: bytes = field(default=b"", compare=False)

    @property
    def way(self) -> Way | None:
        """Where its bytes went; None where none did."""
        return "<" if self.kind[0] == "<" else ">" if self.kind[0] == ">" else None


def escape_text(data: bytes) -> str:
    """Write bytes as the text of a line."""
    return "".join("\\\\" if byte == 0x5C else chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data)


def unescape_text(text: str) -> bytes:
    """Read the text of a line back.

    Raises:
        MalformedLine: it has another form.
    """
    if not _TEXT.fullmatch(text):
        raise MalformedLine("a text is ASCII; a backslash is \\\\, every other byte \\xNN")
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "\\", text).encode("latin-1")


def write_entry(entry: Entry) -> str:
    """Write one line, without its LF."""
    head = f"{entry.seconds:.6f} {entry.connection} {entry.kind}"
    if entry.kind in _WITH_ADDRESS:
        return f"{head} {entry.address}"
    if entry.kind in _WITH_TEXT:
        return f"{head} {escape_text(entry.data)}"
    if entry.kind in _WITH_BODY:
        return f"{head} {entry.size} sha256:{entry.sha256}"
    return head


def parse_entry(line: str) -> Entry | None:
    """Read one line without its LF.

    Returns: None for a remark.

    Raises:
        MalformedLine: it has another form.
    """
    if not line.strip() or line.startswith("#"):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise MalformedLine("a line of a transcript is: seconds connection what")
    seconds, number, kind, rest = float(match[1]), int(match[2]), cast(Kind, match[3]), match[4]
    if kind in _ALONE and rest is None:
        return Entry(seconds, number, kind)
    if kind in _WITH_TEXT:  # an editor may have taken the blank before nothing away
        return Entry(seconds, number, kind, unescape_text(rest or ""))
    if kind in _WITH_ADDRESS and rest and " " not in rest:
        return Entry(seconds, number, kind, address=rest)
    if kind in _WITH_BODY and rest and (body := _BODY.fullmatch(rest)):
        return Entry(seconds, number, kind, size=int(body[1]), sha256=body[2])
    raise MalformedLine(f"'{kind}' stands there with something else than belongs to it")


def parse_transcript(lines: Iterable[str]) -> list[Entry]:
    """Read a whole transcript.

    Args:
        lines: with or without their LF.

    Raises:
        MalformedLine: one has another form; the text says which.
    """
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = parse_entry(line.rstrip("\n"))
        except MalformedLine as error:
            raise MalformedLine(f"line {number}: {error}") from None
        if entry is not None:
            entries.append(entry)
    return entries


class _Piece(NamedTuple):
    """A line, the beginning of one, or a body: what an entry says of bytes."""

    mark: Literal["", "~", "="]
    line: bytes = b""
    size: int = 0
    sha256: str = ""
    head: bytes = b""


class _Direction:
    """The bytes of one direction, cut into lines and bodies."""

    def __init__(self) -> None:
        self._pending = b""
        self._start = 0
        #: Bytes of a body that are still to come; None: all until the end; 0: no body.
        self._body_left: int | None = 0
        self._noise = False
        self._size = 0
        self._hash = hashlib.sha256()
        self._head = b""

    def begin_body(self, length: int | None) -> None:
        """What follows is a body of so many bytes; None: until the end."""
        self._body_left = length

    def pieces(self, data: bytes) -> Iterator[_Piece]:
        """Take more bytes. Yields: what they complete; `begin_body` may be called between two of them."""
        self._pending = self._pending[self._start :] + data
        self._start = 0
        while self._start < len(self._pending):
            if self._body_left != 0:
                yield from self._take_body()
                continue
            end = self._pending.find(b"\n", self._start)
            length = (len(self._pending) if end < 0 else end) - self._start
            if self._noise or length > NOISE:
                self._swallow(length + (end >= 0))
                self._noise = end < 0
                if end >= 0:
                    yield self._swallowed()
            elif end >= 0:
                line = self._pending[self._start : end]
                self._start = end + 1
                yield _Piece("", line)
            else:
                return

    def rest(self) -> Iterator[_Piece]:
        """The end. Yields: what is left."""
        if self._size or self._body_left != 0:
            yield self._swallowed()
        if left := self._pending[self._start :]:
            yield _Piece("~", left)
        self._pending, self._start = b"", 0
        self._body_left = 0
        self._noise = False

    def _take_body(self) -> Iterator[_Piece]:
        here = len(self._pending) - self._start
        count = here if self._body_left is None else min(here, self._body_left)
        self._swallow(count)
        if self._body_left is not None:
            self._body_left -= count
            if self._body_left == 0:
                yield self._swallowed()

    def _swallow(self, count: int) -> None:
        part = memoryview(self._pending)[self._start : self._start + count]
        self._hash.update(part)
        if len(self._head) < HEAD:
            self._head += part[: HEAD - len(self._head)]
        self._size += count
        self._start += count

    def _swallowed(self) -> _Piece:
        piece = _Piece("=", b"", self._size, self._hash.hexdigest(), self._head)
        self._size, self._hash, self._head = 0, hashlib.sha256(), b""
        return piece


class Scribe:
    """Writes down one connection: bytes in, entries out.

    Args:
        connection: its number.
        kind: who connected.
        address: the other side's.
    """

    def __init__(self, connection: int, kind: Literal["accept", "connect"], address: str) -> None:
        self._number = connection
        self._kind: Literal["accept", "connect"] = kind
        self._address = address
        self._client: Way = "<" if kind == "accept" else ">"
        self._directions: dict[Way, _Direction] = {"<": _Direction(), ">": _Direction()}
        self._first = True
        self._hello = False
        self._announced: int | None = None

    def opened(self, seconds: float) -> Entry:
        """The first entry of all."""
        return Entry(seconds, self._number, self._kind, address=self._address)

    def moved(self, way: Way, data: bytes, seconds: float) -> list[Entry]:
        """Bytes were received or sent. Returns: what is complete by that."""
        entries = []
        for piece in self._directions[way].pieces(data):
            entries.append(self._entry(seconds, way, piece))
            if not piece.mark:
                self._read(way, piece.line)
        return entries

    def ended(self, way: Way, seconds: float) -> list[Entry]:
        """Nothing more goes that way. Returns: what was left, and the end."""
        return [*self._rest(way, seconds), Entry(seconds, self._number, "<!" if way == "<" else ">!")]

    def closed(self, seconds: float, *, lost: bool = False) -> list[Entry]:
        """The connection is over. Returns: what was left, and the end."""
        left = [*self._rest("<", seconds), *self._rest(">", seconds)]
        return [*left, Entry(seconds, self._number, "lost" if lost else "close")]

    def _rest(self, way: Way, seconds: float) -> list[Entry]:
        return [self._entry(seconds, way, piece) for piece in self._directions[way].rest()]

    def _entry(self, seconds: float, way: Way, piece: _Piece) -> Entry:
        kind = cast(Kind, way + piece.mark)
        return Entry(seconds, self._number, kind, piece.line, size=piece.size, sha256=piece.sha256, head=piece.head)

    def _read(self, way: Way, line: bytes) -> None:
        """Take note of what says that a body follows."""
        words = line.split()
        if way == self._client:
            if self._first and words:
                self._first = False
                self._hello = words[0].upper() == b"HELLO"
                if len(words) == 3 and words[0].upper() == b"GET" and words[2].upper() == b"OSP2P":
                    self._directions["<" if way == ">" else ">"].begin_body(None)
        elif self._hello and words:
            if words[0] == b"DATA" and len(words) > 1 and words[1].isdigit() and len(words[1]) < 19:
                self._announced = int(words[1])
            elif (code := terminator_code(line)) is not None:
                if self._announced and code == 200:
                    self._directions[way].begin_body(self._announced)
                self._announced = None
