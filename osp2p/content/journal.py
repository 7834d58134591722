"""The journal beside a partial file: which of its chunks are proved, in a form that a crash cannot falsify.

A header of fixed length, then records, all numbers big-endian:

``header``
    16 bytes ``OSP2P journal 1\\n``, u64 size, 32 bytes b3, 16 bytes boot id, u64 inode of the partial file, u32 CRC
``record``
    u8 kind, u32 length, as many bytes, u32 CRC

Kind 1 is the chunk list, raw hashes in a row; kind 2 the number of one proved chunk, u32. Each CRC-32 continues the one
before it, so a record counts only if everything ahead of it does: what a crash has cut off or mixed up ends the journal
there, and nothing behind it is believed.

A record is written behind its chunk's bytes. While the machine runs, a killed process therefore leaves a journal that
never says too much. A power failure may keep the record and lose the bytes: so the header names the boot, and after
another one the chunks are hashed before they are believed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from osp2p.content.chunks import HASH_LENGTH, chunk_count, content_id
from osp2p.content.store import write_all

_MAGIC = b"OSP2P journal 1\n"
_HEADER = struct.Struct(">16sQ32s16sQ")
_RECORD = struct.Struct(">BI")
_CRC = struct.Struct(">I")
_INDEX = struct.Struct(">I")
_CHUNK_LIST = 1
_PROVED = 2

#: Longest journal in bytes that is read; ours end far below.
_MAX_BYTES = 2 * 1024 * 1024

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """Whose journal it is.

    Attributes:
        size: of the file, in bytes.
        b3: 32 raw bytes, its content id.
        boot: 16 raw bytes, the boot id of the system when the journal was begun.
        inode: of the partial file.
    """

    size: int
    b3: bytes
    boot: bytes
    inode: int


@dataclass(slots=True)
class JournalState:
    """What a journal says.

    Attributes:
        hashes: the chunk list, proved by the content id; None if it is not in it.
        proved: the numbers of the proved chunks, in the order in which they came.
        length: how many of the journal's bytes say it.
        crc: the last of their CRCs.
    """

    header: JournalHeader
    hashes: bytes | None = None
    proved: list[int] = field(default_factory=list)
    length: int = 0
    crc: int = 0


def read_boot_id() -> bytes:
    """The id of this boot of the system, 16 bytes; where it has none, random ones, so that no journal has the same."""
    try:
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (OSError, ValueError):
        return os.urandom(16)


def write_header(header: JournalHeader) -> bytes:
    """Write a header."""
    body = _HEADER.pack(_MAGIC, header.size, header.b3, header.boot, header.inode)
    return body + _CRC.pack(zlib.crc32(body))


def parse_journal(data: bytes) -> JournalState | None:
    """Read a journal, as far as it can be believed.

    Args:
        data: what is in the file, perhaps garbage.

    Returns: None if not even the header can be.
    """
    if len(data) < _HEADER.size + _CRC.size or len(data) > _MAX_BYTES:
        return None
    magic, size, b3, boot, inode = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if magic != _MAGIC or crc != zlib.crc32(data[: _HEADER.size]):
        return None
    state = JournalState(JournalHeader(size, b3, boot, inode), length=_HEADER.size + _CRC.size, crc=crc)
    while _parse_record(data, state):
        pass
    return state


def _parse_record(data: bytes, state: JournalState) -> bool:
    """Read the next record. Returns: False where the journal ends, or what follows makes no sense."""
    start = state.length + _RECORD.size
    if start > len(data):
        return False
    kind, length = _RECORD.unpack_from(data, state.length)
    end = start + length
    if end + _CRC.size > len(data):
        return False
    (crc,) = _CRC.unpack_from(data, end)
    if crc != zlib.crc32(data[state.length : end], state.crc) or not _take_record(kind, data[start:end], state):
        return False
    state.crc = crc
    state.length = end + _CRC.size
    return True


def _take_record(kind: int, body: bytes, state: JournalState) -> bool:
    """Believe a record, if it makes sense."""
    count = chunk_count(state.header.size)
    if kind == _CHUNK_LIST and len(body) == count * HASH_LENGTH:
        if content_id(state.header.size, body) != state.header.b3:
            return False
        state.hashes = body
        return True
    if kind == _PROVED and len(body) == _INDEX.size:
        (index,) = _INDEX.unpack(body)
        if index < count:
            state.proved.append(index)
            return True
    return False


class JournalWriter:
    """Appends records to a journal.

    It writes where it knows the end to be, so that a write which failed halfway is overwritten by the next.

    Args:
        fd: the open journal file; closed by `close`.
        length: of what is in it.
        crc: the last CRC in it.
    """

    __slots__ = ("_crc", "_length", "fd")

    def __init__(self, fd: int, length: int, crc: int) -> None:
        self.fd = fd
        self._length = length
        self._crc = crc

    @classmethod
    def begin(cls, path: str | Path, header: JournalHeader) -> JournalWriter:
        """Begin a new journal at a path, in the place of what is there.

        Raises:
            OSError: as open(2) and write(2).
        """
        data = write_header(header)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        writer = cls(fd, 0, zlib.crc32(data[: _HEADER.size]))
        try:
            writer._write(data)
        except BaseException:
            os.close(fd)
            os.unlink(path)  # nobody else knows that it is there
            raise
        return writer

    @classmethod
    def resume(cls, path: str | Path, state: JournalState) -> JournalWriter:
        """Go on with a journal behind what can be believed of it.

        Raises:
            OSError: as open(2) and ftruncate(2).
        """
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, state.length)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, state.length, state.crc)

    def add_proved(self, indexes: Iterable[int]) -> None:
        """Say that chunks are proved. Their bytes are written already. Raises: OSError: as write(2)."""
        self._add((_PROVED, _INDEX.pack(index)) for index in indexes)

    def add_hashes(self, hashes: bytes) -> None:
        """Say what the chunk list is. It is proved already. Raises: OSError: as write(2)."""
        self._add([(_CHUNK_LIST, hashes)])

    def _add(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Write records, of kind and body, with one call."""
        written, crc = bytearray(), self._crc
        for kind, body in records:
            record = _RECORD.pack(kind, len(body)) + body
            crc = zlib.crc32(record, crc)
            written += record + _CRC.pack(crc)
        self._write(written)
        self._crc = crc

    def _write(self, data: bytes | bytearray) -> None:
        write_all(self.fd, self._length, data)
        self._length += len(data)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def read_journal(path: str | Path) -> JournalState | None:
    """Read the journal at a path, as far as it can be believed; None if there is none, or none that can be.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return parse_journal(file.read(_MAX_BYTES + 1))
