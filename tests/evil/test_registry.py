"""The catalogue is complete, readable without attacking anybody, and its modes stand for what they say."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from osp2p.errors import UnknownAttack
from osp2p.evil import FAMILIES, LIMIT_NAMES, Attack, Victim, attack, find_attacks, list_attacks, select_attacks
from osp2p.limits import Limits

CLASSIC = {"endless", "silence", "truncated", "wrong", "garbage"}

#: What the function of an attack takes, by the role that the attacker plays.
MEETS = {
    "client": "Target",
    "registrant": "Target",
    "old holder": "Victim",
    "holder": "Victim",
    "tracker": "Caller",
    "neighbour": "League",
    "callee": "Called",
}


def test_the_five_classic_families_attack_downloaders_of_any_age() -> None:
    assert {one.family for one in list_attacks("downloader", "old holder")} >= CLASSIC


@pytest.mark.parametrize("one", list_attacks(), ids=lambda one: one.id)
def test_every_entry_says_all_of_it(one: Attack) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*/[a-z0-9]+(-[a-z0-9]+)*", one.id)
    assert one.family in {family.__name__.rpartition(".")[2] for family in FAMILIES}, "one file a family"
    assert one.text.endswith(".")
    assert len(one.text.split()) >= 5
    assert one.expect in ("refused", "closed", "survived", "out-waited")
    assert 0 < one.within <= 900
    assert one.limits == tuple(one.breaks.split(", ")) or (not one.limits and " " in one.breaks), "limits, or a rule"


@pytest.mark.parametrize("one", list_attacks(), ids=lambda one: one.id)
def test_every_attack_is_for_those_whom_its_role_meets(one: Attack) -> None:
    assert (one.against == "downloader") == (one.role not in ("client", "neighbour", "callee"))
    (parameter,) = inspect.signature(one.run).parameters.values()
    assert parameter.annotation == MEETS[one.role]


def test_what_breaks_names_are_limits() -> None:
    assert {field.name for field in dataclasses.fields(Limits)} == LIMIT_NAMES


def test_an_id_can_be_entered_once() -> None:
    async def nothing(victim: Victim) -> None:
        """Does nothing."""

    known = list_attacks()[0].id
    with pytest.raises(ValueError, match="two attacks"):
        attack(known, against="downloader", breaks="a rule", expect="closed", within=1)(nothing)


def test_a_mode_is_one_attack_or_a_family() -> None:
    assert [one.id for one in select_attacks("wrong/bit")] == ["wrong/bit"]
    assert {one.family for one in select_attacks("silence")} == {"silence"}
    assert len(select_attacks("silence")) > 1
    assert {one.id for one in select_attacks("*/half")} == {"truncated/half"}


def test_no_mode_takes_one_of_each_family_and_then_the_next_of_each() -> None:
    chosen = select_attacks("")
    families = {one.family for one in chosen}
    assert families >= CLASSIC
    assert len({one.family for one in chosen[: len(families)]}) == len(families)
    assert {one.id for one in chosen} == {one.id for one in list_attacks("downloader") if one.role != "tracker"}


@pytest.mark.parametrize(
    ("mode", "named"),
    [
        ("nonsense", "endless, garbage"),
        ("wrong/nonsense", "wrong/bit"),
        ("lines", "endless, garbage"),
        ("/", "endless"),
    ],
)
def test_an_unknown_mode_is_said_with_what_there_is(mode: str, named: str) -> None:
    with pytest.raises(UnknownAttack, match=named):
        select_attacks(mode)


def test_ids_families_and_globs_are_found_in_their_order_and_once() -> None:
    found = find_attacks(["wrong/bit", "requests", "wrong/*"])
    assert found[0].id == "wrong/bit"
    assert found[1].family == "requests"
    assert len({one.id for one in found}) == len(found)
    assert {one.against for one in found} == {"downloader", "uploader"}
    with pytest.raises(UnknownAttack, match="no attack nonsense"):
        find_attacks(["wrong", "nonsense"])
