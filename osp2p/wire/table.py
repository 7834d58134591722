"""The table of verbs: name, arity, help line and handler of everything that a server understands.

A room adds its verbs to a table; a server looks them up in it; HELP is printed from it, so it cannot lie.

Source: the command table of redis' first commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.request import Request, parse_words
from osp2p.wire.word import unquote

Handler = TypeVar("Handler")

#: Bytes that say that words are quoted, or that there are attributes; as numbers they are found seven times as fast.
PERCENT, EQUALS = b"%="

_NO_ATTRIBUTES: Mapping[bytes, bytes] = {}


@dataclass(frozen=True, slots=True)
class Verb(Generic[Handler]):
    """One row of the table.

    Attributes:
        name: in upper case.
        words: fewest and most words behind the verb; None for any number, and whatever stands there is a word.
        usage: the form of the request, as HELP prints it.
        help: one line of what it does.
        handler: what the server calls; its signature is the server's own.
        hello: whether it is understood only after HELLO.
        attributes: whether it takes attributes before HELLO too, which only HELLO itself does.
        body: whether bytes follow the line: where it cannot be read, nobody knows where the next one begins.
    """

    name: bytes
    words: tuple[int, int | None]
    usage: str
    help: str
    handler: Handler
    hello: bool = False
    attributes: bool = False
    body: bool = False


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

    def copy(self) -> VerbTable[Handler]:
        """A table with the same rows, to which others can be added."""
        other: VerbTable[Handler] = VerbTable()
        other._verbs.update(self._verbs)
        return other

    def verb(
        self,
        name: str,
        words: tuple[int, int | None],
        usage: str,
        help: str,
        *,
        hello: bool = False,
        attributes: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Add the decorated handler as a row; the arguments are `Verb`'s."""

        def register(handler: Handler) -> Handler:
            self.add(Verb(name.encode(), words, usage, help, handler, hello, attributes))
            return handler

        return register

    def has_body(self, line: bytes) -> bool:
        """Whether a line, readable or not, begins with a verb behind whose line bytes follow."""
        words = line.split(None, 1)
        verb = self._verbs.get(words[0].upper()) if words else None
        return verb is not None and verb.body

    def parse(self, line: bytes, *, hello: bool) -> tuple[Verb[Handler], Request] | None:
        """Read one line and find its verb, as `split`, with the rest of the line as a `Request`."""
        found = self.split(line, hello=hello)
        if found is None:
            return None
        verb, words, attributes = found
        return verb, Request(verb.name, tuple(words), attributes)

    def split(self, line: bytes, *, hello: bool) -> tuple[Verb[Handler], Sequence[bytes], Mapping[bytes, bytes]] | None:
        """Read one line and find its verb: the tracker's fast path, without a `Request` made of it.

        Args:
            line: without its LF.
            hello: whether this connection said HELLO.

        Returns: the row, the unquoted words behind the verb and the attributes, or None for a blank line.

        Raises:
            MalformedLine: an unknown verb, a wrong number of words, or malformed attributes.
        """
        words: Sequence[bytes] = line.split()
        if not words:
            return None
        verb = self._verbs.get(words[0]) or self._verbs.get(words[0].upper())
        if verb is None or (verb.hello and not hello):
            raise MalformedLine("unknown command; HELP lists them")
        attributes = _NO_ATTRIBUTES
        fewest, most = verb.words
        if EQUALS in line and (hello or verb.attributes) and most is not None:
            words, attributes = parse_words(list(words[1:]), attributes=True)
        elif PERCENT in line:
            words = [unquote(word) for word in words[1:]]
        else:
            words = words[1:]
        if len(words) < fewest or (most is not None and len(words) > most):
            raise MalformedLine(f"wrong number of words; usage: {verb.usage}")
        return verb, words, attributes
