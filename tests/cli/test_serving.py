"""What is said while a directory is shared."""

from __future__ import annotations

import io
import json
import os
import shlex
from pathlib import Path

import pytest

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.main import COMMANDS
from osp2p.cli.serving import MOST_LEFT_OUT, SharingDisplay, _pattern, directory_of, invite_to_join
from osp2p.overlay.node import OverlayOptions
from osp2p.peer.events import FileAdded, NotShared, Registered, TrackerConnected, TrackerLost, Withdrawn
from osp2p.wire.address import Address

LOST = TrackerLost("192.0.2.7:5", "connection refused", 0.25)
CONNECTED = TrackerConnected("192.0.2.7:5", b"anna", Address("192.0.2.9", 11112), True)


def make_display(
    *, verbose: bool = False, quiet: bool = False, as_json: bool = False
) -> tuple[SharingDisplay, Console]:
    console = Console("osp2p share", io.StringIO(), io.StringIO())
    console.begin(json=as_json, quiet=quiet)
    return SharingDisplay(console, verbose=verbose), console


def take(console: Console) -> list[str]:
    """The lines since the last look."""
    assert isinstance(console.err, io.StringIO)
    assert isinstance(console.out, io.StringIO)
    lines = (console.err.getvalue() + console.out.getvalue()).splitlines()
    for stream in (console.err, console.out):
        stream.seek(0)
        stream.truncate()
    return lines


def test_a_tracker_that_does_not_answer_at_first_is_said_once_others_have() -> None:
    display, console = make_display()
    display.show(LOST)
    assert take(console) == []
    display.become_ready("docs", 1)
    said = "tracker 192.0.2.7:5 is out of reach: connection refused; trying again"
    assert take(console) == [said, "sharing 1 file of docs; Ctrl-C ends it"]


def test_a_tracker_that_answered_at_last_is_not_said_to_be_away() -> None:
    display, console = make_display()
    display.show(LOST)
    display.show(CONNECTED)
    display.become_ready("docs", 1)
    assert not any("out of reach" in line for line in take(console))


def test_a_tracker_that_stays_away_is_said_once() -> None:
    display, console = make_display()
    display.become_ready("docs", 1)
    take(console)
    for _ in range(3):
        for _ in range(3):
            display.show(LOST)
        assert len(take(console)) == 1
        display.show(CONNECTED)
        assert take(console) == ["tracker 192.0.2.7:5 knows this peer as anna at 192.0.2.9:11112"]


def test_those_who_ask_for_more_see_every_try() -> None:
    display, console = make_display(verbose=True)
    display.become_ready("docs", 1)
    take(console)
    for _ in range(3):
        display.show(LOST)
        assert len(take(console)) == 1


def test_only_what_goes_wrong_breaks_the_quiet() -> None:
    display, console = make_display(quiet=True)
    display.show(CONNECTED)
    display.show(FileAdded(b"a", 5))
    display.become_ready("docs", 1)
    display.show(FileAdded(b"b", 5))
    assert take(console) == []
    display.show(LOST)
    display.show(Withdrawn("192.0.2.7:5", b"a", "500 another content"))
    assert len(take(console)) == 2


def test_numbers_that_do_not_change_are_said_once() -> None:
    display, console = make_display()
    for _ in range(3):
        display.show(Registered("192.0.2.7:5", 1, 1))
    assert take(console) == ["1 of 1 registered at 192.0.2.7:5"]


def test_of_many_files_that_are_left_out_some_are_named() -> None:
    display, console = make_display()
    for number in range(MOST_LEFT_OUT + 3):
        display.show(NotShared(b"%d" % number, "it is no regular file"))
    display.become_ready("docs", 1)
    assert len(take(console)) == MOST_LEFT_OUT + 2
    display.show(NotShared(b"x", "it is no regular file"))
    assert take(console) == ["x: not shared: it is no regular file"]


def test_records_tell_of_every_event() -> None:
    display, console = make_display(as_json=True)
    display.show(LOST)
    display.become_ready("docs", 1)
    display.show(LOST)
    events = [json.loads(line)["event"] for line in take(console)]
    assert events == ["tracker-lost", "sharing", "tracker-lost"]


def test_single_files_are_said_to_be_shared() -> None:
    display, console = make_display()
    display.become_ready(None, 2)
    assert take(console) == ["sharing 2 files; Ctrl-C ends it"]
    display, console = make_display(as_json=True)
    display.become_ready(None, 2)
    assert json.loads(take(console)[0]) == {"event": "sharing", "directory": None, "files": 2}


def test_a_directory_alone_is_shared_or_files_of_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in ("docs", "more"):
        Path(directory).mkdir()
        Path(directory, "a").touch()
    os.mkfifo("pipe")
    assert directory_of(["docs"]) == "docs"
    assert directory_of(["docs/a"]) is None
    assert directory_of(["docs/a", "docs//a"]) is None
    for words, why in (
        (["nowhere"], "there is no directory or file nowhere"),
        (["docs/a", "nowhere"], "there is no file nowhere"),
        (["docs/a", "docs"], "docs is a directory"),
        (["docs/a", "more/a"], "docs/a and more/a have one name"),
        (["pipe"], "pipe is no regular file"),
    ):
        with pytest.raises(UsageError, match=why):
            directory_of(words)


def test_what_others_must_type_can_be_typed() -> None:
    names = ({b"a"}, {b"-a"}, {b"a b"}, {b"a", b"b"}, {b"a/b", b"c"})
    for found in (*map(_pattern, names), ""):
        console = Console("osp2p share", io.StringIO(), io.StringIO())
        invite_to_join(console, 5, OverlayOptions(network="the family"), found)
        assert isinstance(console.out, io.StringIO)
        command = console.out.getvalue().removesuffix("\n")
        _, verb, *words = shlex.split(command)
        arguments = COMMANDS[verb].parser().read(words)
        assert len(arguments.join) == 1
        assert arguments.network == "the family"
        assert verb == "node" or len(arguments.names) == 1
