"""What a tracker lists, gathered page by page."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from osp2p.errors import TrackerError
from osp2p.limits import Limits
from osp2p.peer.tracker_facts import parse_entries, weight_of
from osp2p.wire.entry import FileEntry, parse_file_line
from osp2p.wire.reply import Reply
from osp2p.wire.request import write_request

#: The request that a tracker without pages answers with all that there is.
LIST_ALL = b"LIST\n"

#: Files on a page: as many as the tracker writes while we read as many.
_PAGE = b"1000"


def list_line(prefix: bytes, after: bytes, most: bytes) -> bytes:
    """The request for a page: of names that begin so, behind one of them, and at most so many."""
    attributes = {key: value for key, value in ((b"prefix", prefix), (b"after", after)) if value}
    return write_request(b"LIST", attributes=attributes | {b"max": most})


def listed_names(pages: Iterable[Reply], *, hello: bool) -> list[bytes]:
    """The names on some pages, each once; of a refusal, none."""
    lines = chain.from_iterable(page.data for page in pages if page.ok)
    return list(dict.fromkeys(entry.name for entry in parse_entries(lines, parse_file_line, hello=hello)))


class Listing:
    """The answers to LIST so far.

    Args:
        label: how users know the tracker.
        prefix: only names that begin so; an old tracker lists all of them, which are left out here.
        hello: whether the tracker has pages.
        limits: `max_listed_files`, `max_listed_bytes`.
    """

    def __init__(self, label: str, prefix: bytes, limits: Limits, *, hello: bool) -> None:
        self._label = label
        self._prefix = prefix
        self._hello = hello
        self._limits = limits
        self._found: dict[tuple[bytes, bytes | None], FileEntry] = {}
        self._weight = 0
        self._after = b""

    def first_line(self) -> bytes:
        """The request for the first page."""
        return list_line(self._prefix, self._after, _PAGE) if self._hello else LIST_ALL

    def line_behind(self, page: Reply) -> bytes | None:
        """The request for what comes behind a page, which can be sent before that page is read; None: it is the last.

        Pages are in the order of names, so one that does not lead beyond those before it has no successor.
        """
        last = next(parse_entries(reversed(page.data), parse_file_line, hello=self._hello), None)
        if not self._hello or last is None or last.name <= self._after:
            return None
        self._after = last.name
        return list_line(self._prefix, self._after, _PAGE)

    def add(self, page: Reply) -> None:
        """Take in a page. Raises: TrackerError: there is no end to it."""
        self._weight += weight_of(page)
        for entry in parse_entries(page.data, parse_file_line, hello=self._hello):
            self._found.setdefault((entry.name, entry.attributes.get(b"b3")), entry)
        if self._hello and len(self._found) > self._limits.max_listed_files:
            raise TrackerError(f"tracker {self._label} lists more than {self._limits.max_listed_files} files")
        if self._hello and self._weight > self._limits.max_listed_bytes:
            raise TrackerError(f"tracker {self._label} lists more files than can be kept here")

    def files(self) -> list[FileEntry]:
        """All files, each content of a name once."""
        return [entry for entry in self._found.values() if entry.name.startswith(self._prefix)]
