"""Lines: whole, in any chunking, and over their limit."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LineTooLong
from osp2p.wire.line import LineBuffer

LIMIT = 8

#: Streams with many line ends, and lines about as long as the limit.
STREAMS = st.lists(
    st.one_of(st.just(b"\n"), st.just(b"\r\n"), st.binary(max_size=2 * LIMIT), st.just(b"\0" * LIMIT))
).map(b"".join)

#: What came out: the lines, and whether an overlong one ended them.
Outcome = tuple[list[bytes], bool]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in chunks, cut at `places` modulo its length."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def one_by_one(chunks: list[bytes]) -> Outcome:
    """Feed, and take line after line."""
    buffer = LineBuffer(LIMIT)
    lines: list[bytes] = []
    try:
        for chunk in chunks:
            buffer.feed(chunk)
            while (line := buffer.next_line()) is not None:
                lines.append(line)
    except LineTooLong:
        return lines, True
    return lines, False


def many_at_once(chunks: list[bytes]) -> Outcome:
    """Feed, and take all complete lines."""
    buffer = LineBuffer(LIMIT)
    lines = [line for chunk in chunks for line in buffer.feed_lines(chunk)]
    return lines, buffer.overlong


def reference(stream: bytes) -> Outcome:
    """The grammar, word for word: LF ends a line, and one of more than LIMIT bytes ends everything."""
    lines: list[bytes] = []
    *complete, rest = stream.split(b"\n")
    for line in complete:
        if len(line) > LIMIT:
            return lines, True
        lines.append(line)
    return lines, len(rest) > LIMIT


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=10_000)))
@example(b"good\n" + b"x" * (LIMIT + 1) + b"\nlost\n", [3])
@example(b"x" * LIMIT + b"\n", [])
@example(b"x" * (LIMIT + 1), [])
@example(b"x" * LIMIT + b"\n" + b"x" * (LIMIT + 1) + b"\n", [])
@example(b"\n\n\r\n", [1])
def test_any_chunking_gives_what_the_grammar_says(stream: bytes, places: list[int]) -> None:
    chunks = cut(stream, places)
    bytewise = [stream[index : index + 1] for index in range(len(stream))]
    expected = reference(stream)
    for feed in ([stream], chunks, bytewise):
        assert one_by_one(feed) == expected
        assert many_at_once(feed) == expected


def test_a_line_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    buffer = LineBuffer(LIMIT)
    buffer.feed(b"x" * LIMIT + b"\n")
    assert buffer.next_line() == b"x" * LIMIT
    buffer.feed(b"x" * (LIMIT + 1) + b"\n")
    with pytest.raises(LineTooLong):
        buffer.next_line()


def test_the_limit_binds_before_the_line_end_is_seen() -> None:
    buffer = LineBuffer(LIMIT)
    buffer.feed(b"x" * (LIMIT + 1))
    with pytest.raises(LineTooLong):
        buffer.next_line()


def test_good_lines_before_an_overlong_one_come_out() -> None:
    buffer = LineBuffer(LIMIT)
    assert buffer.feed_lines(b"one\ntwo\n" + b"x" * 100 + b"\nthree\n") == [b"one", b"two"]
    assert buffer.overlong
    assert buffer.feed_lines(b"four\n") == []


def test_nothing_comes_after_an_overlong_line() -> None:
    buffer = LineBuffer(LIMIT)
    buffer.feed(b"x" * 100 + b"\ngood\n")
    for _ in range(3):
        with pytest.raises(LineTooLong):
            buffer.next_line()
        assert buffer.overlong
    assert buffer.feed_lines(b"good\n") == []


def test_a_carriage_return_stays_in_the_line_as_white_space() -> None:
    buffer = LineBuffer(LIMIT)
    assert buffer.feed_lines(b"LIST\r\n\r\n") == [b"LIST\r", b"\r"]


def test_nul_and_bytes_above_127_are_bytes_like_others() -> None:
    assert LineBuffer(LIMIT).feed_lines(b"\0\xff\n") == [b"\0\xff"]


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=5), max_size=20))
def test_raw_bytes_and_lines_share_one_stream(stream: bytes, takes: list[int]) -> None:
    """Whatever is taken in whatever way, together it is the stream."""
    buffer = LineBuffer(len(stream))
    buffer.feed(stream)
    out = b""
    for count in takes:
        raw = buffer.take(count)
        assert len(raw) <= count
        out += raw
        if (line := buffer.next_line()) is not None:
            out += line + b"\n"
    rest = len(buffer)
    out += buffer.take(rest)
    assert out == stream
    assert len(buffer) == 0


def test_a_new_buffer_is_empty_and_sound() -> None:
    buffer = LineBuffer(LIMIT)
    assert len(buffer) == 0
    assert buffer.next_line() is None
    assert buffer.take(10) == b""
    assert not buffer.overlong


def test_what_is_given_out_is_let_go() -> None:
    """A thousand quiet connections must not hold a thousand packets."""
    for use in (LineBuffer.feed, LineBuffer.feed_lines):
        buffer = LineBuffer(LIMIT)
        use(buffer, b"abc\n" * 10_000)
        while buffer.next_line() is not None:
            pass
        assert len(buffer) == 0
        assert buffer._data == b""
    buffer = LineBuffer(LIMIT)
    buffer.feed(b"raw" * 1000)
    assert len(buffer.take(10_000)) == 3000
    assert buffer._data == b""


def test_a_dripped_line_copies_at_most_the_limit_each_time() -> None:
    """Byte by byte costs limit times limit at worst, for whatever length of stream: the rest is never longer."""
    buffer = LineBuffer(LIMIT)
    for _ in range(1000):
        for byte in b"1234567\n":
            buffer.feed(bytes([byte]))
            buffer.next_line()
            assert len(buffer._data) <= LIMIT + 1
