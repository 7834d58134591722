"""The whole zoo against our tracker, uploader and downloader: nothing gets through.

Each world is in memory and in virtual time: `worlds.py`. What only real sockets can show is in `test_sockets.py`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from osp2p import limits
from osp2p.evil import LIMIT_NAMES, Attack, Verdict, find_attacks, list_attacks
from tests.evil.worlds import Outcome
from tests.evil.zoo import run

#: Fields of `Limits` that nobody can push on over a connection, and why they stand there all the same.
OUT_OF_REACH = {
    "max_shared_files": "whoever fills the shared directory is on this machine",
    "directory_sync_timeout": "what is slow there is the disk",
}


@pytest.mark.parametrize("attack", [one for one in list_attacks() if one.role == "client"], ids=lambda one: one.id)
def test_a_server_of_ours_stands_it(attack: Attack, tmp_path: Path) -> None:
    verdict = run(attack, tmp_path)
    assert isinstance(verdict, Verdict)
    assert verdict.passed, verdict.why
    assert verdict.outcome == attack.expect
    assert verdict.seconds <= attack.within
    assert verdict.exchanges, "it came to an encounter"


@pytest.mark.parametrize("attack", list_attacks("downloader"), ids=lambda one: one.id)
def test_a_downloader_of_ours_stands_it(attack: Attack, tmp_path: Path) -> None:
    outcome = run(attack, tmp_path)
    assert isinstance(outcome, Outcome)
    assert not outcome.why


#: Attacks in which chance decides much: of names, bytes, places, orders, and what is right and what is wrong.
BY_CHANCE = (
    "answers/base",
    "bitfields/disorder",
    "books/poison",
    "chunks/sometimes",
    "endless/noise",
    "facts/changing",
    "garbage/noise",
    "lengths/words",
    "lines/percent",
    "lists/malformed",
    "names/percent",
    "session/pipelined",
    "sybils/poison-b3",
    "wrong/sometimes",
)


@pytest.mark.parametrize("attack", find_attacks(BY_CHANCE), ids=lambda one: one.id)
def test_the_same_seed_sends_the_same_bytes(attack: Attack, tmp_path: Path) -> None:
    digests = set()
    for number in (1, 2):
        root = tmp_path / str(number)
        root.mkdir()
        result = run(attack, root)
        if isinstance(result, Verdict):
            digests.add(result.digest)
        else:
            digests.add(" ".join(event.digest for event in result.met))
    assert len(digests) == 1


@cache
def _broken() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in LIMIT_NAMES}
    for one in list_attacks():
        for name in one.limits:
            found[name].append(one.id)
    return found


def _names_by_part() -> Iterator[tuple[str, str]]:
    """Each field of `Limits` with the heading above it."""
    heading = ""
    for line in inspect.getsource(limits).splitlines():
        if match := re.fullmatch(r" *# --- (.*) ---", line):
            heading = match[1]
        elif match := re.match(r"    (\w+): .* = ", line):
            yield match[1], heading


#: What nodes push on among each other, without tracker, uploader or downloader.
OTHER_PARTS = {"calls between nodes", "the overlay"}

TO_ATTACK = [name for name, part in _names_by_part() if part not in OTHER_PARTS]


@pytest.mark.parametrize("name", TO_ATTACK)
def test_every_limit_is_attacked(name: str) -> None:
    """A new field of `Limits` wants an attack that names it in `breaks`, unless no stranger can push on it."""
    assert bool(_broken()[name]) != (name in OUT_OF_REACH)


def test_no_limit_is_forgotten() -> None:
    assert {name for name, _ in _names_by_part()} == LIMIT_NAMES
