"""What tests read from the documents: tables, indented examples, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def read_document(name: str) -> str:
    """A document's text."""
    return (DOCS / name).read_text(encoding="utf-8")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read_table(document: str, *header: str) -> list[list[str]]:
    """The rows of the one table with this header.

    Raises:
        LookupError: there is none, or several.
    """
    lines = document.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("|") and _cells(line) == list(header)]
    if len(starts) != 1:
        raise LookupError(f"{len(starts)} tables have the header {header}")
    rows: list[list[str]] = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    if any(len(row) != len(header) for row in rows):
        raise LookupError(f"a row of the table {header} has another number of cells")
    return rows


def code(cell: str) -> str:
    """What stands between the first backticks of a cell."""
    match = re.search(r"`([^`]*)`", cell)
    if match is None:
        raise LookupError(f"no code in {cell!r}")
    return match[1]


def read_examples(document: str) -> Iterator[str]:
    """The indented blocks, without their indentation, each line with its end."""
    block = ""
    for line in [*document.splitlines(), ""]:
        if line.startswith("    "):
            block += line[4:] + "\n"
        elif block:
            yield block
            block = ""


def section(document: str, heading: str) -> str:
    """The text under a heading, down to the next one of its rank or above.

    Raises:
        LookupError: there is none.
    """
    rank = heading.index(" ")
    match = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{rank}}} |\Z)", document, re.MULTILINE | re.DOTALL)
    if match is None:
        raise LookupError(f"there is no section {heading}")
    return match[1]


def without_fences(document: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)


def anchors(document: str) -> set[str]:
    """What links may point to: headings in the form in which GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", without_fences(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def link_targets(document: str) -> list[str]:
    """Where the links of a document point, web addresses left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_fences(document))
    return [target for target in found if "://" not in target]
