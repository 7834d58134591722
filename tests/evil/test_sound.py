"""What liars are built upon is sound: a downloader gets everything from a holder and a tracker that lie about nothing.
So each of their lies is the only thing that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from osp2p.evil import Attack, Caller, Victim
from osp2p.evil.lying import SoundTracker
from osp2p.evil.registry import _CATALOGUE
from osp2p.evil.serving import SoundHolder
from tests.evil.fetching import Outcome, attack_downloader
from tests.evil.worlds import NAME, no_threads, run_in_virtual_time


async def serve_well(victim: Victim) -> None:
    await SoundHolder(victim).run()


async def track_well(caller: Caller) -> None:
    await SoundTracker(caller).run()


def sound(role: str, run: object) -> Attack:
    return Attack("sound/one", "downloader", "nothing at all", "survived", 30, "Lies about nothing.", role, run)  # type: ignore[arg-type]


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> dict[str, Attack]:
    """The catalogue, with room for what is none of it."""
    added = dict(_CATALOGUE)
    monkeypatch.setattr("osp2p.evil.registry._CATALOGUE", added)
    return added


@pytest.mark.parametrize("role", ["holder", "tracker"])
def test_it_is_of_use(role: str, tmp_path: Path, catalogue: dict[str, Attack]) -> None:
    attack = catalogue["sound/one"] = sound(role, serve_well if role == "holder" else track_well)
    with no_threads():
        outcome: Outcome = run_in_virtual_time(attack_downloader, attack, tmp_path)
    assert outcome.why == ""
    assert not outcome.errors
    if role == "holder":
        given = {source.address.host: source for source in outcome.done[NAME].sources}
        assert given["10.0.6.1"].fetched > 0, "it served, too"
        assert not any(source.error for source in given.values())
