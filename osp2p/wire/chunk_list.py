"""CHUNK lines, the answer to CHUNKS: ``CHUNK index hash``, one for each chunk, in order."""

from __future__ import annotations

from collections.abc import Sequence

from osp2p.errors import MalformedLine
from osp2p.wire.entry import B3_TEXT_LENGTH, parse_b3


def write_chunk_lines(hashes: bytes, first: int) -> list[bytes]:
    """Write a line without its LF for each hash.

    Args:
        hashes: 32 bytes each, in a row.
        first: the index of the first of them.
    """
    digits = hashes.hex().encode()
    starts = range(0, len(digits), B3_TEXT_LENGTH)
    return [b"CHUNK %d %s" % (first + number, digits[at : at + B3_TEXT_LENGTH]) for number, at in enumerate(starts)]


def parse_chunk_lines(lines: Sequence[bytes]) -> bytes:
    """Read the lines of all chunks of a file.

    They are read as one: line by line, the list of a large file would take longer than its first 50 MB.

    Args:
        lines: without their LF.

    Returns: the hashes in a row, 32 bytes each, as claimed.

    Raises:
        MalformedLine: another form, or another order.
    """
    if [line[:-B3_TEXT_LENGTH] for line in lines] == [b"CHUNK %d " % index for index in range(len(lines))]:
        digits = b"".join([line[-B3_TEXT_LENGTH:] for line in lines])
        if not digits.translate(None, b"0123456789abcdef"):
            return bytes.fromhex(digits.decode())
    return b"".join([_parse_line(line, index) for index, line in enumerate(lines)])


def _parse_line(line: bytes, index: int) -> bytes:
    words = line.split()
    if len(words) != 3 or words[0] != b"CHUNK" or words[1] != b"%d" % index:
        raise MalformedLine("a chunk list has a line CHUNK index hash for each chunk, in order")
    return parse_b3(words[2])
