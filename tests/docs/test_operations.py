"""docs/operations.md: its tables are those of the code."""

from __future__ import annotations

import ast
import configparser
import errno
import os
import re
import shlex

import pytest

from osp2p.cli.exits import MEANINGS
from osp2p.cli.main import COMMANDS
from osp2p.content.name import journal_name, partial_name
from osp2p.peer.ports import FIRST_PORT, PORTS_TRIED
from osp2p.wire.address import DEFAULT_TRACKER_PORT
from tests.docs.limits_table import tables_of, with_tables, write_default, write_tables
from tests.docs.markdown import DOCS, read_document, read_table

DOCUMENT = read_document("operations.md")


def test_the_limits_are_those_of_the_code() -> None:
    assert tables_of(DOCUMENT).strip() == write_tables().strip(), "run: python -m tests.docs.limits_table"


def test_the_tables_of_limits_can_be_written_again() -> None:
    assert with_tables(DOCUMENT, write_tables()) == DOCUMENT
    assert tables_of(with_tables(DOCUMENT, "\nother\n")).strip() == "other"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("None", "–"),
        ("4096", "4,096"),
        ("0.5", "0.5"),
        ("256.0", "256"),
        ("60 * SECONDS", "60 s"),
        ("1.5 * MINUTES", "1.5 min"),
        ("32 * MIB", "32 MiB"),
        ("1.0 * MIB", "1 MiB"),
        ("64 * KIB", "64 KiB"),
    ],
)
def test_defaults_are_written_for_readers(source: str, shown: str) -> None:
    assert write_default(ast.parse(source, mode="eval").body) == shown


def test_the_exit_codes_are_those_of_the_code() -> None:
    assert read_table(DOCUMENT, "code", "meaning") == [[str(code), meaning] for code, meaning in MEANINGS.items()]


def test_the_ports_are_those_of_the_code() -> None:
    (_, tracker, _), (_, peer, _), _ = read_table(DOCUMENT, "what", "port", "who connects to it")
    assert re.findall(r"\d+", tracker) == [str(DEFAULT_TRACKER_PORT)]
    assert re.findall(r"\d+", peer) == [str(FIRST_PORT), str(FIRST_PORT + PORTS_TRIED - 1)]


def test_hidden_files_are_called_so() -> None:
    assert f"`{partial_name(b'cat.jpg').decode()}`" in DOCUMENT
    assert f"`{journal_name(b'cat.jpg').decode()}`" in DOCUMENT


def commands() -> list[tuple[str, str]]:
    """Every command line of ours that stands in these documents: in an indented line, or between backticks."""
    found = []
    for name in ("operations.md", "protocol.md", "tutorial.md"):
        text = read_document(name)
        lines = re.findall(r"^    (osp2p .*)$", text, re.MULTILINE) + re.findall(r"`(osp2p [^`\n]*)`", text)
        found += [(name, line.split("  #")[0].strip()) for line in lines if "…" not in line]
    return found


@pytest.mark.parametrize(("name", "line"), commands())
def test_command_lines_can_be_typed(name: str, line: str) -> None:
    _, command, *arguments = shlex.split(line)
    if command == "lab" or not arguments or "--help" in arguments:
        assert command in {*COMMANDS, "lab"}
    else:
        COMMANDS[command].parser().read(arguments)


def test_what_users_see_is_what_the_code_says() -> None:
    """The messages of the table stand in the source, as far as nothing is filled in."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "osp2p").rglob("*.py"))
    sources += os.strerror(errno.ECONNREFUSED).lower()
    cells = " ".join(row[0] for row in read_table(DOCUMENT, "what you see", "what it means"))
    messages = [re.split(r" …| at …", message)[0] for message in re.findall(r"`([^`]+)`", cells)]
    assert len(messages) > 5
    for message in messages:
        assert re.sub(r"N of M ", "", message) in sources, message


def test_the_unit_can_be_read() -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    parser = configparser.ConfigParser()
    parser.read_string(unit)
    assert parser["Service"]["ExecStart"].endswith("/osp2p tracker")
