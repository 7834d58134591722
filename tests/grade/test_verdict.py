"""Scores, what counts as passed, and which checks are asked."""

from __future__ import annotations

import pytest

from osp2p.grade.verdict import Category, Check, Grade, Judged, Outcome, Score, Selection


def judged(id: str, outcome: Outcome, category: Category = "protocol") -> Judged:
    return Judged(Check(id, category, "title"), outcome)


def grade(*all_judged: Judged) -> Grade:
    return Grade("peer", "127.0.0.1:1", 1, 2.0, all_judged)


def test_what_is_not_offered_was_not_asked() -> None:
    found = grade(judged("a/1", "passed"), judged("b/1", "not offered", "OSP2P/2"))
    assert found.passed
    assert found.scores() == [Score("protocol", 1, 1, 0), Score("OSP2P/2", 0, 0, 1)]
    assert [score.percent for score in found.scores()] == [100, None]


@pytest.mark.parametrize("outcome", ["failed", "not run"])
def test_anything_else_keeps_a_grade_from_passing(outcome: Outcome) -> None:
    found = grade(judged("a/1", "passed"), judged("a/2", outcome), judged("a/3", "passed"))
    assert not found.passed
    assert found.scores() == [Score("protocol", 2, 3, 0)]
    assert found.scores()[0].percent == 66


def test_nothing_passes_where_nothing_was_asked() -> None:
    assert not grade().passed
    assert not grade(judged("a/1", "not offered")).passed


def test_categories_come_in_a_fixed_order() -> None:
    found = grade(judged("s/1", "passed", "speed"), judged("r/1", "passed", "robustness"), judged("p/1", "passed"))
    assert [score.category for score in found.scores()] == ["protocol", "robustness", "speed"]


@pytest.mark.parametrize(
    ("only", "skip", "taken"),
    [
        ((), (), {"protocol/get", "attack/lines/drip", "osp2p2/stat"}),
        (("attack/*",), (), {"attack/lines/drip"}),
        ((), ("*/drip",), {"protocol/get", "osp2p2/stat"}),
        (("attack/*", "protocol/get"), ("attack/lines/*",), {"protocol/get"}),
        (("PROTOCOL/*",), (), set()),
    ],
)
def test_globs_choose_checks(only: tuple[str, ...], skip: tuple[str, ...], taken: set[str]) -> None:
    checks = [Check(id, "protocol", "") for id in ("protocol/get", "attack/lines/drip", "osp2p2/stat")]
    assert {check.id for check in checks if Selection(only, skip).takes(check)} == taken


def test_the_extension_is_demanded_by_name_only() -> None:
    assert Selection(("osp2p2/stat",)).demands_osp2p2
    assert Selection(("protocol/*", "osp2p2/*")).demands_osp2p2
    assert not Selection(("*",)).demands_osp2p2
    assert not Selection(skip=("osp2p2/*",)).demands_osp2p2
