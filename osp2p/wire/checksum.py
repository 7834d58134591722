"""MD5 checksums as the base protocol writes them.

Grammar: 22 characters of ``a-z A-Z 0-9 _ @`` (values 0 to 63 in that order), six bits each, the least
significant bits of the digest's first byte first. 128 bits leave two for the last character, which is
therefore ``a`` to ``d``.

Source: the 2007 tracker and peer.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from osp2p.errors import LocalProtocolError, MalformedLine

_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@"

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FROM_BASE64 = bytes.maketrans(_BASE64, _ALPHABET)
_TO_BASE64 = bytes.maketrans(_ALPHABET, _BASE64)

#: Base 64 begins with the most significant bits, and takes three bytes at a time: so a digest is written backwards,
#: behind two bytes of zeros that make two characters at the end.
_PADDING = bytes(2)

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
    return b2a_base64(_PADDING + digest[::-1], newline=False)[:1:-1].translate(_FROM_BASE64)


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
    return a2b_base64(b"AA" + check_md5(text)[::-1].translate(_TO_BASE64))[:1:-1]
