"""Chunks: the arithmetic, the content id by its written form, and maps that answer what was gained since."""

import json
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.chunks import (
    MAX_CHUNKS,
    MIN_CHUNK,
    ChunkMap,
    chunk_bounds,
    chunk_count,
    chunk_hash,
    chunk_size,
    content_id,
    split_hashes,
)
from osp2p.errors import MalformedLine, RemoteProtocolError

VECTORS = json.loads((Path(__file__).parent / "b3_vectors.json").read_text())["vectors"]
SIZES = st.one_of(st.integers(0, 5 * MIN_CHUNK), st.integers(0, 1 << 62))
INDEXES = st.lists(st.integers(0, 39), max_size=60)


def pattern_bytes(size: int) -> bytes:
    """The files of the vectors: byte number i is i modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def list_of(data: bytes) -> bytes:
    """The chunk list of some bytes."""
    bounds = [chunk_bounds(len(data), index) for index in range(chunk_count(len(data)))]
    return b"".join(chunk_hash(data[offset : offset + length]) for offset, length in bounds)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
def test_the_vectors_hold(vector: dict[str, str | int | None]) -> None:
    size = vector["size"]
    assert isinstance(size, int)
    hashes = list_of(pattern_bytes(size))
    parts = split_hashes(hashes)
    assert vector["chunk"] == chunk_size(size)
    assert vector["chunks"] == len(parts)
    assert vector["first_hash"] == (parts[0].hex() if parts else None)
    assert vector["last_hash"] == (parts[-1].hex() if parts else None)
    assert vector["b3"] == content_id(size, hashes).hex()


def test_the_content_id_is_the_hash_of_a_text_that_anyone_can_write() -> None:
    data = pattern_bytes(MIN_CHUNK + 1)
    text = (
        b"OSP2P/2 content\n"
        b"size 262145\n"
        b"chunk 262144\n" + blake3(data[:262144]).hexdigest().encode() + b"\n"
        b"" + blake3(data[262144:]).hexdigest().encode() + b"\n"
    )
    assert content_id(len(data), list_of(data)) == blake3(text).digest()
    assert content_id(0, b"") == blake3(b"OSP2P/2 content\nsize 0\nchunk 262144\n").digest()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, MIN_CHUNK),
        (1, MIN_CHUNK),
        (MIN_CHUNK * MAX_CHUNKS, MIN_CHUNK),
        (MIN_CHUNK * MAX_CHUNKS + 1, 2 * MIN_CHUNK),
        (10_000_000_000, 1024 * 1024),
        (1 << 40, 64 * 1024 * 1024),
    ],
)
def test_chunk_sizes(size: int, expected: int) -> None:
    assert chunk_size(size) == expected


@given(SIZES)
def test_the_chunk_size_is_the_least_power_of_two_that_fits(size: int) -> None:
    each = chunk_size(size)
    assert each & (each - 1) == 0
    assert chunk_count(size) <= MAX_CHUNKS
    assert each == MIN_CHUNK or -(-size // (each // 2)) > MAX_CHUNKS


@given(st.integers(0, 100 * MIN_CHUNK))
def test_the_chunks_of_a_file_lie_side_by_side(size: int) -> None:
    end = 0
    for index in range(chunk_count(size)):
        offset, length = chunk_bounds(size, index)
        assert offset == end
        assert 0 < length <= chunk_size(size)
        end = offset + length
    assert end == size


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, 1), (1, -1), (MIN_CHUNK, 1)])
def test_there_is_no_chunk_beyond_the_end(size: int, index: int) -> None:
    with pytest.raises(IndexError):
        chunk_bounds(size, index)


@pytest.mark.parametrize(("size", "hashes"), [(0, 1), (1, 0), (1, 2), (MIN_CHUNK + 1, 1)])
def test_a_list_of_another_length_is_no_content(size: int, hashes: int) -> None:
    with pytest.raises(RemoteProtocolError):
        content_id(size, bytes(32 * hashes))


@given(INDEXES)
def test_a_map_is_the_set_of_what_it_gained(indexes: list[int]) -> None:
    chunks = ChunkMap(40)
    seen: set[int] = set()
    for index in indexes:
        assert chunks.add(index) == (index not in seen)
        seen.add(index)
    assert list(chunks) == sorted(seen)
    assert len(chunks) == len(seen)
    assert list(chunks.missing()) == sorted(set(range(40)) - seen)
    assert list(chunks.missing(7)) == sorted(set(range(7, 40)) - seen)
    assert [index for first, last in chunks.ranges() for index in range(first, last + 1)] == sorted(seen)
    assert [index for first, last in chunks.missing_ranges() for index in range(first, last + 1)] == list(
        chunks.missing()
    )
    assert chunks.complete == (len(seen) == 40)
    assert all((index in chunks) == (index in seen) for index in range(-1, 42))


@given(INDEXES, st.integers(8, 40))
def test_a_map_survives_the_wire(indexes: list[int], max_bytes: int) -> None:
    chunks = ChunkMap(40)
    for index in indexes:
        chunks.add(index)
    words = list(chunks.write(max_bytes))
    assert all(len(word) <= max_bytes for word in words)
    assert list(ChunkMap.parse(words, 40)) == list(chunks)


@pytest.mark.parametrize("words", [[b"0-40"], [b"5-3"], [b"3", b"3"], [b"9", b"1"], [b""], [b"x"], [b"1,1"]])
def test_a_map_that_makes_no_sense_is_refused(words: list[bytes]) -> None:
    with pytest.raises(MalformedLine):
        ChunkMap.parse(words, 40)


def test_an_empty_file_has_an_empty_map() -> None:
    assert ChunkMap.full(0).complete
    assert list(ChunkMap.parse([], 0)) == []
    with pytest.raises(MalformedLine):
        ChunkMap.parse([b"0"], 0)


@given(INDEXES, INDEXES, st.integers(0, 1 << 40))
def test_what_was_gained_since_a_serial(before: list[int], after: list[int], first_serial: int) -> None:
    chunks = ChunkMap(40, first_serial=first_serial)
    for index in before:
        chunks.add(index)
    serial = chunks.serial
    for index in after:
        chunks.add(index)
    gained = chunks.gained_since(serial)
    assert gained is not None
    assert [index for first, last in gained for index in range(first, last + 1)] == sorted(set(after) - set(before))


@pytest.mark.parametrize("serial", [-1, 99, 104, 1 << 70])
def test_a_serial_that_the_map_never_had_asks_for_all(serial: int) -> None:
    chunks = ChunkMap(5, first_serial=100)
    chunks.add_ranges([(1, 3)])
    assert chunks.gained_since(serial) is None
    assert chunks.gained_since(100) == [(1, 3)]
    assert chunks.gained_since(103) == []


def test_no_chunk_beyond_the_map_is_gained() -> None:
    for index in (-1, 5):
        with pytest.raises(IndexError):
            ChunkMap(5).add(index)


def test_a_full_map_of_the_largest_file() -> None:
    chunks = ChunkMap.full(MAX_CHUNKS)
    assert chunks.complete
    assert list(chunks.write(100)) == [b"0-16383"]
    assert chunks.gained_since(0) == [(0, MAX_CHUNKS - 1)]
