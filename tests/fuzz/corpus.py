"""The corpus: for each target a text file of inputs that are tried every time, seeds by hand and finds of long runs.

A line is one input, as a Python bytes literal. What begins with ``#`` is for people: what the inputs below it are, or
what they once broke.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "corpus"


def path_of(name: str) -> Path:
    """Where the inputs of a target are."""
    return DIRECTORY / f"{name.replace('/', '-')}.txt"


def parse_corpus(text: str) -> list[bytes]:
    """Read the inputs of a file, in order."""
    lines = (line.strip() for line in text.splitlines())
    inputs = [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]
    assert all(isinstance(value, bytes) for value in inputs), "an input is a bytes literal"
    return inputs


def read_corpus(name: str) -> list[bytes]:
    """The inputs of a target."""
    return parse_corpus(path_of(name).read_text(encoding="utf-8"))


def keep(name: str, remark: str, inputs: Iterable[bytes]) -> list[bytes]:
    """Put inputs at the end of a target's file, below a remark, but for those that it has.

    Returns: what was new.
    """
    path = path_of(name)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = set(parse_corpus(text))
    new = [data for data in dict.fromkeys(inputs) if data not in known]
    if new:
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*text.splitlines(), f"# {remark}", *map(repr, new), ""]), encoding="utf-8")
    return new
