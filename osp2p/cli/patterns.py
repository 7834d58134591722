"""What a user's NAMEs and PATTERNs stand for among the names that trackers list: pure."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from osp2p.cli.text import count_of, shell_word
from osp2p.content.name import is_glob, is_hidden, matches_glob
from osp2p.errors import NobodyHasIt


@dataclass(frozen=True, slots=True)
class Matched:
    """What words stand for.

    Attributes:
        names: each once, in the words' order, those of one pattern in name order.
        unmatched: words that stand for nothing, and why.
        remarks: words that leave out what their user may have meant, and the sentence that says so.
    """

    names: list[bytes] = field(default_factory=list)
    unmatched: list[tuple[bytes, NobodyHasIt]] = field(default_factory=list)
    remarks: list[tuple[bytes, str]] = field(default_factory=list)


def match_words(words: Iterable[bytes], listed: Collection[bytes], *, all_listed: bool) -> Matched:
    """Find the names that words stand for. A name that is listed wins over the pattern that it is, too.

    Args:
        words: as the user typed them.
        listed: names that trackers list.
        all_listed: whether a word that is no pattern must be listed; else it is taken as it is.
    """
    matched = Matched()
    found: dict[bytes, None] = {}
    names = sorted(set(listed))
    known = set(names)
    for word in words:
        if word in known or (not is_glob(word) and not all_listed):
            found[word] = None
            continue
        matching = [name for name in names if matches_glob(name, word)]
        found.update(dict.fromkeys(matching))
        hint = _hint(word, names, len(matching))
        if not matching:
            text = "no file matches it" if is_glob(word) else "no file has this name"
            matched.unmatched.append((word, NobodyHasIt(f"{text}; {hint}" if hint else text)))
        elif hint:
            matched.remarks.append((word, hint))
    matched.names.extend(found)
    return matched


def match_directories(directories: Iterable[bytes], listings: Sequence[Iterable[bytes]]) -> Matched:
    """Find all that is listed below directories, but for hidden files. Where there is nothing, it is a file's name.

    Args:
        directories: as the user typed them.
        listings: of each directory, names that trackers list and that begin like it.
    """
    matched = Matched()
    found: dict[bytes, None] = {}
    for directory, listed in zip(directories, listings, strict=True):
        prefix = directory_prefix(directory)
        below = [name for name in listed if name.startswith(prefix) and not is_hidden(name[len(prefix) :])]
        found.update(dict.fromkeys(below))
        if not below and (directory.endswith(b"/") or is_glob(directory)):
            text = "no file is below a directory of this name"
            if is_glob(directory):
                inside = shell_word(os.fsdecode(prefix + b"**"))
                text += f"; a pattern stands without -r: {inside} for all that is below directories"
            matched.unmatched.append((directory, NobodyHasIt(text)))
        elif not below:
            found[directory] = None
    matched.names.extend(found)
    return matched


def directory_prefix(directory: bytes) -> bytes:
    """What the names of all files below a directory begin with."""
    return directory.rstrip(b"/") + b"/"


def _hint(word: bytes, names: Sequence[bytes], matching: int) -> str | None:
    """Tell of files in sub-directories that a pattern leaves out; None if there are none."""
    if not is_glob(word) or b"**" in word.split(b"/"):
        return None
    head, slash, last = word.rpartition(b"/")
    deeper = head + slash + (b"**" if last == b"*" else b"**/" + last)
    more = sum(matches_glob(name, deeper) for name in names) - matching
    files = count_of(more, "more file" if matching else "file")
    return f"{shell_word(os.fsdecode(deeper))} matches {files} in sub-directories" if more else None
