"""The chunk store against a simple model: fetches that begin, go on, end, are killed, and find the disk full.

Invariants, after every step: what the store says is proved can be read, byte for byte; nothing stands under a final
name but whole files; beside them there is only what can be resumed. After a kill all that was proved is there again,
and after a power failure all of it that the disk has kept.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from osp2p.content.chunk_store import ChunkStore, Partial, open_chunks, read_partial
from osp2p.content.chunks import HASH_LENGTH, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.content.name import journal_name, partial_name
from osp2p.content.store import Target, open_target
from osp2p.errors import ChecksumMismatch, ContentChanged, DiskFull, LocalProtocolError, TargetLocked
from osp2p.limits import Limits
from tests.fuzz.content_targets import small_chunks

LIMITS = replace(Limits(), disk_reserve=0)
NAME = b"cat.jpg"

#: Bytes of a journal's header, and of its records: one for each proved chunk, and one for the list.
HEADER_BYTES, PROVED_BYTES, LIST_BYTES = 84, 13, 9


class Content:
    """Some bytes of several chunks, and what proves them."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.data = bytes((seed + 7 * number) % 256 for number in range(size))
        self.count = chunk_count(size)
        self.hashes = b"".join(chunk_hash(self.chunk(index)) for index in range(self.count))
        self.b3 = content_id(size, self.hashes)

    def chunk(self, index: int) -> bytes:
        offset, length = chunk_bounds(self.size, index)
        return self.data[offset : offset + length]

    def length(self, indexes: set[int]) -> int:
        return sum(chunk_bounds(self.size, index)[1] for index in indexes)


with small_chunks():
    CONTENTS = (Content(61, 1), Content(61, 2), Content(40, 3))

INDEXES = st.integers(0, 7)


@dataclass
class Kept:
    """What the model knows of the disk: chunks of a content, and the journal that says so.

    Attributes:
        boot: of the journal.
        records: what it says, in order: a proved chunk, or None for the chunk list.
        lost: chunks that it calls proved, and the disk has lost.
    """

    content: Content
    boot: int
    records: list[int | None] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    @property
    def proved(self) -> set[int]:
        return {record for record in self.records if record is not None}

    @property
    def has_list(self) -> bool:
        return None in self.records

    def gain(self, index: int) -> None:
        """Have one more chunk; one that is there already is not written again."""
        if index not in self.records:
            self.records.append(index)

    def as_of(self, boot: int) -> Kept:
        """What a fetch under a boot may begin with: all of it, or what the list proves again."""
        if boot == self.boot:
            return self
        proved = self.proved - self.lost if self.has_list else set()
        return Kept(self.content, boot, [*([None] if self.has_list else []), *(n for n in self.records if n in proved)])

    def within(self, length: int) -> Kept | None:
        """What so many bytes of the journal say; None: nothing at all."""
        length -= HEADER_BYTES
        if length < 0:
            return None
        kept = replace(self, records=[])
        for record in self.records:
            length -= PROVED_BYTES if record is not None else LIST_BYTES + HASH_LENGTH * self.content.count
            if length < 0:
                break
            kept.records.append(record)
        return kept


def is_fetching(machine: StoreMachine) -> bool:
    """Whether a store is open."""
    return machine.store is not None


@contextmanager
def disk_with(room: int) -> Iterator[None]:
    """Let the disk take so many bytes more, and then none."""
    write = os.pwrite

    def write_some(fd: int, data: memoryview | bytes, offset: int) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(fd, bytes(data)[:room], offset)
        room -= count
        return count

    with patch("os.pwrite", write_some):
        yield


class StoreMachine(RuleBasedStateMachine):
    """One target in a directory, and whoever fetches it, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._around = ExitStack()
        self._around.enter_context(small_chunks())
        self.directory = Path(tempfile.mkdtemp(prefix="osp2p-store-"))
        self.path = self.directory / os.fsdecode(NAME)
        self.partial = self.directory / os.fsdecode(partial_name(NAME))
        self.journal = self.directory / os.fsdecode(journal_name(NAME))
        self.boot = 1
        self.finals: dict[str, Content] = {}
        self.kept: Kept | None = None
        self.fetch: ExitStack | None = None
        self.target: Target
        self.store: ChunkStore | None = None
        self.model: Kept
        self.was_killed = False

    def teardown(self) -> None:
        if self.fetch is not None:
            self.fetch.close()
        shutil.rmtree(self.directory)
        self._around.close()

    # --- beginning ---

    @precondition(lambda self: self.fetch is None)
    @rule(content=st.sampled_from(CONTENTS), start_anew=st.booleans())
    def begin(self, content: Content, start_anew: bool) -> None:
        """Begin a fetch, or go on with an earlier one."""
        self.fetch = ExitStack()
        self.target = self.fetch.enter_context(open_target(self.path, LIMITS))
        kept = self.kept
        expected = None
        if kept is not None and kept.proved:
            expected = Partial(kept.content.size, kept.content.b3, kept.content.length(kept.proved))
        assert read_partial(self.target) == expected
        if kept is not None and kept.proved and kept.content is not content and not start_anew:
            with pytest.raises(ContentChanged):
                self.open_store(content, start_anew)
            self.fetch.close()
            self.fetch = None
            return
        self.kept = None
        self.store = self.open_store(content, start_anew)
        self.model = kept.as_of(self.boot) if kept is not None and kept.content is content else Kept(content, self.boot)
        assert set(self.store.chunks) == self.model.proved
        assert self.store.resumed == content.length(self.model.proved)
        assert (self.store.hashes is not None) == self.model.has_list

    def open_store(self, content: Content, start_anew: bool) -> ChunkStore:
        async def work() -> ChunkStore:
            boot = bytes([self.boot]) * 16
            return await open_chunks(self.target, content.size, content.b3, boot=boot, start_anew=start_anew)

        return trio.run(work)

    @precondition(lambda self: self.fetch is not None)
    @rule()
    def a_second_fetch_is_locked_out(self) -> None:
        with pytest.raises(TargetLocked), open_target(self.path, LIMITS):
            pass

    # --- fetching ---

    @precondition(is_fetching)
    @rule(content=st.sampled_from(CONTENTS))
    def hear_a_list(self, content: Content) -> None:
        """Of this content, or of another one, which is refused."""
        assert self.store is not None
        if content is self.model.content:
            self.store.set_hashes(content.hashes)
            if not self.model.has_list:
                self.model.records.append(None)
        elif not self.model.has_list:
            with pytest.raises(ChecksumMismatch):
                self.store.set_hashes(content.hashes)

    @precondition(is_fetching)
    @rule(index=INDEXES)
    def put(self, index: int) -> None:
        assert self.store is not None
        content = self.model.content
        index %= content.count
        self.store.put(index, content.chunk(index))
        self.model.gain(index)

    @precondition(is_fetching)
    @rule(first=INDEXES, count=st.integers(1, 4), is_marked=st.booleans())
    def write_a_run(self, first: int, count: int, is_marked: bool) -> None:
        """Several chunks; or only their bytes, and whoever should say that they are proved never does."""
        assert self.store is not None
        content = self.model.content
        first %= content.count
        last = min(first + count, content.count) - 1
        data = b"".join(content.chunk(index) for index in range(first, last + 1))
        if self.model.proved & set(range(first, last + 1)):
            with pytest.raises(LocalProtocolError):
                self.store.write_run(first, data)
            return
        self.store.write_run(first, data)
        if is_marked:
            self.store.mark_proved(first, last)
            for index in range(first, last + 1):
                self.model.gain(index)

    @precondition(is_fetching)
    @rule(index=INDEXES, length=st.integers(0, 20))
    def put_what_is_no_chunk(self, index: int, length: int) -> None:
        assert self.store is not None
        index %= self.model.content.count
        if length != len(self.model.content.chunk(index)):
            with pytest.raises(LocalProtocolError):
                self.store.put(index, bytes(length))

    @precondition(is_fetching)
    @rule(index=INDEXES, room=st.integers(0, 120))
    def put_on_a_disk_that_gets_full(self, index: int, room: int) -> None:
        """The chunk counts only if it, and that it is proved, could be written."""
        assert self.store is not None
        content = self.model.content
        index %= content.count
        with disk_with(room):
            try:
                self.store.put(index, content.chunk(index))
            except DiskFull:
                assert index not in self.model.proved
                assert index not in self.store.chunks
                return
        self.model.gain(index)

    # --- ending ---

    @precondition(is_fetching)
    @rule(force=st.booleans())
    def commit(self, force: bool) -> None:
        """What is whole gets its final name; what is not does not."""
        assert self.store is not None
        store = self.store

        async def work() -> Path:
            return await store.commit(force=force, sync=False)

        if len(self.model.proved) < self.model.content.count:
            with pytest.raises(LocalProtocolError):
                trio.run(work)
            return
        final = trio.run(work)
        assert final.name not in self.finals or (force and final == self.path)
        self.finals[final.name] = self.model.content
        self.end(None)

    @precondition(is_fetching)
    @rule()
    def stop(self) -> None:
        """A fetch that is broken off keeps what it has proved."""
        self.end(self.model if self.model.proved else None)

    @precondition(is_fetching)
    @rule()
    def throw_away(self) -> None:
        assert self.store is not None
        self.store.discard()
        self.end(None)

    def end(self, kept: Kept | None) -> None:
        assert self.fetch is not None
        self.fetch.close()
        self.fetch = self.store = None
        self.kept = kept
        self.was_killed = False

    @precondition(is_fetching)
    @rule(lost=st.sets(INDEXES), has_power=st.booleans())
    def be_killed(self, lost: set[int], has_power: bool) -> None:
        """Nobody cleans up. Without power, the disk may lose the bytes of chunks, and there is another boot."""
        assert self.store is not None
        self.store.close()
        os.close(self.target.lock_fd)
        self.target.lock_fd = -1
        self.end(self.model if self.model.proved else None)
        self.was_killed = True
        if not has_power:
            self.boot += 1
            self.lose(lost & self.model.proved)

    def lose(self, lost: set[int]) -> None:
        self.model.lost |= lost
        with self.partial.open("r+b") as file:
            for index in lost:
                file.seek(chunk_bounds(self.model.content.size, index)[0])
                file.write(b"?")

    @precondition(lambda self: self.fetch is None and self.kept is not None)
    @rule(cut=st.integers(1, 200), garbage=st.binary(max_size=20))
    def the_journal_loses_its_end(self, cut: int, garbage: bytes) -> None:
        """What was ahead of the damage is believed."""
        assert self.kept is not None
        data = self.journal.read_bytes()
        length = max(0, len(data) - cut)
        tail = bytes([data[length] ^ 1]) + garbage  # not what stood there, so nothing behind it can be right
        self.journal.write_bytes(data[:length] + tail)
        self.kept = self.kept.within(length)
        self.was_killed = True

    @precondition(lambda self: self.fetch is None)
    @rule()
    def somebody_removes_the_partial_file(self) -> None:
        """Then its journal is worth nothing."""
        self.partial.unlink(missing_ok=True)
        self.kept = None
        with open_target(self.path, LIMITS):
            assert not self.journal.exists()
        self.was_killed = False

    # --- invariants ---

    @invariant()
    def what_is_proved_can_be_served(self) -> None:
        if self.store is None:
            return
        content = self.model.content
        assert set(self.store.chunks) == self.model.proved
        assert self.store.done == content.length(self.model.proved)
        for index in self.model.proved:
            offset, length = chunk_bounds(content.size, index)
            assert os.pread(self.store.fd, length, offset) == content.chunk(index)

    @invariant()
    def final_names_have_whole_files_and_nothing_else_stays(self) -> None:
        names = {path.name for path in self.directory.iterdir()}
        assert {name for name in names if not name.startswith(".")} == self.finals.keys()
        for name, content in self.finals.items():
            assert (self.directory / name).read_bytes() == content.data
        hidden = {name for name in names if name.startswith(".")}
        assert hidden <= {self.partial.name, self.journal.name}
        if self.fetch is None and self.kept is not None:
            assert hidden == {self.partial.name, self.journal.name}
        elif self.fetch is None and not self.was_killed:
            assert not hidden


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
