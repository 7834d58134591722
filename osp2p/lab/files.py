"""The files of a world: made from a seed, once, and hard-linked into the directory of everybody who shares them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from random import Random

from osp2p.lab.table import File


def content_of(file: File, seed: int) -> bytes:
    """What a file holds."""
    return Random(f"{seed} {file.raw.hex()} {file.size}").randbytes(file.size)


class Pool:
    """All files that were ever needed, each once.

    Args:
        directory: where they lie; it is made.
        seed: what they hold is a function of it.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._seed = seed
        self._paths: dict[File, Path] = {}
        directory.mkdir(parents=True)

    def path(self, file: File) -> Path:
        """Where a file lies; made if it does not lie there yet."""
        if file not in self._paths:
            path = self._directory / str(len(self._paths))
            path.write_bytes(content_of(file, self._seed))
            self._paths[file] = path
        return self._paths[file]

    def read(self, file: File) -> bytes:
        """What a file holds."""
        return self.path(file).read_bytes()

    def lay_out(self, directory: Path, files: Iterable[File]) -> None:
        """Make a directory that holds `files` under their names."""
        directory.mkdir(parents=True)
        for file in files:
            path = directory / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.path(file), path)

    def is_same(self, path: Path, file: File) -> bool:
        """Whether a file on disk holds, byte for byte, what it should."""
        return path.is_file() and path.read_bytes() == self.read(file)
