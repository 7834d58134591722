"""Words: quoting, and what an unquoted word is."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError
from osp2p.wire.word import quote, unquote

#: What may stand in a word unquoted, as the protocol's description spells it.
SAFE = (string.ascii_letters + string.digits + "$-_.+!*'(),").encode()


@given(st.binary(min_size=1))
@example(bytes(range(256)))
@example(b"%41")
def test_quoted_bytes_come_back(raw: bytes) -> None:
    assert unquote(quote(raw)) == raw


@given(st.binary(min_size=1))
def test_a_quoted_word_is_one_word_of_safe_bytes(raw: bytes) -> None:
    word = quote(raw)
    assert word.split() == [word]
    assert re.fullmatch(rb"(?:[%s]|%%[0-9A-F]{2})+" % re.escape(SAFE), word)


def test_exactly_the_safe_bytes_stand_for_themselves() -> None:
    assert bytes(value for value in range(256) if quote(bytes([value])) == bytes([value])) == bytes(sorted(SAFE))


def test_an_empty_name_is_no_word() -> None:
    with pytest.raises(LocalProtocolError):
        quote(b"")


@pytest.mark.parametrize(
    ("word", "raw"),
    [
        (b"a%20b", b"a b"),
        (b"%2F%2f", b"//"),
        (b"%00", b"\0"),
        (b"%0A%0D", b"\n\r"),
        (b"100%", b"100%"),
        (b"%", b"%"),
        (b"%4", b"%4"),
        (b"%zz", b"%zz"),
        (b"%%41", b"%A"),  # the first percent sign quotes nothing; the second one does
        (b"%2541", b"%41"),  # decoded once, and not again
        (b"% 41", b"% 41"),
        (b"%+1", b"%+1"),
        (b"\xff\x80", b"\xff\x80"),  # old programs send bytes above 127 as they are
        (b"", b""),
    ],
)
def test_what_a_received_word_means(word: bytes, raw: bytes) -> None:
    assert unquote(word) == raw


@given(st.binary())
@example(b"%" * 1000)
def test_unquote_takes_any_bytes_and_never_lengthens_them(word: bytes) -> None:
    assert len(unquote(word)) <= len(word)


@given(st.binary())
def test_what_quotes_nothing_is_unchanged(word: bytes) -> None:
    if not re.search(rb"%[0-9A-Fa-f]{2}", word):
        assert unquote(word) == word
