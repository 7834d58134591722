"""The commands serve, call and services: what is imported, how arguments are read, how results are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from osp2p.cli.arguments import UsageError
from osp2p.cli.call_parsers import call_parser, serve_parser, services_parser
from osp2p.cli.calling import _lines, json_value, read_argument
from osp2p.cli.handlers import load_handler
from osp2p.cli.main import main

ADDRESS = "ab" * 20


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with modules that nobody has imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("osp2p_test_"):
            del sys.modules[name]


def test_handlers_are_imported_from_here(here: Path) -> None:
    (here / "osp2p_test_clock.py").write_text(
        "class Clock:\n    def now(self): return 5\n    class Inner:\n        def now(self): return 6\n"
        "clock = Clock()\ntable = {'now': clock.now}\ndef now(): return 7\n"
    )
    for word, name in [
        ("osp2p_test_clock", "osp2p_test_clock"),
        ("osp2p_test_clock:Clock", "clock"),
        ("osp2p_test_clock:Clock.Inner", "inner"),
        ("osp2p_test_clock:clock", "clock"),
        ("osp2p_test_clock:table", "table"),
        ("osp2p_test_clock:now", "osp2p_test_clock"),
    ]:
        found, handler = load_handler(word)
        assert found == name
        assert callable(handler["now"] if isinstance(handler, dict) else getattr(handler, "now", None))


def test_what_cannot_be_imported_is_said_in_a_sentence(here: Path) -> None:
    (here / "osp2p_test_bad.py").write_text("import osp2p_test_nothing_at_all\n")
    (here / "osp2p_test_worse.py").write_text("1 / 0\n")
    (here / "osp2p_test_picky.py").write_text("class Picky:\n    def __init__(self, needed): ...\n")
    for word, text in [
        ("osp2p_test_missing", "osp2p_test_missing"),
        ("osp2p_test_bad", "osp2p_test_nothing_at_all"),
        ("osp2p_test_worse", "division by zero"),
        ("osp2p_test_picky:Picky", "needed"),
        ("osp2p_test_picky:Other", "Other"),
        ("", "import"),
        ("..x", "import"),
    ]:
        with pytest.raises(UsageError, match=text):
            load_handler(word)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ("five", "five"),
        ("", ""),
        ("[1, {}]", [1, {}]),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("05", "05"),
    ],
)
def test_arguments_are_json_or_text(word: str, value: Any) -> None:
    assert read_argument(word) == value


def test_results_are_shown_as_json_or_text() -> None:
    value = [b"\0", datetime(2026, 1, 2, 3, 4, 5), {"a": None}]
    assert json.loads(json.dumps(json_value(value))) == [
        {"base64": "AA=="},
        {"date": "2026-01-02T03:04:05"},
        {"a": None},
    ]
    assert _lines("one\ntwo") == ["one", "two"]
    assert _lines("") == [""]
    assert _lines(5) == ["5"]
    assert _lines(None) == ["null"]
    assert _lines(datetime(2026, 1, 2)) == ["2026-01-02 00:00:00"]


def test_the_examples_of_the_help_can_be_read() -> None:
    for parser in (serve_parser(), call_parser(), services_parser()):
        assert "examples:" in parser.format_help()
    arguments = call_parser().read(["any:clock", "clock.add", "2", "-3", "--timeout", "5s", "--", "--x"])
    assert arguments.words == ["any:clock", "clock.add", "2", "-3", "--x"]
    assert arguments.timeout == 5


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (["call", "nonsense", "clock.add"], 2, "40 lower-case hex digits"),
        (["call", "any:clock", "other.add"], 2, "no method of the service clock"),
        (["call", ADDRESS, "clock._add"], 2, "private"),
        (["call", ADDRESS, "clock.add", "--near", ADDRESS], 2, "any:SERVICE"),
        (["call", "any:clock", "clock.add", "--near", "5"], 2, "40 lower-case hex digits"),
        (["call", f"{ADDRESS}@127.0.0.1:1", "clock.add"], 4, "connection refused"),
        (["call", f"{ADDRESS}@127.0.0.1:1", "clock.add", '"\\u0000"'], 2, "XML cannot carry"),
        (["call", ADDRESS], 2, "is missing"),
        (["services", "a.b"], 2, "neither"),
        (["serve", "--name", "x"], 2, "--name"),
        (["serve", "osp2p_test_missing"], 2, "no module"),
        (["serve", "osp2p_test_missing.py:Clock", "--port", "0"], 2, "without .py"),
        (["serve", "xml", "--port", "0"], 2, "the module xml has no public methods"),
        (["serve", "json:loads", "--name", "a.b", "--port", "0"], 2, "a.b"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], line: list[str], code: int, text: str
) -> None:
    assert main(line) == code
    captured = capsys.readouterr()
    complaint = captured.err.splitlines()[-1]
    assert complaint.startswith(f"osp2p {line[0]}: ")
    assert text in complaint
