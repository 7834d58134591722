"""The sessions in docs/grading.md, really run.

``python -m tests.docs.grading_session [WORD]`` runs the command of every block that is marked ``console`` (or of those
in whose command WORD stands) and puts what it prints below it. It takes some minutes: careless programs are waited for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "grading.md"
EXAMPLES = ROOT / "examples" / "grading"

_BLOCK = re.compile(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", re.MULTILINE)

#: A line of a verdict in what `osp2p grade` prints.
_VERDICT = re.compile(r"^(ok|FAILED|-) +(\S+/\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One command, and what it printed."""

    command: str
    printed: str

    @property
    def outcomes(self) -> dict[str, str]:
        """What stands before the id of each check that is shown."""
        return {id: mark for mark, id in _VERDICT.findall(self.printed)}


def blocks() -> Iterator[Block]:
    """The sessions of the document."""
    for match in _BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8")):
        yield Block(match[1], match[2])


def block_of(*words: str) -> Block:
    """The only session whose command has all these words in it."""
    (found,) = [block for block in blocks() if all(word in block.command for word in words)]
    return found


def run(command: str, directory: Path) -> str:
    """Run a command as a teacher would. Returns: what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(directory / ".cache"), "COLUMNS": "100"}
    done = subprocess.run(["bash", "-c", command], cwd=directory, env=environment, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout


def lay_out(directory: Path) -> None:
    """Make what the commands of the document speak of."""
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, directory)
    (directory / "photos").mkdir()
    (directory / "photos" / "cat.jpg").write_bytes(Random("cat.jpg").randbytes(200_000))
    (directory / "marks.txt").write_text("alice 1.3\nbob 4.0\n")


def main(word: str) -> None:
    """Bring the document up to date."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        lay_out(directory)
        for block in list(blocks()):
            if word in block.command:
                printed = run(block.command, directory).replace(name, "/home/teacher")
                text = DOCUMENT.read_text(encoding="utf-8")
                old = f"```console\n$ {block.command}\n{block.printed}```"
                assert text.count(old) == 1, block.command
                new = f"```console\n$ {block.command}\n{printed}```"
                DOCUMENT.write_text(text.replace(old, new), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
