"""The table of verbs: name, arity, help line and handler of everything that a server understands.

A room adds its verbs to a table; a server looks them up in it; HELP is printed from it, so it cannot lie.

Source: the command table of redis' first commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.request import Request, parse_words

Handler = TypeVar("Handler")


@dataclass(frozen=True, slots=True)
class Verb(Generic[Handler]):
    """One row of the table.

    Attributes:
        name: in upper case.
        words: fewest and most words behind the verb; None for any number.
        usage: the form of the request, as HELP prints it.
        help: one line of what it does.
        handler: what the server calls; its signature is the server's own.
        hello: whether it is understood only after HELLO.
    """

    name: bytes
    words: tuple[int, int | None]
    usage: str
    help: str
    handler: Handler
    hello: bool = False


class VerbTable(Generic[Handler]):
    """Verbs by name, in the order in which they were added."""

    def __init__(self) -> None:
        self._verbs: dict[bytes, Verb[Handler]] = {}

    def __iter__(self) -> Iterator[Verb[Handler]]:
        """Each verb once, in the order of the table."""
        return iter(self._verbs.values())

    def add(self, verb: Verb[Handler]) -> None:
        """Add a row.

        Raises:
            LocalProtocolError: the table has that verb already, or no line could ever match its name.
        """
        if verb.name.upper().split() != [verb.name]:
            raise LocalProtocolError(f"{verb.name!r} cannot be a verb: it is one word in upper case")
        if verb.name in self._verbs:
            raise LocalProtocolError(f"{verb.name.decode()} is in the table already")
        self._verbs[verb.name] = verb

    def verb(
        self, name: str, words: tuple[int, int | None], usage: str, help: str, *, hello: bool = False
    ) -> Callable[[Handler], Handler]:
        """Add the decorated handler as a row; the arguments are `Verb`'s."""

        def register(handler: Handler) -> Handler:
            self.add(Verb(name.encode(), words, usage, help, handler, hello))
            return handler

        return register

    def parse(self, line: bytes, *, hello: bool) -> tuple[Verb[Handler], Request] | None:
        """Read one line and find its verb.

        Args:
            line: without its LF.
            hello: whether this connection said HELLO.

        Returns: the row and the request, or None for a blank line.

        Raises:
            MalformedLine: an unknown verb, a wrong number of words, or malformed attributes.
        """
        words = line.split()
        if not words:
            return None
        verb = self._verbs.get(words[0].upper())
        if verb is None or (verb.hello and not hello):
            raise MalformedLine("unknown command; HELP lists them")
        plain, attributes = parse_words(words[1:], attributes=hello) if len(words) > 1 else ((), {})
        fewest, most = verb.words
        if len(plain) < fewest or (most is not None and len(plain) > most):
            raise MalformedLine(f"wrong number of words; usage: {verb.usage}")
        return verb, Request(verb.name, plain, attributes)
