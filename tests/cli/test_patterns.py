"""What NAMEs and PATTERNs stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.patterns import Matched, match_directories, match_words

LISTED = [b"b.jpg", b"a.jpg", b"notes", b"sub/c.jpg", b"sub/deep/d.jpg", b"[x]", b".hidden/e.jpg"]


def _matched(*words: bytes, all_listed: bool = False) -> Matched:
    return match_words(words, LISTED, all_listed=all_listed)


def test_a_name_is_taken_as_it_is() -> None:
    assert _matched(b"b.jpg", b"not listed", b"b.jpg").names == [b"b.jpg", b"not listed"]


def test_a_name_that_must_be_listed() -> None:
    matched = _matched(b"b.jpg", b"not listed", all_listed=True)
    assert matched.names == [b"b.jpg"]
    ((word, error),) = matched.unmatched
    assert (word, str(error)) == (b"not listed", "no file has this name")


def test_a_listed_name_wins_over_the_pattern_that_it_is() -> None:
    assert _matched(b"[x]") == Matched([b"[x]"])


def test_names_come_in_the_words_order_and_once() -> None:
    assert _matched(b"notes", b"*.jpg", b"a.jpg").names == [b"notes", b"a.jpg", b"b.jpg"]


def test_hidden_names_match_nothing() -> None:
    assert b".hidden/e.jpg" not in _matched(b"**", b"*/*", b".*/*").names


@pytest.mark.parametrize(
    ("word", "remark"),
    [
        (b"*.jpg", "'**/*.jpg' matches 2 more files in sub-directories"),
        (b"*", "'**' matches 2 more files in sub-directories"),
        (b"sub/*", "'sub/**' matches 1 more file in sub-directories"),
        (b"s*/*.jpg", "'s*/**/*.jpg' matches 1 more file in sub-directories"),
    ],
)
def test_what_a_pattern_leaves_out_is_said(word: bytes, remark: str) -> None:
    assert _matched(word).remarks == [(word, remark)]


@pytest.mark.parametrize("word", [b"**", b"**/*.jpg", b"sub/**", b"n*", b"notes", b"?.jpg/x"])
def test_nothing_is_said_where_nothing_is_left_out(word: bytes) -> None:
    assert _matched(word).remarks == []


def test_a_pattern_that_matches_in_sub_directories_alone() -> None:
    ((word, error),) = _matched(b"c.*").unmatched
    assert (word, str(error)) == (
        b"c.*",
        "no file matches it; '**/c.*' matches 1 file in sub-directories",
    )


NAMES = st.text("ab/.", min_size=1, max_size=5).map(str.encode)


@given(st.lists(st.text("ab/*?.[", min_size=1, max_size=5).map(str.encode), max_size=3), st.lists(NAMES, max_size=6))
def test_each_word_stands_for_something_or_is_unmatched(words: list[bytes], listed: list[bytes]) -> None:
    matched = match_words(words, listed, all_listed=True)
    assert len(set(matched.names)) == len(matched.names)
    assert set(matched.names) <= set(listed)
    for word in words:
        alone = match_words([word], listed, all_listed=True)
        assert (word in [unmatched for unmatched, _ in matched.unmatched]) == (not alone.names)
        assert set(alone.names) <= set(matched.names)


def test_directories() -> None:
    listings = [[b"sub/c.jpg", b"sub/deep/d.jpg", b"sub/.x"], []]
    matched = match_directories([b"sub/", b"none/"], listings)
    assert matched.names == [b"sub/c.jpg", b"sub/deep/d.jpg"]
    ((word, error),) = matched.unmatched
    assert (word, str(error)) == (b"none/", "no file is below a directory of this name")


def test_among_directories_a_name_below_which_nothing_is_is_that_of_a_file() -> None:
    matched = match_directories([b"sub", b"film.mkv"], [[b"sub/c.jpg"], []])
    assert matched == Matched([b"sub/c.jpg", b"film.mkv"])


def test_a_pattern_is_no_directory() -> None:
    matched = match_directories([b"su*"], [[]])
    ((word, error),) = matched.unmatched
    assert word == b"su*"
    assert "'su*/**'" in str(error)
