"""Pages of LIST, put together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import TrackerError
from osp2p.limits import Limits
from osp2p.peer.tracker_listing import Listing
from osp2p.wire.entry import FileEntry, write_file_line
from osp2p.wire.reply import Reply
from osp2p.wire.request import parse_request

LIMITS = Limits()


def page_of(files: list[FileEntry]) -> Reply:
    return Reply(200, b"ok", tuple(write_file_line(file) for file in files))


def asked(line: bytes) -> dict[bytes, bytes]:
    request = parse_request(line, attributes=True)
    assert request is not None
    assert (request.verb, request.words) == (b"LIST", ())
    return dict(request.attributes)


@given(st.sets(st.binary(min_size=1, max_size=6)), st.integers(1, 5), st.binary(max_size=1))
def test_all_files_come_page_by_page_and_each_page_is_asked_for_before_it_is_needed(
    names: set[bytes], size: int, prefix: bytes
) -> None:
    files = [FileEntry(name, {b"size": b"1"}) for name in sorted(names) if name.startswith(prefix)]
    listing = Listing("tracker", prefix, LIMITS, hello=True)
    line: bytes | None = listing.first_line()
    pages = 0
    while line is not None:
        attributes = asked(line)
        assert attributes.get(b"prefix", b"") == prefix
        page = page_of([file for file in files if file.name > attributes.get(b"after", b"")][:size])
        pages += 1
        line = listing.line_behind(page)
        listing.add(page)
    assert listing.files() == files
    assert pages == -(-len(files) // size) + 1


def test_an_old_tracker_has_one_page() -> None:
    listing = Listing("tracker", b"b", LIMITS, hello=False)
    assert listing.first_line() == b"LIST\n"
    page = Reply(200, b"ok", (b"FILE a", b"FILE b1", b"FILE b2", b"nonsense"))
    assert listing.line_behind(page) is None
    listing.add(page)
    assert [file.name for file in listing.files()] == [b"b1", b"b2"]


def test_a_tracker_that_says_the_same_again_and_again_is_through() -> None:
    listing = Listing("tracker", b"", LIMITS, hello=True)
    page = page_of([FileEntry(b"a"), FileEntry(b"b")])
    assert listing.line_behind(page) == b"LIST after=b max=1000\n"
    assert listing.line_behind(page) is None
    assert listing.line_behind(page_of([FileEntry(b"c"), FileEntry(b"a")])) is None


def test_a_line_that_cannot_be_read_hides_no_page() -> None:
    listing = Listing("tracker", b"", LIMITS, hello=True)
    assert listing.line_behind(Reply(200, b"ok", (b"FILE a", b"FILE"))) == b"LIST after=a max=1000\n"


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (replace(LIMITS, max_listed_files=9), "tracker lists more than 9 files"),
        (replace(LIMITS, max_listed_bytes=100), "tracker lists more files than can be kept here"),
    ],
)
def test_there_is_an_end(limits: Limits, text: str) -> None:
    listing = Listing("tracker", b"", limits, hello=True)
    with pytest.raises(TrackerError, match=text):
        listing.add(page_of([FileEntry(b"%d" % number) for number in range(10)]))
