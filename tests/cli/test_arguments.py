"""Command lines: words and options in any order, the forms of 2007, one sentence on a mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.arguments import TRACKER_VARIABLE, HelpWanted, OptionParser, UsageError, chosen_trackers
from osp2p.cli.main import COMMANDS, OLD_PEER, OLD_TRACKER
from osp2p.cli.parsers import get_parser, link_parser, old_peer_parser, old_tracker_parser, tracker_parser, who_parser

PARSERS = [command.parser for command in (*COMMANDS.values(), OLD_TRACKER, OLD_PEER)]


def test_words_and_options_mix_in_any_order() -> None:
    for line in (["a", "b", "-t", "x"], ["-t", "x", "a", "b"], ["a", "-tx", "b"], ["a", "--tracker=x", "--", "b"]):
        arguments = get_parser().read(line)
        assert arguments.names == ["a", "b"]
        assert arguments.tracker == ["x"]


def test_behind_two_hyphens_everything_is_a_name() -> None:
    arguments = get_parser().read(["-t", "x", "--", "-n", "--force", "--"])
    assert arguments.names == ["-n", "--force", "--"]
    assert not arguments.force


def test_names_are_kept_as_they_are() -> None:
    raw = "caf\udce9 %41\n"
    assert get_parser().read([raw]).names == [raw]


@pytest.mark.parametrize(
    ("line", "port", "flags"),
    [
        ([], 11111, (False, False, False)),
        (["-p5000", "-l"], 5000, (True, False, False)),
        (["-p", "5000", "-x"], 5000, (False, True, False)),
        (["-lxf"], 11111, (True, True, True)),
        (["-f", "-p0"], 0, (False, False, True)),
        (["--port", "5000", "--local", "--own-host-only", "--fakes"], 5000, (True, True, True)),
    ],
)
def test_the_tracker_of_2007(line: list[str], port: int, flags: tuple[bool, bool, bool]) -> None:
    for parser in (old_tracker_parser(), tracker_parser()):
        arguments = parser.read(line)
        assert arguments.port == port
        assert (arguments.local, arguments.own_host_only, arguments.fakes) == flags


@pytest.mark.parametrize(
    ("line", "tracker", "directory", "evil", "files"),
    [
        ([], [], ".", None, []),
        (["-t127.0.0.1:5000", "-dphotos", "a", "b"], ["127.0.0.1:5000"], "photos", None, ["a", "b"]),
        (["-t", "5000", "-d", "photos", "a"], ["5000"], "photos", None, ["a"]),
        (["a", "-t192.0.2.7", "b"], ["192.0.2.7"], ".", None, ["a", "b"]),
        (["-b", "-t5000"], ["5000"], ".", "", []),
        (["-bendless", "-t5000", "a"], ["5000"], ".", "endless", ["a"]),
    ],
)
def test_the_peer_of_2007(
    line: list[str], tracker: list[str], directory: str, evil: str | None, files: list[str]
) -> None:
    arguments = old_peer_parser().read(line)
    assert (arguments.tracker, arguments.directory) == (tracker, directory)
    assert (arguments.evil, arguments.files) == (evil, files)


@pytest.mark.parametrize(
    ("parser", "line", "sentence"),
    [
        (get_parser, [], "NAME is missing"),
        (get_parser, ["a", "--max-size", "5x"], "'5x' is no size"),
        (get_parser, ["a", "--port", "70000"], "is no port"),
        (get_parser, ["a", "--alias", ""], "an alias has at least one byte"),
        (get_parser, ["a", "--nonsense"], "unrecognized arguments: --nonsense"),
        (get_parser, ["a", "--require"], "unrecognized arguments: --require: did you mean --require-verified?"),
        (get_parser, ["a", "--limit", "5"], "did you mean --limit-up or --limit-down?"),
        (get_parser, ["a", "--max-sise=3"], "did you mean --max-size? (osp2p get --help lists them)"),
        (link_parser, ["a", "--join", "192.0.2.7"], "--join is not for osp2p link: `osp2p find NAME --join"),
        (who_parser, ["--join=192.0.2.7"], "--join is not for osp2p who: peers log in at trackers"),
        (who_parser, ["--joi=192.0.2.7"], "unrecognized arguments: --joi"),
        (tracker_parser, ["--prot", "5"], "did you mean --port?"),
        (tracker_parser, ["x"], "unrecognized arguments: x"),
        (tracker_parser, ["--", "x"], "x is one word too many"),
        (tracker_parser, ["-p\x1b[31m"], r"'\x1b[31m' is no port"),
    ],
)
def test_a_mistake_gets_one_sentence(parser: Callable[[], OptionParser], line: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().read(line)
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text
    assert text.endswith(("--help", "--help lists them)"))


@given(st.lists(st.text()))
def test_any_command_line_is_read_or_refused(line: list[str]) -> None:
    for parser in (get_parser(), old_peer_parser()):
        try:
            parser.read([word for word in line if word not in ("-h", "--help")])
        except UsageError as error:
            assert str(error).isprintable()  # noqa: PT017 - most lines are fine
        except HelpWanted:
            assert any(word.startswith("-") and "h" in word for word in line)


def test_a_word_that_looks_like_an_option_is_told_where_to_stand() -> None:
    for words in (["-rf"], ["--nope", "a"]):
        with pytest.raises(UsageError, match="a word that begins with - and is no option stands behind --"):
            get_parser().read(words)
    assert get_parser().read(["--", "-rf"]).names == ["-rf"]


@pytest.mark.parametrize("parser", PARSERS)
def test_every_help_has_examples(parser: Callable[[], OptionParser]) -> None:
    text = parser().format_help()
    assert "examples:" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("text", ["127.0.0.1", "5000", "tracker.example:5000", "[::1]:5000", "[::1]", "localhost"])
def test_trackers_are_named_in_many_ways(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKER_VARIABLE, "elsewhere:1")
    assert chosen_trackers(get_parser().read(["a", "-t", text])) == [text]


def test_the_default_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = get_parser().read(["a"])
    monkeypatch.setenv(TRACKER_VARIABLE, "elsewhere:1")
    assert chosen_trackers(arguments) == ["elsewhere:1"]
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv(TRACKER_VARIABLE)
        else:
            monkeypatch.setenv(TRACKER_VARIABLE, unset)
        assert chosen_trackers(arguments) == ["127.0.0.1:11111"]


@pytest.mark.parametrize(
    "text", ["", "host:", "host:0", "host:99999", "host:x", "[::1", "a b", ":5000", "0", "host:1:2"]
)
def test_what_is_no_tracker_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^argument -t/--tracker: .* names no tracker: "):
        get_parser().read(["a", "-t", text])
    if text:
        monkeypatch.setenv(TRACKER_VARIABLE, text)
        with pytest.raises(UsageError, match=f"^\\${TRACKER_VARIABLE}: "):
            chosen_trackers(get_parser().read(["a"]))
