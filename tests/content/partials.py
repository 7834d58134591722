"""Contents of a few chunks, and fetches of them that stop in the middle."""

import os
from dataclasses import replace
from pathlib import Path

from osp2p.content.chunk_store import ChunkStore, open_chunks
from osp2p.content.chunks import MIN_CHUNK, chunk_bounds, chunk_count, chunk_hash, content_id
from osp2p.content.name import journal_name, partial_name
from osp2p.content.store import Target, open_target
from osp2p.limits import Limits

LIMITS = replace(Limits(), disk_reserve=0)
BOOT, OTHER_BOOT = b"1" * 16, b"2" * 16


def partial_path(target: Path, number: int = 0) -> Path:
    return target.with_name(os.fsdecode(partial_name(os.fsencode(target.name), number)))


def journal_path(target: Path) -> Path:
    return target.with_name(os.fsdecode(journal_name(os.fsencode(target.name))))


class Content:
    """Some bytes, and what proves them."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.data = bytes((seed + number) % 256 for number in range(251)) * (size // 251 + 1)
        self.data = self.data[:size]
        self.hashes = b"".join(chunk_hash(self.chunk(index)) for index in range(chunk_count(size)))
        self.b3 = content_id(size, self.hashes)

    def chunk(self, index: int) -> bytes:
        offset, length = chunk_bounds(self.size, index)
        return self.data[offset : offset + length]


FIVE = Content(5 * MIN_CHUNK - 7)
OTHER = Content(5 * MIN_CHUNK - 7, seed=1)


async def open_content(target: Target, content: Content, *, boot: bytes = BOOT, start_anew: bool = False) -> ChunkStore:
    return await open_chunks(target, content.size, content.b3, boot=boot, start_anew=start_anew)


async def fetch(path: Path, indexes: list[int], content: Content = FIVE, *, boot: bytes = BOOT) -> None:
    """Fetch some chunks and stop."""
    with open_target(path, LIMITS) as target:
        store = await open_content(target, content, boot=boot)
        store.set_hashes(content.hashes)
        for index in indexes:
            store.put(index, content.chunk(index))


def everything(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
