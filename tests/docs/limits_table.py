"""The tables of limits in docs/operations.md, written from osp2p/limits.py.

``python -m tests.docs.limits_table`` brings the document up to date.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from osp2p import limits

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "operations.md"

_BEGIN = "<!-- The tables are written by: python -m tests.docs.limits_table -->\n"
_END = "<!-- end of the tables -->\n"

_HEADING = re.compile(r" *# --- (.*) ---")

#: How the units of limits.py are written for readers.
_UNITS = {"SECONDS": "s", "MINUTES": "min", "KIB": "KiB", "MIB": "MiB"}


def write_default(expression: ast.expr) -> str:
    """Write a default for readers: a number, and its unit where the source has one."""
    if isinstance(expression, ast.Constant):
        value = expression.value
        assert value is None or isinstance(value, int | float)
        return "–" if value is None else f"{value:,}".removesuffix(".0")
    assert isinstance(expression, ast.BinOp), ast.unparse(expression)
    assert isinstance(expression.right, ast.Name), ast.unparse(expression)
    return f"{write_default(expression.left)} {_UNITS[expression.right.id]}"


def write_tables() -> str:
    """Every field of `Limits`: name, default, and the docstring under it, a table for each part of the class."""
    source = inspect.getsource(limits)
    headings = {at: match[1] for at, line in enumerate(source.splitlines(), 1) if (match := _HEADING.fullmatch(line))}
    (body,) = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Limits"]
    return "".join(_write_body(body, headings))


def _write_body(body: list[ast.stmt], headings: dict[int, str]) -> Iterator[str]:
    shown = 0
    for statement, below in pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value):
            continue
        assert isinstance(below, ast.Expr)
        assert isinstance(below.value, ast.Constant)
        above = max((at for at in headings if at < statement.lineno), default=0)
        if above != shown:
            shown = above
            yield f"\n### {headings[above][0].upper()}{headings[above][1:]}\n"
            yield "\n| limit | default | what it limits |\n|---|---|---|\n"
        text = " ".join(str(below.value.value).split()).replace("|", "\\|")
        yield f"| `{statement.target.id}` | {write_default(statement.value)} | {text} |\n"


def tables_of(document: str) -> str:
    """The tables that stand in a document."""
    return document.partition(_BEGIN)[2].partition(_END)[0]


def with_tables(document: str, tables: str) -> str:
    """A document with other tables."""
    before, begin, rest = document.partition(_BEGIN)
    return before + begin + tables + "\n" + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8"), write_tables()), encoding="utf-8")
