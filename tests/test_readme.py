"""The README says what is so: its commands can be read, its paths exist, its exit codes are the program's."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from osp2p.cli.exits import MEANINGS
from osp2p.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND_LINES = [line.strip() for line in TEXT.splitlines() if line.startswith("    osp2p ")]


def test_it_opens_with_the_two_commands() -> None:
    words = [line.split()[0] for line in TEXT.splitlines() if line.startswith("    ")]
    assert words[:2] == ["./run-good", "./run-tests"]
    assert all(os.access(ROOT / word, os.X_OK) for word in (*words[:2], ".ci/run"))


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_can_be_typed(line: str) -> None:
    _, command, *words = shlex.split(line, comments=True)
    COMMANDS[command].parser().read(words)


def test_there_is_a_tour() -> None:
    assert len(COMMAND_LINES) >= 4


def test_exit_codes_are_the_programs() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == MEANINGS


def test_paths_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    paths = [word for word in re.findall(r"`([^`\s]+)`", TEXT) if word.startswith(("osp2p/", "tests/", "./"))]
    assert len(links) >= 4
    assert len(paths) >= 10
    assert [path for path in (*links, *paths) if not (ROOT / path).exists()] == []
