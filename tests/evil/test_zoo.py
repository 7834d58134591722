"""The whole zoo against our tracker, uploader and downloader: nothing gets through.

Each world is in memory and in virtual time: see `worlds.py`. What only real sockets can show is in `test_sockets.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from osp2p.evil import LIMIT_NAMES, Attack, Verdict, find_attacks, list_attacks
from tests.evil.fetching import Outcome
from tests.evil.zoo import run

#: Fields of `Limits` that no attack of the zoo pushes on, and why.
OUT_OF_REACH = {
    "fetched_recheck": "whoever changes what was fetched is on this machine",
    "max_shared_files": "whoever fills the shared directory is on this machine",
    "directory_sync_timeout": "what is slow there is the disk",
    "item_lifetime": "it binds hours after what binds an attack",
    "max_chunk_memory": "it binds for files of terabytes: tests/peer/test_chunk_fetch_places.py plays one",
    "max_ranges_rate": "it binds in a watch of many minutes: tests/peer/test_holder_fetch.py plays it",
    "max_lan_nodes": "strangers of the local network push on it by multicast: tests/overlay/test_lan.py plays them",
    "peer_lifetime": "it binds hours after what binds an attack",
}

#: How often a node says something of its own accord, and how much of it.
OF_ITS_OWN_ACCORD = frozenset(
    [
        "announce_interval",
        "contact_check",
        "contact_interval",
        "item_interval",
        "max_announced_files",
        "overlay_list_page",
        "publish_at_a_time",
    ]
)


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


ON_WHO_ASKS = [*list_attacks("node", "neighbour"), *list_attacks("node", "callee")]


@pytest.mark.parametrize("attack", ON_WHO_ASKS, ids=lambda one: one.id)
def test_one_who_asks_stands_it(attack: Attack, tmp_path: Path) -> None:
    outcome = run(attack, tmp_path)
    assert isinstance(outcome, Outcome)
    assert not outcome.why


#: Attacks in which chance decides much: of names, bytes, places, orders, and what is right and what is wrong.
BY_CHANCE = (
    "answers/base",
    "bitfields/disorder",
    "books/poison",
    "calls/*",
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


@pytest.mark.parametrize("name", sorted(LIMIT_NAMES))
def test_every_limit_is_attacked(name: str) -> None:
    """A new field of `Limits` wants an attack that names it in `breaks`, unless no stranger can push on it."""
    assert bool(_broken()[name]) != (name in {*OUT_OF_REACH, *OF_ITS_OWN_ACCORD})
