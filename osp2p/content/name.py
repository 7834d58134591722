"""Names of files: from bytes that a stranger sent to a path that stays inside its directory, and globs over them.

A name is one or more components joined by ``/``, as in ``photos/cat.jpg``. Names are bytes; they become text only at
the disk's boundary, by `os.fsdecode`. Nothing here touches the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from pathlib import Path

from osp2p.errors import UnsafeName
from osp2p.limits import Limits

#: Longest component in bytes. Source: NAME_MAX of Linux file systems.
MAX_COMPONENT = 255

#: What ends the name of a file that we have not fetched whole yet. Such a name begins with a dot, too.
PARTIAL_SUFFIX = b".osp2p-part"

#: What ends the name of the journal beside such a file.
JOURNAL_SUFFIX = b".osp2p-journal"

#: What ends the names of further such files of one target, and of a journal's successor. They have endings of their
#: own, so that no name that a stranger chooses, such as ``cat.jpg~1``, has beside it what stands beside ``cat.jpg``.
_COPY_SUFFIX = b".osp2p-copy"
_RENEWED_SUFFIX = b".osp2p-renewed"

#: How much of a name beside a target is kept for what follows the target's own: the same for all of them, so that two
#: targets of which one such name is the same have all of them in common, the locked one too.
_BESIDE_BYTES = 32

_PARTIAL_SUFFIXES = (PARTIAL_SUFFIX, JOURNAL_SUFFIX, _COPY_SUFFIX, _RENEWED_SUFFIX, b".part", b".crdownload")
_GLOB_BYTES = frozenset(b"*?[")


def safe_parts(name: bytes, limits: Limits) -> tuple[bytes, ...]:
    """Cut a name into components that stay inside whatever directory they are joined to.

    Args:
        name: raw bytes, from anybody.
        limits: `max_name` bounds the whole name.

    Raises:
        UnsafeName: empty, too long, absolute, with a NUL, or with a component that is empty, ``.``, ``..`` or over
            255 bytes.
    """
    if not name:
        raise UnsafeName("a name has at least one byte")
    if len(name) > limits.max_name:
        raise UnsafeName(f"a name has at most {limits.max_name} bytes")
    if b"\0" in name:
        raise UnsafeName("a name has no NUL byte")
    parts = tuple(name.split(b"/"))
    for part in parts:
        if part in (b"", b".", b".."):
            raise UnsafeName("a name is relative, and no component of it is empty, . or ..")
        if len(part) > MAX_COMPONENT:
            raise UnsafeName(f"a component of a name has at most {MAX_COMPONENT} bytes")
    return parts


def local_path(directory: Path, name: bytes, limits: Limits) -> Path:
    """Where a file of this name lies in a directory; symbolic links are not looked at.

    Raises:
        UnsafeName: as `safe_parts`.
    """
    return directory.joinpath(*map(os.fsdecode, safe_parts(name, limits)))


def is_hidden(name: bytes) -> bool:
    """Whether a component begins with a dot."""
    return name.startswith(b".") or b"/." in name


def is_partial(name: bytes) -> bool:
    """Whether the name is one that programs (ours, browsers) give to a file that they still fetch."""
    return name.endswith(_PARTIAL_SUFFIXES)


def is_shareable(name: bytes) -> bool:
    """Whether a file of this name is for others: not hidden, no editor's backup (``*~``), no partial download."""
    return not (name.startswith(b".") or b"/." in name or name.endswith(b"~") or is_partial(name))


def is_glob(pattern: bytes) -> bool:
    """Whether ``*``, ``?`` or ``[`` stands in it."""
    return not _GLOB_BYTES.isdisjoint(pattern)


def matches_glob(name: bytes, pattern: bytes) -> bool:
    """Tell whether a name matches a pattern, as in a shell.

    ``*`` stands for any bytes but ``/``, ``?`` for one of them, ``[a-z]`` for one of a set, ``[!a-z]`` for one
    outside it, a component ``**`` for any number of components, none included. A name with a component that
    begins with a dot matches nothing, so that a pattern never brings in a dotfile.

    Args:
        name: raw bytes, from anybody.
        pattern: raw bytes. The time is bounded by a polynomial of both lengths, whatever they are.
    """
    return not is_hidden(name) and _compile_glob(pattern).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _compile_glob(pattern: bytes) -> re.Pattern[bytes]:
    """Write a pattern as a regular expression that never tries the same thing twice.

    Between two stars, the leftmost place that fits is as good as any later one, so each such piece stands in an
    atomic group and is not tried again; only what follows the last star is anchored at the end. The same holds
    for ``*`` within a component and for ``**`` among components.
    """
    runs: list[list[bytes]] = [[]]
    for part in pattern.split(b"/"):
        if part == b"**":
            runs.append([])
        else:
            runs[-1].append(_component_regex(part))
    if len(runs) == 1:
        return re.compile(b"/".join(runs[0]), re.DOTALL)
    first, *middle, last = runs
    regex = b"".join(part + b"/" for part in first)
    for run in middle:
        if run:
            regex += b"(?>(?:[^/]+/)*?" + b"".join(part + b"/" for part in run) + b")"
    # Behind the last ** there is something: the pattern's last components, or any last component.
    regex += b"(?:[^/]+/)*" + (b"/".join(last) if last else b"[^/]+")
    return re.compile(regex, re.DOTALL)


def _component_regex(part: bytes) -> bytes:
    """Write one component of a pattern as a regular expression that matches no ``/``."""
    pieces: list[list[bytes]] = [[]]
    index = 0
    while index < len(part):
        byte = part[index : index + 1]
        index += 1
        if byte == b"*":
            pieces.append([])
        elif byte == b"?":
            pieces[-1].append(b"[^/]")
        elif byte == b"[" and (end := _set_end(part, index)) > 0:
            pieces[-1].append(_set_regex(part[index:end]))
            index = end + 1
        else:
            pieces[-1].append(re.escape(byte))
    first, *middle = (b"".join(piece) for piece in pieces)
    if not middle:
        return first
    *middle, last = middle
    return first + b"".join(b"(?>[^/]*?" + piece + b")" for piece in middle if piece) + b"[^/]*" + last


def _set_end(part: bytes, start: int) -> int:
    """Where the ``]`` is that ends a set: not its first byte, nor the first behind ``!``. -1: it is no set."""
    return part.find(b"]", start + 2 if part[start : start + 1] in (b"!", b"^") else start + 1)


def _set_regex(text: bytes) -> bytes:
    """Write what stands between ``[`` and ``]`` as a regular expression for one byte, never ``/``."""
    outside = text[:1] in (b"!", b"^")
    if outside:
        text = text[1:]
    members: set[int] = set()
    index = 0
    while index < len(text):
        if index + 2 < len(text) and text[index + 1 : index + 2] == b"-":
            members.update(range(text[index], text[index + 2] + 1))
            index += 3
        else:
            members.add(text[index])
            index += 1
    chosen = (set(range(256)) - members if outside else members) - {ord("/")}
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) + b"]" if chosen else b"(?!)"


def backup_names(path: Path) -> Iterator[Path]:
    """Where a file goes whose place is taken: ``NAME~1~``, ``NAME~2~`` and so on, without end.

    A long name is cut short, so that each still is a file's name.

    Source: the 2007 peer.
    """
    base = os.fsencode(path.name)
    for number in count(1):
        suffix = b"~%d~" % number
        yield path.with_name(os.fsdecode(base[: MAX_COMPONENT - len(suffix)] + suffix))


def partial_name(base: bytes, number: int = 0) -> bytes:
    """The hidden name beside `base` of a file that is still being fetched; `number` tells several apart."""
    return _stem(base) + (PARTIAL_SUFFIX if number == 0 else b"~%d" % number + _COPY_SUFFIX)


def journal_name(base: bytes, *, renewed: bool = False) -> bytes:
    """The hidden name beside `base` of the file that says which chunks are proved.

    Args:
        renewed: the successor of that file, while it is being made.
    """
    return _stem(base) + (_RENEWED_SUFFIX if renewed else JOURNAL_SUFFIX)


def _stem(base: bytes) -> bytes:
    """What all hidden names beside `base` begin with."""
    room = MAX_COMPONENT - 1 - _BESIDE_BYTES
    if len(base) > room:  # two long names that begin alike must not meet here
        tag = b"~" + blake2b(base, digest_size=8).hexdigest().encode()
        base = base[: room - len(tag)] + tag
    return b"." + base
