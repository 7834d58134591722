"""Dialogues as tables: what is sent, and what must come, step by step.

A step names a connection by a letter, which opens it at its first mention; of a tracker its greeting is read then.
Words in braces are filled in: ``{a}`` is the alias of connection a, ``{file}`` a name that nobody else uses (of a peer:
the file that it shares), ``{host}`` our own address.

A pattern of a data line is a line of words, in which ``*`` stands for anything: its plain words must be all that stand
there, in that order, and its attributes must be among those that do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal, Protocol

import trio

from osp2p.grade.stage import Stage, show
from osp2p.grade.verdict import Category, Check, Wrong
from osp2p.wire.reply import Reply

#: How long a program may take to forget who has left, and what it may take until then.
FORGET_SECONDS = 3.0
_FORGET_PAUSE = 0.05

#: Between two bytes that are sent one by one: long enough for each to be a packet.
_BYTE_PAUSE = 0.002

Figures = Mapping[str, str]
Play = Callable[[Stage], Awaitable[Figures | None]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A check, and what finds out.

    Attributes:
        check: what is asked.
        play: asks it; raises `Wrong`. Returns figures, if it measured any.
    """

    check: Check
    play: Play


class Step(Protocol):
    """One step of a dialogue."""

    async def take(self, stage: Stage) -> None:
        """Do it. Raises: Wrong."""


def matches(pattern: str, line: bytes) -> bool:
    """Whether a data line is as a pattern says; ``**`` is any line."""
    if pattern == "**":
        return True
    wanted, there = pattern.split(), line.decode("latin-1").split()
    plain = [word for word in there if "=" not in word]
    wanted_plain = [word for word in wanted if "=" not in word]
    if len(plain) != len(wanted_plain) or not all(map(fnmatchcase, plain, wanted_plain)):
        return False
    attributes = [word for word in wanted if "=" in word]
    return all(any(fnmatchcase(word, attribute) for word in there) for attribute in attributes)


def check_reply(reply: Reply, to: str, codes: Iterable[int], has: Iterable[str], lacks: Iterable[str]) -> None:
    """Compare a reply with what it must be.

    Args:
        to: what it answers, for people.
        has: patterns, for each of which a data line must be there.
        lacks: patterns for which none may be there.

    Raises:
        Wrong.
    """
    codes = tuple(codes)
    if codes and reply.code not in codes:
        text = f" {show(reply.text)}" if reply.text else ""
        raise Wrong(f"{to} is answered {reply.code}{text}, not {' or '.join(map(str, codes))}")
    for pattern in has:
        if not any(matches(pattern, line) for line in reply.data):
            raise Wrong(f"in the answer to {to} there is no line {show(pattern)}{_but(reply)}")
    for pattern in lacks:
        for line in reply.data:
            if matches(pattern, line):
                raise Wrong(f"in the answer to {to} there is the line {show(line)}")


def _but(reply: Reply) -> str:
    if not reply.data:
        return ", and no other"
    more = f" and {len(reply.data) - 1} more" if len(reply.data) > 1 else ""
    return f", but {show(reply.data[0])}{more}"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a line, and read its reply; without a line, read one more reply."""

    on: str
    line: str | None
    codes: tuple[int, ...]
    has: tuple[str, ...]
    lacks: tuple[str, ...]

    async def take(self, stage: Stage) -> None:
        talk = await stage.on(self.on)
        to = "what was sent before"
        if self.line is not None:
            text = stage.fill(self.line)
            to = show(text)
            await talk.send(text.encode("latin-1") + b"\n")
        reply = await talk.reply(to)
        check_reply(reply, to, self.codes, map(stage.fill, self.has), map(stage.fill, self.lacks))


@dataclass(frozen=True, slots=True)
class Until:
    """Ask again and again, until the answer has the code, for as long as forgetting may take."""

    on: str
    line: str
    code: int

    async def take(self, stage: Stage) -> None:
        talk = await stage.on(self.on)
        latest = trio.current_time() + FORGET_SECONDS
        while (reply := await stage.ask(self.line, talk)).code != self.code:
            if trio.current_time() > latest:
                check_reply(reply, f"{show(stage.fill(self.line))}, {FORGET_SECONDS:g} s later,", [self.code], (), ())
            await trio.sleep(_FORGET_PAUSE)


@dataclass(frozen=True, slots=True)
class Say:
    """Send bytes as they stand, perhaps one by one, and read nothing."""

    on: str
    text: str
    byte_by_byte: bool
    may_end: bool

    async def take(self, stage: Stage) -> None:
        talk = await stage.on(self.on)
        data = stage.fill(self.text).encode("latin-1")
        size = 1 if self.byte_by_byte else max(1, len(data))
        for start in range(0, len(data), size):
            try:
                await talk.send(data[start : start + size])
            except Wrong:
                if not self.may_end:
                    raise
                return
            if self.byte_by_byte:
                await trio.sleep(_BYTE_PAUSE)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing comes, and the connection stands."""

    on: str
    after: str

    async def take(self, stage: Stage) -> None:
        await (await stage.on(self.on)).quiet(self.after)


@dataclass(frozen=True, slots=True)
class Ends:
    """The other side closes the connection; what it says before does not matter unless nothing may come."""

    on: str
    silently: bool

    async def take(self, stage: Stage) -> None:
        rest = await (await stage.on(self.on)).rest(1 << 20)
        if self.silently and rest:
            raise Wrong(f"it sends {show(rest)} where it should close without a byte")


@dataclass(frozen=True, slots=True)
class Leave:
    """We close a connection, or reset it, or end our direction of it."""

    on: str
    how: Literal["close", "reset", "half"]

    async def take(self, stage: Stage) -> None:
        if self.how == "half":
            await (await stage.on(self.on)).end_ours()
        else:
            stage.leave(self.on, reset=self.how == "reset")
            await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class Gives:
    """A peer sends the whole file, and closes."""

    on: str

    async def take(self, stage: Stage) -> None:
        content = stage.specimen.content
        rest = await (await stage.on(self.on)).rest(len(content))
        check_body(rest, content, "the file")


@dataclass(frozen=True, slots=True)
class Body:
    """A peer behind HELLO sends a part of the file, behind the reply that has been read."""

    on: str
    first: int
    length: int | None

    async def take(self, stage: Stage) -> None:
        whole = stage.specimen.content
        content = whole[self.first :] if self.length is None else whole[self.first : self.first + self.length]
        check_body(await (await stage.on(self.on)).read(len(content)), content, "the part that was asked for")


def check_body(found: bytes, content: bytes, what: str) -> None:
    """Compare bytes with what they must be.

    Raises:
        Wrong.
    """
    if found == content:
        return
    if content.startswith(found):
        raise Wrong(f"of {what} only {len(found)} of {len(content)} bytes come")
    if found.startswith(content):
        raise Wrong(f"more than the {len(content)} bytes of {what} come")
    same = next(index for index, pair in enumerate(zip(found, content, strict=False)) if pair[0] != pair[1])
    raise Wrong(f"what comes differs from {what} at byte {same} of {len(content)}")


def ask(on: str, line: str, *codes: int, has: Iterable[str] = (), lacks: Iterable[str] = ()) -> Step:
    """Send a line; its reply has one of the codes, such lines and no such lines."""
    return Ask(on, line, codes, tuple(has), tuple(lacks))


def hear(on: str, *codes: int, has: Iterable[str] = (), lacks: Iterable[str] = ()) -> Step:
    """One more reply comes, to what was sent before."""
    return Ask(on, None, codes, tuple(has), tuple(lacks))


def until(on: str, line: str, code: int) -> Step:
    """Soon the answer to a line has this code."""
    return Until(on, line, code)


def say(on: str, text: str, *, byte_by_byte: bool = False, may_end: bool = False) -> Step:
    """Send bytes as they stand; perhaps the other side may end the connection meanwhile."""
    return Say(on, text, byte_by_byte, may_end)


def quiet(on: str, after: str) -> Step:
    """Nothing comes for a moment."""
    return Quiet(on, after)


def ends(on: str, *, silently: bool = False) -> Step:
    """The other side closes."""
    return Ends(on, silently)


def leave(on: str, how: Literal["close", "reset", "half"] = "close") -> Step:
    """We leave."""
    return Leave(on, how)


def gives(on: str) -> Step:
    """The whole file comes, and the end."""
    return Gives(on)


def body(on: str, first: int = 0, length: int | None = None) -> Step:
    """Bytes of the file come, and the connection goes on."""
    return Body(on, first, length)


async def _play(steps: tuple[Step, ...], stage: Stage) -> None:
    for step in steps:
        await step.take(stage)


def dialogue(id: str, category: Category, title: str, *steps: Step) -> Scene:
    """A scene that is a table of steps."""
    return Scene(Check(id, category, title), partial(_play, steps))
