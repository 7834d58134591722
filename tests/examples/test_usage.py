"""Every example that is a program says in one sentence how it is used, to whoever starts it without arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_there_are_examples() -> None:
    assert len(PROGRAMS) >= 4


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.stem for path in PROGRAMS])
@pytest.mark.parametrize("words", [(), ("share",), ("x", "y", "z", "w")], ids=["none", "few", "others"])
def test_it_says_how_it_is_used(path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, str(path), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"usage: {path}")
    assert done.stderr.count("\n") == 1
