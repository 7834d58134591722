"""The lab's words."""

from __future__ import annotations

import pytest

from osp2p.lab.text import lay_out, show, show_size


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


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (123_456, "123 kB"),
        (5e6, "5.0 MB"),
        (7e12, "7000.0 GB"),
    ],
)
def test_sizes(size: float, shown: str) -> None:
    assert show_size(size) == shown


def test_columns_are_aligned() -> None:
    assert lay_out(("file", "size", "how"), [("a", "10 B", "yes"), ("long", "1 B", "no")]) == [
        "file  size  how",
        "a     10 B  yes",
        "long   1 B  no",
    ]
