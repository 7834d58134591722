"""The catalogue is complete, readable without attacking anybody, and its modes stand for what they say."""

from __future__ import annotations

import re

import pytest

from osp2p.errors import UnknownAttack
from osp2p.evil import FAMILIES, Victim, attack, list_attacks, select_attacks

CLASSIC = {"endless", "silence", "truncated", "wrong", "garbage"}


def test_the_five_classic_families_attack_downloaders() -> None:
    assert {one.family for one in list_attacks("downloader")} == CLASSIC


@pytest.mark.parametrize("one", list_attacks(), ids=lambda one: one.id)
def test_every_entry_says_all_of_it(one: object) -> None:
    entry = next(known for known in list_attacks() if known is one)
    assert re.fullmatch(r"[a-z]+/[a-z-]+", entry.id)
    assert entry.family in {family.__name__.rpartition(".")[2] for family in FAMILIES}, "one file a family"
    assert entry.description.endswith((".", ":"))
    assert entry.breaks
    assert entry.expect
    assert 0 < entry.within <= 300


def test_an_id_can_be_entered_once() -> None:
    async def nothing(victim: Victim) -> None:
        """Does nothing."""

    known = list_attacks()[0].id
    with pytest.raises(ValueError, match="two attacks"):
        attack(known, against="downloader", breaks="-", expect="-", within=1)(nothing)


def test_a_mode_is_one_attack_or_a_family() -> None:
    assert [one.id for one in select_attacks("wrong/bit", "downloader")] == ["wrong/bit"]
    assert {one.family for one in select_attacks("silence", "downloader")} == {"silence"}
    assert len(select_attacks("silence", "downloader")) > 1


def test_no_mode_takes_one_of_each_family_and_then_the_next_of_each() -> None:
    chosen = select_attacks("", "downloader")
    assert {one.family for one in chosen[:5]} == CLASSIC
    assert {one.family for one in chosen[5:10]} == CLASSIC
    assert sorted(one.id for one in chosen) == [one.id for one in list_attacks("downloader")]


@pytest.mark.parametrize("mode", ["nonsense", "wrong/nonsense", "lines", "/"])
def test_an_unknown_mode_is_said_with_what_there_is(mode: str) -> None:
    with pytest.raises(UnknownAttack, match="endless, garbage"):
        select_attacks(mode, "downloader")
