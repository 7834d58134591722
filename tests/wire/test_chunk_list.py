"""Chunk lists are read as they were written, and nothing else is taken for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.wire.chunk_list import parse_chunk_lines, write_chunk_lines

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=20).map(b"".join)


@given(hashes=HASHES)
def test_what_is_written_is_read(hashes: bytes) -> None:
    assert parse_chunk_lines(write_chunk_lines(hashes, 0)) == hashes


def test_lines_have_index_and_digits() -> None:
    assert write_chunk_lines(bytes(32) + b"\xab" * 32, 9) == [b"CHUNK 9 " + b"0" * 64, b"CHUNK 10 " + b"ab" * 32]
    assert write_chunk_lines(b"", 5) == []
    assert parse_chunk_lines([]) == b""


def test_white_space_between_words_is_anything() -> None:
    lines = [b" CHUNK  0\t" + b"0" * 64 + b" ", b"CHUNK 1 " + b"1" * 64]
    assert parse_chunk_lines(lines) == bytes(32) + b"\x11" * 32


GOOD = [b"CHUNK 0 " + b"a" * 64, b"CHUNK 1 " + b"b" * 64]


@pytest.mark.parametrize(
    "lines",
    [
        GOOD[::-1],
        GOOD[1:],
        [GOOD[0], b"CHUNK 01 " + b"b" * 64],
        [GOOD[0], b"chunk 1 " + b"b" * 64],
        [GOOD[0], b"CHUNK 1 " + b"B" * 64],
        [GOOD[0], b"CHUNK 1 " + b"b" * 63],
        [GOOD[0], b"CHUNK 1 " + b"b" * 65],
        [GOOD[0], b"CHUNK 1 " + b"b" * 62 + b" b"],
        [GOOD[0], b"CHUNK 1 " + b"  " + b"b" * 62],
        [GOOD[0], b"CHUNK 1 " + b"b" * 63 + b"\xff"],
        [GOOD[0], b"CHUNK 1 " + b"b" * 63 + b"g"],
        [GOOD[0], GOOD[1] + b" more"],
        [GOOD[0], b""],
        [b"", *GOOD],
    ],
)
def test_other_lines_are_no_chunk_list(lines: list[bytes]) -> None:
    with pytest.raises(MalformedLine):
        parse_chunk_lines(lines)


@given(hashes=HASHES, line=st.integers(0, 19), at=st.integers(0, 80), byte=st.binary(min_size=1, max_size=2))
def test_a_changed_byte_is_an_error_or_another_hash(hashes: bytes, line: int, at: int, byte: bytes) -> None:
    lines = write_chunk_lines(hashes, 0)
    if line < len(lines):
        lines[line] = lines[line][:at] + byte + lines[line][at + 1 :]
    whole = all(
        re.fullmatch(rb"\s*CHUNK\s+%d\s+[0-9a-f]{64}\s*" % index, text, re.ASCII) for index, text in enumerate(lines)
    )
    if whole:
        assert parse_chunk_lines(lines) == b"".join(bytes.fromhex(text.split()[2].decode()) for text in lines)
    else:
        with pytest.raises(MalformedLine):
            parse_chunk_lines(lines)
