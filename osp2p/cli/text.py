"""Text for people and for JSON: names from strangers made harmless, sizes, rates and times in both directions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

#: What a size may end in: powers of 10 and of 2. Case matters to nobody.
_UNITS = {"": 1, "b": 1} | {
    prefix + infix + "b": base**power
    for infix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("kmgtp", start=1)
}

#: One size: digits, perhaps with a fraction, perhaps a unit.
_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)

#: A word in which a shell finds nothing to do; zsh looks at a ``=`` in front.
_PLAIN_WORD = re.compile(r"(?!=)[\w@%+=:,./-]+")

_SPECIAL_IN_DOUBLE_QUOTES = frozenset('"$`\\!')
_SPECIAL_IN_SHELL_STRING = frozenset("\\'!")
_SHELL_LETTERS = {"\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}

#: No file is larger.
LARGEST_SIZE = 2**63 - 1


def escape(raw: bytes | str) -> str:
    r"""Write bytes or text of a stranger so that a terminal shows it and obeys nothing in it.

    What can be printed stays. Control characters (C0, DEL, C1), changes of direction, invisible characters and line
    ends become ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``; bytes that are not UTF-8 become ``\xNN``.

    Args:
        raw: bytes, or text in which undecodable bytes may stand as surrogates (`os.fsdecode`).
    """
    text = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shell_word(text: str) -> str:
    """Write one word of a command so that a person can paste it and bash, zsh or ksh reads it back exactly.

    A shell that knows no ``$'…'`` (dash, fish) reads all but those words.

    Args:
        text: undecodable bytes may stand in it as surrogates.
    """
    if not text.isprintable():
        return f"$'{''.join(map(_shell_character, text))}'"
    if _PLAIN_WORD.fullmatch(text):
        return text
    if "'" in text and _SPECIAL_IN_DOUBLE_QUOTES.isdisjoint(text):
        return f'"{text}"'
    return "'{}'".format(text.replace("'", r"'\''"))


def _shell_character(character: str) -> str:
    r"""Write what stands between ``$'`` and ``'``: three octal digits end by themselves, whatever follows them."""
    if character in _SHELL_LETTERS:
        return _SHELL_LETTERS[character]
    if character.isprintable() and character not in _SPECIAL_IN_SHELL_STRING:
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def name_line(name: bytes) -> str:
    """Write a name as one line for a program that reads lines: as it is, or else as a shell word in ``$'…'``.

    A name that is like such a word itself is written as one, too, so that no two names are one line.
    """
    text = os.fsdecode(name)
    if text.isprintable() and not text.startswith("$'"):
        return text
    return f"$'{''.join(map(_shell_character, text))}'"


def shorten(text: str, width: int) -> str:
    """Cut text to at most `width` characters, leaving its beginning and its end."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[:width]
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def json_name(raw: bytes) -> str:
    """Write a name for JSON: UTF-8 as text, every other byte as ``%XX``. `quote` of the wire is the exact form."""
    return "".join(
        f"%{ord(character) - 0xDC00:02X}" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in raw.decode("utf-8", "surrogateescape")
    )


def json_line(record: Mapping[str, object]) -> str:
    """Write one record as one line of JSON without its LF, in which nothing can control a terminal either."""
    import json  # for --json alone

    line = json.dumps(record, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else _json_escaped(character) for character in line)


def _json_escaped(character: str) -> str:
    utf16 = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{utf16[index : index + 2].hex()}" for index in range(0, len(utf16), 2))


def parse_size(text: str) -> int:
    """Read a size in bytes: ``500``, ``1.5MB``, ``20 MiB``. kB, MB, GB are powers of 10; KiB, MiB, GiB of 2.

    Raises:
        ValueError: no size.
    """
    found = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ValueError(f"'{escape(text)}' is no size: write bytes (500), or 1.5MB, 2GB, 20MiB")
    from decimal import Decimal  # for options with a size alone

    size = Decimal(found[1]) * factor
    if size > LARGEST_SIZE:
        raise ValueError(f"'{escape(text)}' is larger than any file")
    return int(size)


def format_size(size: float) -> str:
    """Write a number of bytes with three digits and a power of 10: ``0 B``, ``999 B``, ``1.23 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            break
        value /= 1000
    if unit == "B" or value >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}" if value >= 9.995 else f"{value:.2f} {unit}"


def format_rate(size: int, seconds: float) -> str:
    """Write bytes over seconds as a rate; a time too short to measure counts as a millisecond."""
    return f"{format_size(size / max(seconds, 0.001))}/s"


def format_seconds(seconds: float) -> str:
    """Write a duration: ``0.3 s``, ``12 s``, ``3:05``, ``1:00:05``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def count_of(number: int, noun: str) -> str:
    """Write ``1 file`` or ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
