"""The whole zoo against our tracker, uploader and downloader: nothing gets through.

Each world is in memory and in virtual time: `worlds.py`. What only real sockets can show is in `test_sockets.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from osp2p.evil import LIMIT_NAMES, Attack, Verdict, list_attacks
from tests.evil.worlds import (
    Outcome,
    attack_downloader,
    attack_tracker,
    attack_uploader,
    no_threads,
    run_in_virtual_time,
)

#: Fields of `Limits` that nobody can push on over a connection, and why they stand there all the same.
OUT_OF_REACH = {
    "max_shared_files": "whoever fills the shared directory is on this machine",
    "directory_sync_timeout": "what is slow there is the disk",
}


def run(attack: Attack, root: Path) -> Verdict | Outcome:
    world = {"tracker": attack_tracker, "uploader": attack_uploader, "downloader": attack_downloader}[attack.against]
    with no_threads():
        result = run_in_virtual_time(world, attack, root)
    assert isinstance(result, Verdict | Outcome)
    return result


@pytest.mark.parametrize("attack", list_attacks("tracker") + list_attacks("uploader"), ids=lambda one: one.id)
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


def _first_of_each_family() -> list[Attack]:
    return list({one.family: one for one in reversed(list_attacks())}.values())


@pytest.mark.parametrize("attack", _first_of_each_family(), ids=lambda one: one.id)
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


@pytest.mark.parametrize("name", sorted(LIMIT_NAMES))
def test_every_limit_is_attacked(name: str) -> None:
    """A new field of `Limits` wants an attack that names it in `breaks`, unless no stranger can push on it."""
    assert bool(_broken()[name]) != (name in OUT_OF_REACH)
