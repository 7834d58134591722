"""Answers with bodies, however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import LineTooLong, MalformedLine
from osp2p.wire.body import BodyParser
from osp2p.wire.reply import Reply, write_reply

MOST = 1000


def new_parser() -> BodyParser:
    return BodyParser(MOST, 200, 20, 2000)


def feed(parser: BodyParser, data: bytes) -> None:
    space = parser.space()
    space[: len(data)] = data
    parser.received(len(data))


bodies = st.builds(
    lambda body, text, details, context: (
        body,
        write_reply(200, text, [b"DATA %d%s" % (len(body), details)], context) + body,
    ),
    st.binary(max_size=MOST),
    st.sampled_from([b"here it comes", b"", b"x" * 190]),
    st.sampled_from([b"", b" new=1-2", b" chunk=7"]),
    st.sampled_from([(), ((200, b"a remark"),)]),
)
refusals = st.builds(
    lambda code, data: (None, write_reply(code, b"no", data)),
    st.sampled_from([300, 301, 303, 500]),
    st.sampled_from([(), (b"RETRY 1000",), (b"DATA 5",)]),
)


@given(answers=st.lists(bodies | refusals, min_size=1), data=st.data())
def test_answers_come_out_as_they_went_in(answers: list[tuple[bytes | None, bytes]], data: st.DataObject) -> None:
    """Whatever the pieces are."""
    stream = b"".join(wire for _, wire in answers)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser = new_parser()
    found: list[bytes | None] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        feed(parser, stream[start:end])
        while len(found) < len(answers):
            body = answers[len(found)][0]
            answer = parser.next(len(body) if body is not None else 5)
            if answer is None:
                break
            found.append(None if isinstance(answer, Reply) else bytes(answer))
    assert found == [body for body, _ in answers]


@given(st.binary(max_size=3000), st.integers(1, MOST))
def test_nonsense_is_an_answer_or_one_of_two_errors(data: bytes, length: int) -> None:
    parser = new_parser()
    feed(parser, data)
    try:
        for _ in range(len(data) + 1):
            if (answer := parser.next(length)) is None:
                return
            assert isinstance(answer, Reply) != (isinstance(answer, memoryview) and len(answer) == length)
    except (MalformedLine, LineTooLong):
        return
    raise AssertionError("endless answers")


@pytest.mark.parametrize(
    "stream",
    [
        b"DATA 11\n200 too long\n",
        b"DATA 9\n200 too short\n123456789",
        b"DATA 99999999999999999\n200 huge\n",
        b"DATA -10\n200 negative\n",
        b"DATA 10x\n200 no number\n",
        b"DATA\n200 none\n",
        b"SIZE 10\n200 another\n",
        b"200 nothing\n",
    ],
)
def test_another_length_than_was_asked_for_is_malformed(stream: bytes) -> None:
    parser = new_parser()
    feed(parser, stream)
    with pytest.raises(MalformedLine):
        parser.next(10)


@pytest.mark.parametrize("stream", [b"x" * 201, b"x" * 201 + b"\n", b"200-y\n" * 21, b"DATA " + b"1" * 200])
def test_heads_without_end_are_refused(stream: bytes) -> None:
    parser = new_parser()
    feed(parser, stream)
    with pytest.raises(LineTooLong):
        parser.next(10)


def test_a_body_stays_until_there_is_more() -> None:
    parser = new_parser()
    wire = b"DATA 3\n200 ok\nabcDATA 3\n200 ok\ndef"
    feed(parser, wire)
    bodies = [parser.next(3), parser.next(3)]
    assert [bytes(body) for body in bodies if isinstance(body, memoryview)] == [b"abc", b"def"]


def test_memory_is_bounded_over_many_answers() -> None:
    parser = new_parser()
    sizes = set()
    for number in range(3000):
        body = bytes([number % 256]) * MOST
        wire = b"DATA %d\n200 ok\n" % MOST + body
        space = parser.space()
        sizes.add(len(space))
        for start in (0, len(wire) // 2):
            part = wire[start : start + len(wire) // 2] if start == 0 else wire[start:]
            feed(parser, part)
        answer = parser.next(MOST)
        assert isinstance(answer, memoryview)
        assert bytes(answer) == body
    assert min(sizes) > 0
