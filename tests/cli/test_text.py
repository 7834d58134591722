"""Names made harmless, sizes and times."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.cli.text import (
    count_of,
    escape,
    format_rate,
    format_seconds,
    format_size,
    json_line,
    json_name,
    name_line,
    parse_size,
    shell_word,
    shorten,
)

#: Characters that end, reverse, hide or control what a terminal shows.
DANGEROUS = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u200b\u200e\u200f\u2028\u2029\ufeff\xad"} | {
    chr(code) for first, last in ((0x202A, 0x202E), (0x2066, 0x2069), (0xE0000, 0xE007F)) for code in range(first, last)
}
HOSTILE = st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))


@given(HOSTILE)
def test_nothing_that_controls_a_terminal_passes(raw: bytes) -> None:
    for text in (escape(raw), escape(raw.decode("utf-8", "surrogateescape")), json_line({"name": json_name(raw)})):
        assert DANGEROUS.isdisjoint(text)
        text.encode("utf-8")


@pytest.mark.parametrize("character", sorted(DANGEROUS))
def test_each_dangerous_character_is_shown_as_what_it_is(character: str) -> None:
    shown = escape(f"a{character}b")
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert int(shown[3:-1], 16) == ord(character)


def test_what_can_be_printed_stays() -> None:
    assert escape("bär 日本 🐱.jpg".encode()) == "bär 日本 🐱.jpg"
    assert escape(b"a\xffb\x1b[31m\n") == r"a\xffb\x1b[31m\x0a"
    assert escape("evil\u202egpj.exe") == r"evil\u202egpj.exe"
    assert escape("\U000e0041") == r"\U000e0041"


#: What a file can be called: bytes of any kind, and often what shells care about.
NAMES = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.text("ab'\"\\$`!~#&*?[]{}()<>|;=-%^ \t\n\r\x1b\x7f1ä\u202e\U0001f600", min_size=1, max_size=12).map(str.encode),
    st.sampled_from([b"$'x'", b"$'", b"=ls", b"~", b"-rf", b"{a,b}", b"a\\x1b", b"don't", b"don't!", b"\xff\\377"]),
).map(lambda raw: raw.replace(b"\0", b"0"))


def in_bash(command: str) -> list[bytes]:
    """The words that bash makes of what follows a command."""
    shell = f"printf '%s\\0' {command}"
    done = subprocess.run(["bash", "-c", os.fsencode(shell)], capture_output=True, check=True, timeout=30)
    return done.stdout.split(b"\0")[:-1]


@given(st.lists(NAMES, min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_bash_reads_back_what_is_written_for_it(words: list[bytes]) -> None:
    command = " ".join(shell_word(os.fsdecode(word)) for word in words)
    assert command.isprintable()
    assert in_bash(command) == words


@given(st.lists(NAMES, min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_a_line_is_the_name_itself_or_a_word_for_a_shell(names: list[bytes]) -> None:
    lines = list(map(name_line, names))
    assert all(line.isprintable() for line in lines)
    written = [line for line in lines if line.startswith("$'")]
    read = iter(in_bash(" ".join(written)) if written else [])
    assert [next(read) if line.startswith("$'") else os.fsencode(line) for line in lines] == names


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cat.jpg", "cat.jpg"),
        ("photos/größe_1.png", "photos/größe_1.png"),
        ("two words", "'two words'"),
        ("don't", '"don\'t"'),
        ("$don't", "'$don'\\''t'"),
        ("=ls", "'=ls'"),
        ("~", "'~'"),
        ("", "''"),
        ("a\\b", "'a\\b'"),
        ("a\x1b1\n", r"$'a\0331\n'"),
        ("a\udcff'!", r"$'a\377\047\041'"),
    ],
)
def test_words_are_written_as_plainly_as_can_be(name: str, word: str) -> None:
    assert shell_word(name) == word


@given(st.text(), st.integers(0, 50))
def test_shortened_text_is_short_and_keeps_both_ends(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= width
    if len(text) <= width:
        assert short == text
    elif width >= 3:
        assert short[0] == text[0]
        assert short[-1] == text[-1]


@given(st.binary())
def test_a_json_name_is_utf8_with_the_other_bytes_quoted(raw: bytes) -> None:
    name = json_name(raw)
    assert json.loads(json_line({"name": name}))["name"] == name
    if b"%" not in raw:
        assert (
            b"".join(
                bytes([int(part[:2], 16)]) + part[2:].encode() if index else part.encode()
                for index, part in enumerate(name.split("%"))
            )
            == raw
        )


def test_json_names_by_example() -> None:
    assert json_name("bär".encode()) == "bär"
    assert json_name(b"a\xff\x80b") == "a%FF%80b"
    assert json_line({"name": "é\x7f\x9b\u202e\U000e0041"}) == '{"name": "é\\u007f\\u009b\\u202e\\udb40\\udc41"}'


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("500B", 500),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1.5MB", 1_500_000),
        ("20 MiB", 20 * 2**20),
        ("2GB", 2 * 10**9),
        (" 2gib ", 2 * 2**30),
        ("1TB", 10**12),
        ("0.1kB", 100),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", "+1", "1 000", "1e3", "1XB", "1k", "1.MB", "0x10", "٣", "9" * 40, "inf"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|larger"):
        parse_size(text)


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert 0 <= size < 2**63


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1234, "1.23 kB"),
        (99_949, "99.9 kB"),
        (99_951, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_500_000_000, "1.50 GB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes_are_written(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**17))
def test_a_written_size_reads_back_within_a_half_percent(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= size * 0.0051


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (0.26, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (59.9, "1:00"), (185, "3:05"), (3605, "1:00:05")],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_rates_and_counts() -> None:
    assert format_rate(10_000_000, 2.0) == "5.00 MB/s"
    assert format_rate(1000, 0.0) == "1.00 MB/s"
    assert [count_of(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
