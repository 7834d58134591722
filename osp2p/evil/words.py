"""Twins of the grammar's smallest parts, so that this room depends on nothing that it attacks."""

from __future__ import annotations

import hashlib
import re

from blake3 import blake3

_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[^A-Za-z0-9$\-_.+!*'(),]")
_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@"

_MIN_CHUNK = 256 * 1024
_MAX_CHUNKS = 16_384


def quote(raw: bytes) -> bytes:
    """Write raw bytes as a word."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw)


def quote_all(raw: bytes) -> bytes:
    """Write raw bytes as a word, every one of them as %XX."""
    return b"".join(b"%%%02X" % byte for byte in raw)


def unquote(word: bytes) -> bytes:
    """Read a word's raw bytes."""
    return _QUOTED.sub(lambda match: bytes.fromhex(match[1].decode()), word)


def write_checksum(content: bytes) -> bytes:
    """A content's MD5 as the protocol writes it."""
    number = int.from_bytes(hashlib.md5(content, usedforsecurity=False).digest(), "little")
    return bytes(_ALPHABET[(number >> shift) & 63] for shift in range(0, 128, 6))


def chunk_length(size: int) -> int:
    """Bytes of a chunk of a file of `size` bytes."""
    length = _MIN_CHUNK
    while length * _MAX_CHUNKS < size:
        length *= 2
    return length


def cut(content: bytes) -> list[bytes]:
    """The chunks of a content."""
    each = chunk_length(len(content))
    return [content[start : start + each] for start in range(0, len(content), each)]


def write_hashes(content: bytes) -> list[bytes]:
    """The hash of each chunk, in hex digits."""
    return [blake3(chunk).hexdigest().encode() for chunk in cut(content)]


def write_b3(size: int, hashes: list[bytes]) -> bytes:
    """The content id of a file with these chunk hashes, in hex digits."""
    head = b"OSP2P/2 content\nsize %d\nchunk %d\n" % (size, chunk_length(size))
    return blake3(head + b"".join(line + b"\n" for line in hashes)).hexdigest().encode()


def b3_of(content: bytes) -> bytes:
    """A content's id, in hex digits."""
    return write_b3(len(content), write_hashes(content))
