"""MD5 checksums in 22 characters."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.checksum import MD5_LENGTH, MD5_TEXT_LENGTH, check_md5, parse_md5, write_md5

ALPHABET = string.ascii_lowercase + string.ascii_uppercase + string.digits + "_@"


def by_hand(digest: bytes) -> str:
    """The description, bit by bit: least significant bits first, six to a character."""
    bits = "".join(f"{byte:08b}"[::-1] for byte in digest)
    bits += "0" * (-len(bits) % 6)
    return "".join(ALPHABET[int(bits[at : at + 6][::-1], 2)] for at in range(0, len(bits), 6))


@given(st.binary(min_size=16, max_size=16))
@example(hashlib.md5(b"").digest())
@example(bytes(16))
@example(b"\xff" * 16)
def test_every_digest_comes_back_and_is_what_the_description_says(digest: bytes) -> None:
    text = write_md5(digest)
    assert text.decode() == by_hand(digest)
    assert len(text) == MD5_TEXT_LENGTH
    assert parse_md5(text) == digest
    assert len(digest) == MD5_LENGTH


def test_the_empty_string() -> None:
    """Derived by hand from d41d8cd98f00b204e9800998ecf8427e: d4 = 11010100, low six bits 010100 = 20 = u; ..."""
    digest = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
    assert digest == hashlib.md5(b"").digest()
    first_bytes = 0xD4 | 0x1D << 8 | 0x8C << 16  # 24 bits, four characters
    assert [first_bytes >> shift & 63 for shift in (0, 6, 12, 18)] == [20, 55, 1, 35]
    assert write_md5(digest).startswith((ALPHABET[20] + ALPHABET[55] + ALPHABET[1] + ALPHABET[35]).encode())
    assert write_md5(digest)[-1:] == ALPHABET[0x7E >> 6].encode()  # the last two bits alone


@given(st.text(alphabet=ALPHABET, min_size=21, max_size=21), st.sampled_from(ALPHABET))
def test_every_text_that_can_be_read_is_what_would_be_written(start: str, last: str) -> None:
    text = (start + last).encode()
    if last in "abcd":
        assert write_md5(parse_md5(text)) == text
    else:
        with pytest.raises(MalformedLine):
            parse_md5(text)


@given(st.binary(max_size=40))
@example(b"a" * 21)
@example(b"a" * 23)
@example(b"a" * 21 + b"e")
@example(b"a" * 21 + b"\n")
@example(b"-" + b"a" * 21)
@example("é".encode() + b"a" * 20)
@example(b"a" * 100_000)
def test_arbitrary_bytes_are_read_or_malformed(text: bytes) -> None:
    try:
        digest = parse_md5(text)
    except MalformedLine:
        return
    assert write_md5(digest) == text


@pytest.mark.parametrize("digest", [b"", bytes(15), bytes(17), bytes(32)])
def test_another_length_is_our_mistake(digest: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        write_md5(digest)


@given(st.binary(max_size=24) | st.text(ALPHABET, min_size=22, max_size=22).map(str.encode))
def test_a_text_passes_the_check_if_it_can_be_read(text: bytes) -> None:
    try:
        digest = parse_md5(text)
    except MalformedLine:
        with pytest.raises(MalformedLine):
            check_md5(text)
    else:
        assert write_md5(digest) == check_md5(text) == text
