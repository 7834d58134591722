"""Connections to a tracker without a network: a line in, a whole reply out."""

from __future__ import annotations

from osp2p.tracker.state import Session, TrackerState
from osp2p.wire.reply import Reply, ReplyParser
from tests.tracker.talk import answer, make_session

M1, M2 = b"a" * 22, b"b" * 21 + b"a"
X, Y = b"1" * 64, b"2" * 64


def ask(session: Session, line: bytes) -> Reply:
    """One line in, exactly one whole reply out."""
    raw = answer(session, line)
    assert raw.endswith(b"\n")
    parser = ReplyParser(1_000_000, 1 << 30)
    replies = [parser.feed_line(part) for part in raw[:-1].split(b"\n")]
    assert replies[:-1] == [None] * (len(replies) - 1)
    assert replies[-1] is not None
    return replies[-1]


def code(session: Session, line: bytes) -> int:
    return ask(session, line).code


def data(session: Session, line: bytes) -> list[bytes]:
    reply = ask(session, line)
    assert reply.code == 200
    return sorted(reply.data)


def base(state: TrackerState, *lines: bytes, remote: str = "127.0.0.1") -> Session:
    """A base client that has said these lines with success."""
    session = make_session(state, remote)
    for line in lines:
        assert code(session, line) in (200, 220), line
    return session


def hello(state: TrackerState, *lines: bytes, remote: str = "127.0.0.1") -> Session:
    """The same after HELLO."""
    return base(state, b"HELLO OSP2P/2", *lines, remote=remote)
