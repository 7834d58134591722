"""MD5 checksums as the base protocol writes them.

Grammar: 22 characters of ``a-z A-Z 0-9 _ @`` (values 0 to 63 in that order), six bits each, the least
significant bits of the digest's first byte first. 128 bits leave two for the last character, which is
therefore ``a`` to ``d``.

Source: the 2007 tracker and peer.
"""

from __future__ import annotations

from osp2p.errors import LocalProtocolError, MalformedLine

_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@"

#: All that two characters stand for: 12 bits.
_PAIRS = [bytes([low, high]) for high in _ALPHABET for low in _ALPHABET]
_VALUE = {byte: value for value, byte in enumerate(_ALPHABET)}

#: What the last character can be: the upper four of its six bits belong to nothing.
_LAST = _ALPHABET[:4]

#: How many bytes an MD5 digest has.
MD5_LENGTH = 16

#: How many characters a written checksum has.
MD5_TEXT_LENGTH = 22


def write_md5(digest: bytes) -> bytes:
    """Write a 16-byte MD5 digest as 22 characters.

    Raises:
        LocalProtocolError: another length.
    """
    if len(digest) != MD5_LENGTH:
        raise LocalProtocolError(f"an MD5 digest has {MD5_LENGTH} bytes, not {len(digest)}")
    number = int.from_bytes(digest, "little")
    return b"".join([_PAIRS[(number >> shift) & 4095] for shift in range(0, 8 * MD5_LENGTH, 12)])


def check_md5(text: bytes) -> bytes:
    """Check that 22 characters are a checksum, in a tenth of the time that reading it takes. Returns: the same.

    Raises:
        MalformedLine: another length, another character, or a last character beyond ``d``.
    """
    if len(text) != MD5_TEXT_LENGTH or text.translate(None, _ALPHABET) or text[-1:] not in _LAST:
        raise MalformedLine("a checksum is 22 characters of a-z A-Z 0-9 _ @, the last one a to d")
    return text


def parse_md5(text: bytes) -> bytes:
    """Read 22 characters as a 16-byte MD5 digest.

    Raises:
        MalformedLine: as `check_md5`.
    """
    number = sum(_VALUE[byte] << (6 * index) for index, byte in enumerate(check_md5(text)))
    return number.to_bytes(MD5_LENGTH, "little")
