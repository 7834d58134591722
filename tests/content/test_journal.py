"""The journal: whatever a crash or a bad disk does to it, it never speaks of a chunk that was not proved."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content import journal as journal_module
from osp2p.content.chunks import MIN_CHUNK, content_id
from osp2p.content.journal import (
    JournalHeader,
    JournalWriter,
    parse_journal,
    read_boot_id,
    read_journal,
    write_header,
)

COUNT = 20
SIZE = COUNT * MIN_CHUNK - 5
HASHES = b"".join(bytes([number]) * 32 for number in range(COUNT))
HEADER = JournalHeader(SIZE, content_id(SIZE, HASHES), b"B" * 16, 42)

INDEXES = st.lists(st.integers(0, COUNT - 1), max_size=30)


@contextmanager
def journal_of(proved: list[int], hashes_after: int | None = None) -> Iterator[Path]:
    """A journal of these chunks, in which the chunk list comes behind so many of them."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        writer = JournalWriter.begin(path, HEADER)
        for number, index in enumerate(proved):
            if number == hashes_after:
                writer.add_hashes(HASHES)
            writer.add_proved([index])
        writer.close()
        writer.close()
        yield path


def is_prefix(part: list[int], whole: list[int]) -> bool:
    return whole[: len(part)] == part


@given(INDEXES, st.integers(0, 30))
def test_what_was_written_is_read(proved: list[int], hashes_after: int) -> None:
    with journal_of(proved, hashes_after) as path:
        state = read_journal(path)
    assert state is not None
    assert state.header == HEADER
    assert state.proved == proved
    assert state.hashes == (HASHES if hashes_after < len(proved) else None)


@given(INDEXES, st.integers(0, 2000))
def test_a_journal_that_was_cut_off_says_less_and_nothing_else(proved: list[int], length: int) -> None:
    with journal_of(proved, 2) as path:
        data = path.read_bytes()
    state = parse_journal(data[:length])
    if state is not None:
        assert is_prefix(state.proved, proved)
        assert state.length <= length
    else:
        assert length < len(write_header(HEADER))


@given(INDEXES, st.integers(0, 2000), st.binary(min_size=1, max_size=50))
def test_a_journal_with_garbage_in_it_says_less_and_nothing_else(proved: list[int], at: int, garbage: bytes) -> None:
    with journal_of(proved, 2) as path:
        data = path.read_bytes()
    state = parse_journal(data[:at] + garbage + data[at + len(garbage) :])
    if state is not None:
        assert state.header == HEADER
        assert is_prefix(state.proved, proved)
        assert state.hashes in (None, HASHES)


@given(INDEXES, st.data())
def test_a_journal_whose_pieces_are_mixed_up_says_less_and_nothing_else(proved: list[int], data: st.DataObject) -> None:
    with journal_of(proved) as path:
        whole = path.read_bytes()
    head = len(write_header(HEADER))
    step = (len(whole) - head) // len(proved) if proved else 1
    records = [whole[start : start + step] for start in range(head, len(whole), step)]
    mixed = data.draw(st.permutations(records))
    state = parse_journal(whole[:head] + b"".join(mixed))
    assert state is not None
    assert is_prefix(state.proved, proved)


@given(st.binary(max_size=300))
def test_garbage_is_no_journal(data: bytes) -> None:
    assert parse_journal(data) is None
    state = parse_journal(write_header(HEADER) + data)
    assert state is not None
    assert state.proved == []


def test_a_record_that_makes_no_sense_ends_the_journal(tmp_path: Path) -> None:
    for nonsense in (COUNT, 2**32 - 1):
        writer = JournalWriter.begin(tmp_path / "a", HEADER)
        writer.add_proved([1])
        writer.add_proved([nonsense])
        writer.add_proved([2])
        writer.close()
        state = read_journal(tmp_path / "a")
        assert state is not None
        assert state.proved == [1]
    for hashes in (HASHES[:-32], bytes(len(HASHES))):
        writer = JournalWriter.begin(tmp_path / "a", HEADER)
        writer.add_hashes(hashes)
        writer.add_proved([1])
        writer.close()
        state = read_journal(tmp_path / "a")
        assert state is not None
        assert state.hashes is None
        assert state.proved == []


@given(INDEXES, INDEXES, st.integers(60, 1000))
def test_a_torn_journal_goes_on(before: list[int], after: list[int], length: int) -> None:
    with journal_of(before, 2) as path:
        data = path.read_bytes()
        path.write_bytes(data[: max(length, len(write_header(HEADER)))])
        state = read_journal(path)
        assert state is not None
        believed = list(state.proved)
        writer = JournalWriter.resume(path, state)
        for index in after:
            writer.add_proved([index])
        writer.close()
        again = read_journal(path)
    assert again is not None
    assert again.proved == believed + after


def test_a_write_that_failed_halfway_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter.begin(tmp_path / "a", HEADER)
    writer.add_proved([1])
    pwrite = os.pwrite
    calls = []

    def failing(fd: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return pwrite(fd, data[:5], offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(OSError, match="No space"):
        writer.add_proved([2])
    monkeypatch.undo()
    writer.add_proved([3])
    writer.close()
    state = read_journal(tmp_path / "a")
    assert state is not None
    assert state.proved == [1, 3]


def test_what_is_no_journal_file(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "missing") is None
    with (tmp_path / "huge").open("wb") as file:
        file.write(write_header(HEADER))
        file.truncate(1 << 40)
    assert read_journal(tmp_path / "huge") is None
    (tmp_path / "link").symlink_to("huge")
    with pytest.raises(OSError, match="symbolic"):
        read_journal(tmp_path / "link")


def test_the_boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_boot_id() == read_boot_id()
    assert len(read_boot_id()) == 16
    monkeypatch.setattr(journal_module, "_BOOT_ID", tmp_path / "missing")
    assert read_boot_id() != read_boot_id(), "nothing is believed without one"
