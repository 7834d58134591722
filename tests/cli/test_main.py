"""The front door: help by topic, and what is said about a word that is no command."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from osp2p.cli.arguments import OptionParser
from osp2p.cli.main import COMMANDS, SUMMARIES, TOPICS, help_text, main
from osp2p.cli.signals import ENDING


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A command that runs in this process takes the signals, which pytest needs afterwards."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_every_command_stands_under_one_topic() -> None:
    listed = [name for commands in TOPICS.values() for name in commands]
    assert sorted(listed) == sorted({*COMMANDS, "lab"})


def test_the_help_fits_a_terminal() -> None:
    lines = help_text().splitlines()
    assert max(map(len, lines)) <= 110
    for topic, commands in TOPICS.items():
        at = lines.index(f"{topic}:")
        assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(commands)]] == list(commands)


def test_summaries_stand_in_one_column() -> None:
    lines = help_text().splitlines()
    columns = {line.index(summary) for summary in SUMMARIES.values() for line in lines if line.endswith(f" {summary}")}
    assert len(columns) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_with_examples(name: str) -> None:
    parser = COMMANDS[name].parser()
    assert isinstance(parser, OptionParser)
    assert parser.prog == f"osp2p {name}"
    assert f"\n  osp2p {name}" in parser.format_help()


@pytest.mark.usefixtures("own_signals")
def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "md5"]) == main(["md5", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: osp2p md5 FILE")
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert main(["help"]) == main(["help", "nonsense"]) == 0
    assert capsys.readouterr().out.count("usage: osp2p COMMAND") == 2


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gett"], "there is no command gett: did you mean get? (osp2p --help lists them)"),
        (["qqqqq"], "there is no command qqqqq (osp2p --help lists them)"),
        ([], "a command is missing (osp2p --help lists them)"),
        (["\x1b[31m"], r"there is no command \x1b[31m (osp2p --help lists them)"),
    ],
)
def test_a_word_that_is_no_command(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"osp2p: {said}\n")
