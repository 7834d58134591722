"""The hash cache: digests of files, kept across runs, so that a restart over a large directory hashes nothing again.

One SQLite file in the user's cache directory. An entry holds for a path as long as size, time of change and inode are
those that the file had when it was hashed. Everything in it can be computed again, so nothing here is ever fatal: a
damaged file is replaced, and where none can be written, `problem` says why and the digests live as long as the process.

Several processes may use one cache at a time. All methods block, and are for worker threads.
"""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from osp2p.content.chunks import content_id
from osp2p.content.digest import Digests, FileDigest, FileState
from osp2p.errors import RemoteProtocolError
from osp2p.net.errors import describe

#: Longest chunk list in bytes that `load` brings along; a longer one is read when somebody asks for it.
MAX_LOADED_HASHES = 4096

#: How long one process waits for another to finish writing, in seconds.
_BUSY_TIMEOUT = 2.0

#: Errors that say that the file is not what we wrote. All others may pass.
_DAMAGE = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_SCHEMA", "SQLITE_FORMAT"})

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,  -- grows, so that the least is the oldest
    path BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode TEXT NOT NULL,  -- as text: some file systems number up to 2^64, and SQLite ends at 2^63
    md5 BLOB NOT NULL,
    b3 BLOB NOT NULL,
    hashes BLOB NOT NULL
)
"""

_SOUND = """
typeof(path) = 'blob' AND typeof(size) = 'integer' AND size >= 0 AND typeof(mtime_ns) = 'integer'
AND typeof(inode) = 'text' AND typeof(md5) = 'blob' AND length(md5) = 16 AND typeof(b3) = 'blob' AND length(b3) = 32
AND typeof(hashes) = 'blob'
"""

_T = TypeVar("_T")


class CachedFile(NamedTuple):
    """What the cache knows of a path.

    Attributes:
        state: of the file when it was hashed.
        digests: of its bytes then.
        hashes: its chunk list; None if that is long, and `HashCache.hashes` has it.
    """

    state: FileState
    digests: Digests
    hashes: bytes | None


def default_path() -> Path:
    """Where the cache is unless somebody says otherwise."""
    from platformdirs import user_cache_path

    return user_cache_path("osp2p") / "digests.sqlite"


class HashCache:
    """An open cache.

    Args:
        path: of the file; it and its directory are made. None: nothing is kept beyond this process.
        max_files: beyond so many entries the oldest go.

    Attributes:
        problem: why the cache does not do what it should, in a sentence; None if it does.
    """

    def __init__(self, path: Path | None, *, max_files: int = 2_000_000) -> None:
        self._path = path
        self._max_files = max_files
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.problem: str | None = None

    def load(self, directory: bytes) -> dict[bytes, CachedFile]:
        """Everything that is known of files beneath a directory, by path.

        Args:
            directory: an absolute path without a slash at its end.
        """
        return self._read("path > ? AND path < ?", (directory + b"/", directory + b"0"))

    def load_file(self, path: bytes) -> CachedFile | None:
        """What is known of one file."""
        return self._read("path = ?", (path,)).get(path)

    def _read(self, where: str, values: tuple[bytes, ...]) -> dict[bytes, CachedFile]:
        query = f"""
            SELECT path, size, mtime_ns, inode, md5, b3,
                CASE WHEN length(hashes) <= {MAX_LOADED_HASHES} THEN hashes END
            FROM files WHERE {where} AND {_SOUND}
        """

        def read(connection: sqlite3.Connection) -> dict[bytes, CachedFile]:
            with collector_paused():
                return {
                    path: CachedFile(FileState(size, mtime_ns, int(inode)), Digests(md5, b3), hashes)
                    for path, size, mtime_ns, inode, md5, b3, hashes in connection.execute(query, values)
                }

        return self._run(read, {})

    def hashes(self, path: bytes, size: int, b3: bytes) -> bytes | None:
        """The chunk list of a content that was hashed at a path, proved by its id; None if it is not known."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(f"SELECT hashes FROM files WHERE path = ? AND {_SOUND}", (path,)).fetchone()
            return None if row is None else row[0]

        hashes = self._run(read, None)
        try:
            return hashes if hashes is not None and content_id(size, hashes) == b3 else None
        except RemoteProtocolError:
            return None

    def store(self, files: Iterable[tuple[bytes, FileDigest]]) -> None:
        """Keep what was computed, in one transaction."""
        rows = [
            (path, *state[:2], str(state.inode), digests.md5, digests.b3, hashes)
            for path, (state, digests, hashes) in files
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO files (path, size, mtime_ns, inode, md5, b3, hashes) VALUES (?,?,?,?,?,?,?)",
                rows,
            )
            # A damaged row keeps its place in the index, where it hides what takes its place in the table.
            query = f"SELECT 1 FROM files WHERE path = ? AND size = ? AND {_SOUND}"
            if any(connection.execute(query, row[:2]).fetchone() is None for row in rows):
                raise ValueError("what is stored in it is not there")

        if rows:
            self._run(write, None)

    def forget(self, paths: Iterable[bytes]) -> None:
        """Drop what is known of files that are gone, in one transaction."""
        rows = [(path,) for path in paths]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM files WHERE path = ?", rows)

        if rows:
            self._run(write, None)

    def close(self) -> None:
        """Close the file. A later call of another method opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, work: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """Do something in one transaction; on a damaged file once more, on a new one."""
        with self._lock:
            for attempt in range(2):
                try:
                    if self._connection is None:
                        self._connection = self._open()
                    with self._connection:
                        return work(self._connection)
                except (sqlite3.Error, OSError, ValueError) as error:
                    self.problem = self._describe(error)
                    self._close()
                    if attempt or not self._remove_damaged(error):
                        return otherwise
                    self.problem = None
            return otherwise

    def _describe(self, error: Exception) -> str:
        return f"the hash cache {self._path}: {describe(error) if isinstance(error, OSError) else error}"

    def _open(self) -> sqlite3.Connection:
        """Open the file, make what is missing in it, and drop the oldest entries if there are too many."""
        if self._path is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return self._connect(str(self._path))
            except (sqlite3.OperationalError, OSError) as error:
                if _is_damage(error) or getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                    raise
                self.problem = self._describe(error)
                self._path = None
        return self._connect(":memory:")

    def _connect(self, path: str) -> sqlite3.Connection:
        # The lock above keeps the threads apart.
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, check_same_thread=False)
        connection.text_factory = bytes  # damaged text is no number, and not an error that says nothing
        try:
            connection.execute("PRAGMA synchronous = OFF")  # a file that a power failure damages is replaced
            connection.execute(_SCHEMA)
            _check_schema(connection)
            (count,) = connection.execute("SELECT count(*) FROM files").fetchone()
            if count > self._max_files:
                with connection:
                    connection.execute(
                        "DELETE FROM files WHERE id IN (SELECT id FROM files ORDER BY id LIMIT ?)",
                        (count - self._max_files,),
                    )
        except BaseException:
            connection.close()
            raise
        return connection

    def _remove_damaged(self, error: Exception) -> bool:
        """Remove the file if an error says that it is damaged. Returns: whether to try again."""
        if self._path is None or not _is_damage(error):
            return False
        try:
            for suffix in ("", "-journal"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            self._path = None  # it stays where it is, and we do without
        return True


def _check_schema(connection: sqlite3.Connection) -> None:
    """See whether the table is the one that we make.

    With one damaged byte in its text, a column may have another type; what is stored there would be found never again.

    Raises:
        ValueError: it is not.
    """
    query = "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE type = 'table' AND name = 'files'"
    row = connection.execute(query).fetchone()
    if row is None or row[0] != _SCHEMA.replace("IF NOT EXISTS ", "").strip().encode():
        raise ValueError("its table is not the one that was made")


def _is_damage(error: Exception) -> bool:
    """Whether an error says that the file is not what we wrote."""
    if isinstance(error, ValueError):  # a value that is no number where one was written, or another table
        return True
    name = str(getattr(error, "sqlite_errorname", ""))
    return name in _DAMAGE or name.startswith("SQLITE_CORRUPT")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the search for garbage in cycles while very many objects are made that form none.

    It would go through all of them again and again: to load 100,000 entries takes 0.36 s with it and 0.21 s without,
    to scan as many files 0.7 s and 0.45 s.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
