"""The sample peers of examples/grading as commands."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "grading"

CAT = b"meow" * 50_000


def share(sample: str, port: int, directory: Path) -> tuple[str, ...]:
    """The command that shares a directory, in which there is a cat.jpg then."""
    directory.mkdir(exist_ok=True)
    (directory / "cat.jpg").write_bytes(CAT)
    return (sys.executable, str(EXAMPLES / f"{sample}_peer.py"), "share", str(port), str(directory))


def get(sample: str) -> tuple[str, ...]:
    """The command that fetches."""
    return (sys.executable, str(EXAMPLES / f"{sample}_peer.py"), "get", "{tracker}", "{dir}", "{files}")
