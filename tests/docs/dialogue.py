"""Sessions as they stand in the documents: what is typed on which connection, and what is printed behind it.

A session is a fenced block whose first line is ```` ```session NAME [WORLD] ````. All blocks of one name are one
session; the first names the world that it is played in (`worlds`). In a block:

``alice$ telnet 127.0.0.1 11111``
    opens the connection ``alice``; what the other side says follows. The name may be left out.
``ear$ nc -l 11113``
    waits for somebody who connects.
``alice> LIST``
    sends a line; the answer follows.
``alice<``
    what this connection hears now, without having sent anything.
``(chunk 1 arrives)``
    the holder gains a chunk.
``(the tracker ends)``
    somebody ends it.

In what is printed, ``(the connection closes)`` is the end, and ``(262144 bytes)`` stands for bytes of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

CLOSES = "(the connection closes)"
_ENDS = "(the tracker ends)"

_FENCE = re.compile(r"```session (?P<name>\S+)(?: (?P<world>\S+))?")
_STEP = re.compile(r"(?P<connection>[a-z]*)(?P<kind>[$><])(?: (?P<text>.*))?")
_ARRIVES = re.compile(r"\(chunk (\d+) arrives\)")
_BYTES = re.compile(r"\((\d+) bytes\)")
_TELNET = re.compile(r"telnet 127\.0\.0\.1 (\d+)")
_LISTEN = re.compile(r"nc -l (\d+)")
_TERMINATOR = re.compile(r"(\d\d\d)(?: .*)?")
_CONTEXT = re.compile(r"(\d\d\d)-.*")
_DATA = re.compile(r"DATA (\d+)(?: .*)?")

Kind = Literal["open", "listen", "say", "hear", "arrive", "end"]


class BadDialogue(Exception):
    """A session in a document cannot be read."""


@dataclass(slots=True)
class Step:
    """One thing that happens.

    Attributes:
        kind: what.
        connection: on which; "" is a name like any other.
        text: the line that is sent; the port, or the number of the chunk.
        at: the number of its line in the document, from 1.
        printed: the lines behind it.
    """

    kind: Kind
    connection: str
    text: str
    at: int
    printed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Session:
    """All blocks of one name.

    Attributes:
        world: where it is played.
        steps: in order.
    """

    name: str
    world: str
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, without the texts for people.

    Attributes:
        code: the terminator's.
        context: the context lines' codes.
        data: the data lines; those that come in random order are sorted.
        body: the bytes behind a DATA line; where the document gives their number alone, that.
    """

    code: str
    context: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    body: bytes | int | None = None


def read_sessions(document: str) -> list[Session]:
    """Find the sessions of a document.

    Raises:
        BadDialogue: one cannot be read.
    """
    sessions: dict[str, Session] = {}
    session: Session | None = None
    for at, line in enumerate(document.splitlines(), 1):
        if session is None:
            if line.startswith("```session"):
                session = _open_block(line, at, sessions)
        elif line == "```":
            session = None
        else:
            _read_line(session, line, at)
    if session is not None:
        raise BadDialogue(f"session {session.name} has no end")
    return list(sessions.values())


def read_lines(session: Session, lines: Sequence[str], at: int) -> None:
    """Add the lines of a block, the first of which is number `at`, to a session.

    Raises:
        BadDialogue.
    """
    for number, line in enumerate(lines, at):
        _read_line(session, line, number)


def _open_block(line: str, at: int, sessions: dict[str, Session]) -> Session:
    match = _FENCE.fullmatch(line)
    if match is None or (match["name"] in sessions) == bool(match["world"]):
        raise BadDialogue(f"line {at}: a session has a name and, in its first block, a world")
    return sessions.setdefault(match["name"], Session(match["name"], match["world"] or ""))


def _read_line(session: Session, line: str, at: int) -> None:
    if arrives := _ARRIVES.fullmatch(line):
        session.steps.append(Step("arrive", "", arrives[1], at))
    elif line == _ENDS:
        session.steps.append(Step("end", "", "", at))
    elif match := _STEP.fullmatch(line):
        session.steps.append(_step(match["connection"], match["kind"], match["text"] or "", at))
    elif not session.steps:
        raise BadDialogue(f"line {at}: nobody can have said this yet")
    else:
        session.steps[-1].printed.append(line)


def _step(connection: str, kind: str, text: str, at: int) -> Step:
    if kind == ">":
        return Step("say", connection, text, at)
    if kind == "<" and not text:
        return Step("hear", connection, "", at)
    if kind == "$" and (match := _TELNET.fullmatch(text)):
        return Step("open", connection, match[1], at)
    if kind == "$" and (match := _LISTEN.fullmatch(text)):
        return Step("listen", connection, match[1], at)
    raise BadDialogue(f"line {at}: nobody can do this: {text}")


def read_answers(printed: Sequence[str]) -> Iterator[Reply | None]:
    """Read printed lines as answers; None is the end of the connection.

    Raises:
        BadDialogue: the last answer has no terminator.
    """
    lines = list(printed)
    context: list[str] = []
    data: list[str] = []
    while lines:
        line = lines.pop(0)
        if line == CLOSES:
            yield None
        elif match := _TERMINATOR.fullmatch(line):
            length = body_length(match[1], data)
            body = None if length is None else _take_body(lines, length)
            yield Reply(match[1], tuple(context), in_order(data), body)
            context, data = [], []
        elif match := _CONTEXT.fullmatch(line):
            context.append(match[1])
        else:
            data.append(line)
    if context or data:
        raise BadDialogue(f"an answer has no end: {data or context}")


def body_length(code: str, data: Sequence[str]) -> int | None:
    """How many bytes of a file follow an answer; None if it is no answer of that kind."""
    match = _DATA.fullmatch(data[0]) if code == "200" and data else None
    return int(match[1]) if match else None


def in_order(data: Sequence[str]) -> tuple[str, ...]:
    """Data lines for comparison: holders and peers come in random order."""
    return tuple(sorted(data) if all(line.startswith("PEER ") for line in data) else data)


def _take_body(lines: list[str], length: int) -> bytes | int:
    """Take the bytes that are printed behind an answer; a last line may lack its end."""
    if lines and (match := _BYTES.fullmatch(lines[0])):
        del lines[0]
        return int(match[1])
    text = ""
    while lines and len(text) < length:
        text += lines.pop(0) + "\n"
    return text[:length].encode() if len(text) <= length + 1 else text.encode()


def raw_text(printed: Sequence[str]) -> tuple[bytes | int, bool]:
    """Read printed lines as a file without any answer around it. Returns: its bytes, and whether the end follows."""
    lines = [line for line in printed if line != CLOSES]
    if len(lines) == 1 and (match := _BYTES.fullmatch(lines[0])):
        return int(match[1]), CLOSES in printed
    return "".join(line + "\n" for line in lines).encode(), CLOSES in printed
