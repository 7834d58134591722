"""Requests: a verb, its words and, after HELLO, its attributes.

Grammar: ``VERB word… [key=value…]``. The verb is case-insensitive. An attribute is a word with a raw ``=``
(names send theirs as ``%3D``); its key is ``[a-z][a-z0-9-]*``, its value is quoted like any word and may be
empty. Attributes stand at the end of the line, in any order, each key once. Before HELLO there are no
attributes: a word with a ``=`` is a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.word import quote, unquote

# A key begins with a lower-case letter; lower-case letters, digits and hyphens follow.
_KEY = re.compile(rb"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """One parsed line.

    Attributes:
        verb: in upper case.
        words: what follows it, unquoted.
        attributes: key to unquoted value; empty before HELLO.
    """

    verb: bytes
    words: tuple[bytes, ...] = ()
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)


def parse_words(words: list[bytes], *, attributes: bool) -> tuple[tuple[bytes, ...], dict[bytes, bytes]]:
    """Split raw words into unquoted words and attributes.

    Args:
        words: the raw words behind a verb.
        attributes: whether HELLO was said.

    Raises:
        MalformedLine: a key of another form, a key twice, or a word behind an attribute.
    """
    if not attributes:
        return tuple([unquote(word) for word in words]), {}
    plain: list[bytes] = []
    found: dict[bytes, bytes] = {}
    for word in words:
        key, equals, value = word.partition(b"=")
        if not equals:
            if found:
                raise MalformedLine("attributes stand at the end of the line")
            plain.append(unquote(word))
        elif not _KEY.fullmatch(key):
            raise MalformedLine("an attribute is key=value, its key of a-z, 0-9 and -; a name sends = as %3D")
        elif key in found:
            raise MalformedLine(f"the attribute {key.decode()} stands there twice")
        else:
            found[key] = unquote(value)
    return tuple(plain), found


def parse_request(line: bytes, *, attributes: bool = False) -> Request | None:
    """Read one line.

    Returns: the request, or None for a blank line, which is ignored.

    Raises:
        MalformedLine: see `parse_words`.
    """
    words = line.split()
    if not words:
        return None
    plain, found = parse_words(words[1:], attributes=attributes)
    return Request(words[0].upper(), plain, found)


def write_words(words: tuple[bytes, ...], attributes: Mapping[bytes, bytes]) -> bytes:
    """Write words and attributes, each quoted, separated by blanks.

    Raises:
        LocalProtocolError: an empty word, or a key of another form.
    """
    parts = [quote(word) for word in words]
    for key, value in attributes.items():
        if not _KEY.fullmatch(key):
            raise LocalProtocolError(f"{key!r} cannot be an attribute's key")
        parts.append(key + b"=" + (quote(value) if value else b""))
    return b" ".join(parts)


def write_request(verb: bytes, *words: bytes, attributes: Mapping[bytes, bytes] | None = None) -> bytes:
    """Write one line with its LF.

    Args:
        verb: written as it stands.
        words: raw bytes, quoted here.
        attributes: key to raw value, quoted here; only for a server that has answered HELLO.

    Raises:
        LocalProtocolError: an empty word, or a key of another form.
    """
    rest = write_words(words, attributes or {})
    return verb + (b" " + rest if rest else b"") + b"\n"
