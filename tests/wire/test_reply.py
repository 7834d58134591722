"""Replies: data lines, context lines, one terminator."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osp2p.errors import LineTooLong, LocalProtocolError
from osp2p.wire.reply import Reply, ReplyParser, is_reply_line, write_reply

CODES = st.integers(min_value=100, max_value=999)
TEXTS = st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"").rstrip(b"\r"))
DATA = TEXTS.filter(lambda line: line.strip() and not re.match(rb"\d\d\d(?:[ -]|\r?\Z)", line))
REPLIES = st.builds(
    Reply,
    code=CODES,
    text=TEXTS,
    data=st.lists(DATA, max_size=4).map(tuple),
    context=st.lists(st.tuples(CODES, TEXTS), max_size=4).map(tuple),
)


def parser(max_lines: int = 100, max_bytes: int = 10_000) -> ReplyParser:
    return ReplyParser(max_lines, max_bytes)


def write(reply: Reply) -> bytes:
    return write_reply(reply.code, reply.text, reply.data, reply.context)


@given(st.lists(REPLIES, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]))
@example([Reply(200, b"", (b"2000 x", b"20 x", b"-200 x"))], b"\r\n")
def test_replies_come_back(replies: list[Reply], line_end: bytes) -> None:
    stream = b"".join(map(write, replies)).replace(b"\n", line_end)
    reader = parser()
    lines = stream.split(b"\n")
    assert lines.pop() == b""
    assert [reply for line in lines if (reply := reader.feed_line(line)) is not None] == replies


def test_what_is_written() -> None:
    data = [b"PEER a 1.2.3.4:5", b"PEER b 1.2.3.4:6"]
    context = [(220, b"two of them"), (200, b"in all")]
    assert write_reply(200, b"done", data, context) == (
        b"PEER a 1.2.3.4:5\nPEER b 1.2.3.4:6\n220-two of them\n200-in all\n200 done\n"
    )
    assert write_reply(300, b"no") == b"300 no\n"


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"200 fine", 200, b"fine"),
        (b"200 fine\r", 200, b"fine"),
        (b"200", 200, b""),
        (b"200\r", 200, b""),
        (b"200\r\r", 200, b""),
        (b"200 ", 200, b""),
        (b"500 200-x", 500, b"200-x"),
        (b"000 x", 0, b"x"),
    ],
)
def test_terminators(line: bytes, code: int, text: bytes) -> None:
    assert parser().feed_line(line) == Reply(code, text)


@pytest.mark.parametrize("line", [b"", b"\r", b" \t"])
def test_blank_lines_say_nothing_but_count(line: bytes) -> None:
    reader = parser(max_lines=4)
    for _ in range(3):
        assert reader.feed_line(line) is None
    assert reader.feed_line(b"200 ok") == Reply(200, b"ok")
    for _ in range(4):
        assert reader.feed_line(line) is None
    with pytest.raises(LineTooLong):
        reader.feed_line(b"200 ok")


@pytest.mark.parametrize("line", [b"20", b"2000", b"2000 x", b" 200 x", b"200x", b"200\tx", b"-200", b"\0"])
def test_data_lines(line: bytes) -> None:
    reader = parser()
    assert reader.feed_line(line) is None
    assert reader.feed_line(b"200 ok") == Reply(200, b"ok", (line.rstrip(b"\r"),))


def test_digits_of_other_alphabets_are_data() -> None:
    assert parser().feed_line("٢٠٠ ok".encode()) is None


def test_a_context_line_may_carry_another_code_and_the_terminator_decides() -> None:
    reader = parser()
    assert reader.feed_line(b"500-odd\r") is None
    reply = reader.feed_line(b"200 fine")
    assert reply == Reply(200, b"fine", (), ((500, b"odd"),))
    assert reply.ok


@pytest.mark.parametrize(
    ("code", "ok"), [(199, False), (200, True), (220, True), (299, True), (300, False), (0, False)]
)
def test_success_is_2xx(code: int, ok: bool) -> None:
    assert Reply(code, b"").ok == ok


def test_one_reply_leaves_nothing_in_the_next() -> None:
    reader = parser()
    reader.feed_line(b"FILE a")
    reader.feed_line(b"200-x")
    reader.feed_line(b"200 one")
    assert reader.feed_line(b"200 two") == Reply(200, b"two")


@pytest.mark.parametrize("line", [b"", b"FILE a", b"200-remark"])
def test_a_reply_that_never_ends_is_bounded_by_lines(line: bytes) -> None:
    reader = parser(max_lines=5)
    for _ in range(5):
        assert reader.feed_line(line) is None
    for _ in range(2):  # and it stays so
        with pytest.raises(LineTooLong):
            reader.feed_line(line)


def test_a_reply_that_never_ends_is_bounded_by_bytes() -> None:
    reader = parser(max_bytes=30)
    assert reader.feed_line(b"x" * 30) is None
    with pytest.raises(LineTooLong):
        reader.feed_line(b"y")


def test_the_limits_bind_complete_replies_too() -> None:
    assert parser(max_lines=1, max_bytes=6).feed_line(b"200 ok") is not None
    with pytest.raises(LineTooLong):
        parser(max_bytes=5).feed_line(b"200 ok")
    reader = parser(max_lines=1)
    reader.feed_line(b"FILE a")
    with pytest.raises(LineTooLong):
        reader.feed_line(b"200 ok")


def test_the_limits_count_one_reply_and_not_the_connection() -> None:
    reader = parser(max_lines=2, max_bytes=20)
    for _ in range(100):
        reader.feed_line(b"FILE a")
        assert reader.feed_line(b"200 ok") is not None


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=30))
def test_any_lines_are_replies_or_too_long(lines: list[bytes]) -> None:
    reader = parser(max_lines=10, max_bytes=100)
    since = 0
    for line in lines:
        since += 1
        try:
            reply = reader.feed_line(line)
        except LineTooLong:
            return
        if reply is not None:
            assert 1 + len(reply.data) + len(reply.context) == since
            since = 0
    assert since <= 10


@pytest.mark.parametrize(
    ("text", "data", "context"),
    [
        (b"a\n200 b", [], []),
        (b"a", [b"PEER a\n200 b"], []),
        (b"a", [], [(200, b"x\ny")]),
    ],
)
def test_a_line_end_inside_is_our_mistake(text: bytes, data: list[bytes], context: list[tuple[int, bytes]]) -> None:
    """The hole of 2007: an alias with an LF in it wrote lines of its own into answers."""
    with pytest.raises(LocalProtocolError):
        write_reply(200, text, data, context)


@pytest.mark.parametrize("line", [b"200", b"200 x", b"200\r", b"200-", b"200-x", b"999 "])
def test_lines_of_a_reply_that_are_no_data(line: bytes) -> None:
    assert is_reply_line(line)


@pytest.mark.parametrize("line", [b"", b"20 x", b"2000 x", b"200x", b" 200 x", b"SSH-2.0-x", b"PEER a 1.2.3.4:5"])
def test_lines_that_are_data(line: bytes) -> None:
    assert not is_reply_line(line)
