"""The teacher's page: its sessions are of this program, and say what the tests of the grader find again.

What single checks find is compared in tests/grade/test_run.py, which runs them anyway.
"""

from __future__ import annotations

import re
import shlex

import pytest

from osp2p.cli.grade_parsers import KINDS, grade_parser
from osp2p.cli.main import COMMANDS
from osp2p.grade.downloader import downloader_checks
from osp2p.grade.run import checks_of
from osp2p.grade.transcript import parse_transcript
from osp2p.grade.verdict import CATEGORIES
from tests.docs.grading_session import DOCUMENT, Block, block_of, blocks
from tests.docs.markdown import read_table

TEXT = DOCUMENT.read_text(encoding="utf-8")
GRADES = [block for block in blocks() if "osp2p grade" in block.command]


def words_of(block: Block) -> list[str]:
    """The words behind ``osp2p grade`` in a command line."""
    (part,) = [part for part in re.split(r"[&;]", block.command) if "osp2p grade" in part]
    return shlex.split(part)[2:]


def test_the_session_is_whole() -> None:
    assert len(GRADES) == 7
    assert all(block.printed for block in blocks())


@pytest.mark.parametrize("block", GRADES, ids=lambda block: block.command[:60])
def test_commands_and_checks_are_those_of_the_program(block: Block) -> None:
    kind = grade_parser().read(words_of(block)).words[0]
    assert kind in KINDS
    checks = downloader_checks() if kind == "downloader" else checks_of("tracker" if kind == "tracker" else "peer")
    assert set(block.outcomes) <= {check.id for check in checks}
    scored = [
        line.split()[0] for line in block.printed.splitlines() if line.split()[:1] in [[one] for one in CATEGORIES]
    ]
    assert scored == list(CATEGORIES)


@pytest.mark.parametrize("words", [("grade peer", "sound"), ("downloader", "sound"), ("grade tracker", "5000")])
def test_sound_programs_pass(words: tuple[str, ...]) -> None:
    block = block_of("osp2p ", *words)
    assert "FAILED" not in block.outcomes.values()
    assert "all that was asked passed" in block.printed


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (("grade peer", "naive"), ["it sends 'root:", "it sends '500 what?", "an honest user is not served"]),
        (("grade peer", "crashing"), ["FileNotFoundError", "not enough values to unpack", "UnicodeDecodeError"]),
        (("downloader", "naive"), ["outside its directory", "differs from 'cat.jpg'", "it has not ended after 20 s"]),
        (("downloader", "crashing"), ["'cat.jpg' is not there", "under whose name it is kept"]),
    ],
)
def test_others_fail_for_the_right_reasons(words: tuple[str, ...], reasons: list[str]) -> None:
    block = block_of("osp2p ", *words)
    assert [reason for reason in reasons if reason not in block.printed] == []
    assert "did not pass" in block.printed.splitlines()[-1]


def test_the_transcript_can_be_read_and_its_lines_are_explained() -> None:
    entries = parse_transcript(block_of("grep", "talk.txt").printed.splitlines())
    assert [entry.data for entry in entries if entry.kind == "<"][:2] == [b"ADDR me 127.0.0.1:4001", b"HAVE cat.jpg"]
    explained = "".join(row[0] for row in read_table(TEXT, "what", "means"))
    for kind in ("accept", "connect", "< ", "> ", "<~", ">~", "<=", ">=", "<!", ">!", "close", "lost"):
        assert f"`{kind}" in explained


def test_options_and_commands_are_those_of_the_program() -> None:
    options = {
        word for row in read_table(TEXT, "option", "what it does") for word in re.findall(r"`(--[a-z-]+)", row[0])
    }
    known = grade_parser().format_help()
    assert [option for option in options if option not in known] == []
    assert {"grade", "talk", "replay"} <= set(COMMANDS)
