"""The twins of the grammar say what the grammar says, though they share no line with it."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.chunks import chunk_hash, chunk_size, content_id
from osp2p.evil import words
from osp2p.wire import word
from osp2p.wire.checksum import write_md5


@given(st.binary(max_size=200))
def test_words(raw: bytes) -> None:
    assert words.quote(raw) == (word.quote(raw) if raw else b"")
    assert words.unquote(words.quote(raw)) == words.unquote(words.quote_all(raw)) == raw
    assert words.unquote(raw) == word.unquote(raw)


@given(st.binary(max_size=100))
def test_checksums(content: bytes) -> None:
    assert words.write_checksum(content) == write_md5(hashlib.md5(content, usedforsecurity=False).digest())


def test_contents() -> None:
    for size in (1, 262_144, 262_145, 1_000_000):
        content = bytes(range(256)) * (size // 256 + 1)
        content = content[:size]
        hashes = b"".join(chunk_hash(chunk) for chunk in words.cut(content))
        assert words.b3_of(content) == content_id(size, hashes).hex().encode()


@given(st.integers(1, 2**50))
def test_chunk_lengths(size: int) -> None:
    assert words.chunk_length(size) == chunk_size(size)
