"""The lab's words."""

from __future__ import annotations

import pytest

from osp2p.lab.text import lay_out, show


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a b", "a b"),
        ("ü☃".encode(), "ü☃"),
        (b"\xff", "\\xff"),
        (b"\x1b[2J\n", "\\x1b[2J\\n"),
        ("\x9b".encode(), "\\x9b"),
    ],
)
def test_names_are_harmless(raw: bytes, shown: str) -> None:
    assert show(raw) == shown


def test_columns_are_aligned() -> None:
    assert lay_out(("file", "size", "how"), [("a", "10 B", "yes"), ("long", "1 B", "no")]) == [
        "file  size  how",
        "a     10 B  yes",
        "long   1 B  no",
    ]
