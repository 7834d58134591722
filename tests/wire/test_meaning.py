"""What lines mean: everything that our own servers say can be explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.wire.meaning import ATTRIBUTES, CODES, DATA, explain_line

PROTOCOL = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        (b"200 done", "200: done (the end of the answer)"),
        (b"200", "200: done"),
        (b"220-hm", "220: nothing to do, or done with a remark (a remark; the answer goes on)"),
        (b"303 later\r", "303: busy"),
        (b"299 x", "299: success"),
        (b"999 x", "999: a code that is not in the protocol"),
        (b"PEER a 127.0.0.1:1 v=2 colour=blue size=5", "a peer: its alias, and the address where it listens; v: it"),
        (b"u3bJz@iaYsq6aMaMSJVq_b", "a checksum"),
    ],
)
def test_meanings(line: bytes, begins: str) -> None:
    assert (explain_line(line) or "").startswith(begins)


@given(st.binary())
def test_any_line_has_a_meaning_or_none(line: bytes) -> None:
    meaning = explain_line(line)
    assert meaning is None or meaning.isprintable()


def test_what_the_protocol_shows_is_in_the_tables() -> None:
    """Every line of an answer in the sessions of the document has a meaning."""
    sessions = re.findall(r"^```session.*?\n(.*?)^```", PROTOCOL, re.MULTILINE | re.DOTALL)
    lines = [line for session in sessions for line in session.splitlines()]
    answers = [line for line in lines if line[:1].isupper() and not line.startswith("HELLO")]
    assert len(answers) > 100
    assert [line for line in answers if explain_line(line.encode()) is None] == []


def test_tables_hold_what_the_protocol_names() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d\d\d) \|", PROTOCOL, re.MULTILINE)} <= set(CODES)
    assert all(word.isupper() for word in DATA)
    assert all(f"{key.decode()}=" in PROTOCOL for key in ATTRIBUTES)
