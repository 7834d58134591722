"""Words: what a line is made of, and how bytes that may not stand in one are quoted.

Grammar: words are separated by white space (blank, tab, CR, VT, FF). Any byte but letters, digits and
``$ - _ . + ! * ' ( ) ,`` is sent as ``%XX``. In a received word ``%XX`` with two hex digits is decoded; any
other ``%`` stands for itself.
"""

from __future__ import annotations

import re

from osp2p.errors import LocalProtocolError

# A byte stands for itself if it is a letter, a digit or one of $ - _ . + ! * ' ( ) , and is quoted otherwise.
# Source: what RFC 1738 calls unreserved.
_UNSAFE = re.compile(rb"[^A-Za-z0-9$\-_.+!*'(),]+")

# A quoted byte is a percent sign and two hex digits, in upper or lower case.
_QUOTED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")

#: Most such bytes stand alone, a slash or a blank; whole runs of them are what strangers send to make work.
_QUOTE = {bytes([value]): b"%%%02X" % value for value in range(256)}
_UNQUOTE = {form % value: bytes([value]) for value in range(256) for form in (b"%%%02X", b"%%%02x")}


def quote(raw: bytes) -> bytes:
    """Write raw bytes as one word.

    Raises:
        LocalProtocolError: `raw` is empty; a word has at least one byte.
    """
    if not raw:
        raise LocalProtocolError("an empty name cannot be written as a word")
    return _UNSAFE.sub(lambda match: _QUOTE.get(match[0]) or b"%" + match[0].hex("%").upper().encode(), raw)


def unquote(word: bytes) -> bytes:
    """Read one word's raw bytes. Never fails: a ``%`` that quotes nothing stands for itself."""
    if b"%" not in word:
        return word
    return _QUOTED.sub(
        lambda match: _UNQUOTE.get(match[0]) or bytes.fromhex(match[0].translate(None, b"%").decode()), word
    )
