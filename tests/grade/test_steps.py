"""The language of dialogues: patterns of data lines, replies, bodies."""

from __future__ import annotations

import pytest

from osp2p.grade.steps import check_body, check_reply, matches
from osp2p.grade.verdict import Wrong
from osp2p.wire.reply import Reply


@pytest.mark.parametrize(
    ("pattern", "line", "answer"),
    [
        ("PEER a *:4001", b"PEER a 127.0.0.1:4001", True),
        ("PEER a *:4001", b"PEER a 127.0.0.1:4002", False),
        ("PEER a *:4001", b"PEER b 127.0.0.1:4001", False),
        ("PEER a *:4001", b"PEER a 127.0.0.1:4001 v=2", True),
        ("PEER a *:4001 v=2", b"PEER a 127.0.0.1:4001", False),
        ("PEER a *:4001 size=5 v=2", b"PEER a 127.0.0.1:4001 v=2 b3=1 size=5", True),
        ("PEER * * b3=*", b"PEER a 127.0.0.1:4001 v=2", False),
        ("FILE a", b"FILE a b", False),
        ("FILE *", b"FILE", False),
        ("FILE a%20b", b"FILE a%20b\r", True),
        ("**", b"", True),
    ],
)
def test_patterns(pattern: str, line: bytes, answer: bool) -> None:
    assert matches(pattern, line) is answer


def test_replies() -> None:
    reply = Reply(200, b"ok", (b"FILE a", b"FILE b"))
    check_reply(reply, "'LIST'", [200, 220], ["FILE a", "FILE b"], ["FILE c"])
    check_reply(reply, "'LIST'", [], [], [])
    with pytest.raises(Wrong, match="'LIST' is answered 200 'ok', not 300 or 500"):
        check_reply(reply, "'LIST'", [300, 500], [], [])
    with pytest.raises(Wrong, match="there is no line 'FILE c', but 'FILE a' and 1 more"):
        check_reply(reply, "'LIST'", [200], ["FILE c"], [])
    with pytest.raises(Wrong, match="there is the line 'FILE b'"):
        check_reply(reply, "'LIST'", [200], [], ["FILE b"])
    with pytest.raises(Wrong, match="there is no line 'FILE c', and no other"):
        check_reply(Reply(200, b""), "'LIST'", [200], ["FILE c"], [])


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (b"", "only 0 of 5 bytes come"),
        (b"abcd", "only 4 of 5 bytes come"),
        (b"abcdef", "more than the 5 bytes of the file come"),
        (b"abXde", "differs from the file at byte 2 of 5"),
        (b"Xbcdefg", "differs from the file at byte 0 of 5"),
    ],
)
def test_bodies(found: bytes, text: str) -> None:
    check_body(b"abcde", b"abcde", "the file")
    with pytest.raises(Wrong, match=text):
        check_body(found, b"abcde", "the file")
