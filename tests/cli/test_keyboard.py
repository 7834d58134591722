"""What tab offers."""

from __future__ import annotations

import pytest

from osp2p.cli.keyboard import Completer, known_verbs


@pytest.fixture
def completer() -> Completer:
    completer = Completer(known_verbs())
    for line in (b"FILE a%20b size=5", b"FILE abc", b"FILE", b"PEER abd 127.0.0.1:1", b"200 x", b"FILE a%20b"):
        completer.learn(line)
    return completer


@pytest.mark.parametrize(
    ("before", "text", "options"),
    [
        ("", "W", ["WANT ", "WHO "]),
        ("", "blo", ["BLOCKNOTIFY "]),
        ("  ", "chu", ["CHUNKS "]),
        ("", "sing", []),
        ("WANT ", "a", ["a%20b ", "abc "]),
        ("get ", "ab", ["abc "]),
        ("WHO ", "a", []),
        ("GET abc ", "", ["a%20b ", "abc "]),
    ],
)
def test_options(completer: Completer, before: str, text: str, options: list[str]) -> None:
    assert completer.options(before, text) == options


def test_every_command_of_trackers_and_peers_is_known() -> None:
    assert {"HELP", "HELLO", "ADDR", "WANT", "STAT", "CHUNKS", "GET", "QUIT"} <= set(known_verbs())
