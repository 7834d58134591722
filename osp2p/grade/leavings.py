"""What a downloader left on the disk: the right bytes, no wrong ones under a final name, nothing outside."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from osp2p.grade.stage import show
from osp2p.grade.steps import check_body
from osp2p.grade.verdict import Wrong

#: A directory may hold so many bytes more than were asked for, partial files and all.
SPARE_BYTES = 2048 * 1024 * 1024


class Sandbox:
    """Where a downloader works: a directory deep inside one of ours, so that what escapes stays in sight.

    Attributes:
        directory: what the program is told to fetch to.
        outside: a directory that it has no business in.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._inside = root / "inside"
        self.directory = self._inside / "a" / "b" / "files"
        self.outside = self._inside / "outside"
        self._scratch = root / "scratch"
        for path in (self.directory, self.outside, self._scratch):
            path.mkdir(parents=True)

    @property
    def said(self) -> Path:
        """The file for what the program prints."""
        return self._root / "said"

    @property
    def environment(self) -> dict[str, str]:
        """Where its caches and temporary files go."""
        return {"XDG_CACHE_HOME": str(self._scratch), "TMPDIR": str(self._scratch)}

    def size(self) -> int:
        """Bytes on the disk, partial files and temporary ones among them."""
        return sum(entry.st_size for _, entry in _files(self._root))

    def has(self, contents: Mapping[bytes, bytes]) -> bool:
        """Whether all these files are there, as they must be."""
        return all(self._read(name, len(content)) == content for name, content in contents.items())

    def _path(self, name: bytes) -> Path:
        return self.directory / os.fsdecode(name)

    def _read(self, name: bytes, most: int) -> bytes | None:
        """What a file holds, one byte more than `most` at most; None if there is none."""
        try:
            with self._path(name).open("rb") as file:
                return file.read(most + 1)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            return None

    def check(self, contents: Mapping[bytes, bytes], due: Mapping[bytes, bool | None]) -> None:
        """Judge what is there.

        Args:
            contents: what each file holds.
            due: whether each file must be there, must not, or may.

        Raises:
            Wrong.
        """
        for path, _ in _files(self._inside):
            if self.directory not in path.parents:
                where = path.relative_to(self._inside)
                raise Wrong(f"it has written a file outside its directory: {show(os.fsencode(where))}")
        for name, content in contents.items():
            found = self._read(name, len(content)) if b".." not in name and not name.startswith(b"/") else None
            if found is not None and due[name] is not False:
                check_body(found, content, f"{show(name)}, under whose name it is kept,")
            elif found is not None:
                raise Wrong(f"{show(name)} is there, though nobody has sent it as it is")
            elif due[name]:
                raise Wrong(f"{show(name)} is not there")


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file below a directory; links are not followed."""
    for path, directories, names in os.walk(directory):
        for name in (*names, *directories):
            try:
                found = Path(path, name).lstat()
            except OSError:  # gone meanwhile
                continue
            if not stat.S_ISDIR(found.st_mode):  # so a link to a directory is a file
                yield Path(path, name), found
