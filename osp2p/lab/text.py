"""The lab's words: names made harmless, and tables with aligned columns."""

from __future__ import annotations

from collections.abc import Sequence


def show(raw: bytes) -> str:
    """Write a name so that a terminal obeys nothing in it; bytes that are not UTF-8 become ``\\xNN``."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def lay_out(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table: the first column and the last to the left, the numbers between them to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [cell.ljust(width) if column in (0, len(head) - 1) else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return lines
