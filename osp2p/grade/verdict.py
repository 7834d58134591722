"""What a grade consists of: checks, what came of each with the bytes that led to it, and scores by category. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal, get_args

from osp2p.grade.transcript import Entry

Category = Literal["protocol", "robustness", "speed", "OSP2P/2"]
"""What a check is about: the base protocol; hostile and odd company; time; the extension of Part 2."""

CATEGORIES: tuple[Category, ...] = get_args(Category)

Outcome = Literal["passed", "failed", "not offered", "not run"]
"""How a check ended. ``not offered``: the program does not speak OSP2P/2, and need not. ``not run``: there was nobody
left to ask."""

Kind = Literal["tracker", "peer", "downloader"]
"""What is graded."""

_NO_FIGURES: Mapping[str, str] = MappingProxyType({})


class Wrong(Exception):
    """The graded program did what a sound one does not. Its text is one sentence that says what. Never leaves this
    room."""


@dataclass(frozen=True, slots=True)
class Check:
    """What can be asked of a program.

    Attributes:
        id: ``group/name``; globs of users match it.
        category: what it is about.
        title: what a sound program does, in a sentence.
    """

    id: str
    category: Category
    title: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one check.

    Attributes:
        check: what was asked.
        outcome: see `Outcome`.
        reason: what was wrong, in a sentence; "" if it passed.
        seconds: how long it took.
        evidence: what was said on the connections, bounded.
        figures: what was measured: names and values with units, for people.
    """

    check: Check
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    evidence: tuple[Entry, ...] = ()
    figures: Mapping[str, str] = field(default_factory=lambda: _NO_FIGURES)


@dataclass(frozen=True, slots=True)
class Score:
    """How many checks of one category passed.

    Attributes:
        passed, asked: of how many; what is not offered was not asked.
        not_offered: how many were not.
    """

    category: Category
    passed: int
    asked: int
    not_offered: int

    @property
    def percent(self) -> int | None:
        """Rounded down, so that 100 means all; None where nothing was asked."""
        return 100 * self.passed // self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of all checks of one program.

    Attributes:
        kind: what was graded.
        target: where it listens, or the command that started it.
        seed: the same seed asks the same.
        seconds: how long it took.
        judged: what came of each check, in the order of the catalogue.
    """

    kind: Kind
    target: str
    seed: int
    seconds: float
    judged: tuple[Judged, ...]

    @property
    def passed(self) -> bool:
        """Whether all that was asked passed, and anything was."""
        outcomes = [one.outcome for one in self.judged]
        return "passed" in outcomes and {"failed", "not run"}.isdisjoint(outcomes)

    def scores(self) -> list[Score]:
        """The score of each category that has a check, in a fixed order."""
        return [score for category in CATEGORIES if (score := self._score(category)) is not None]

    def _score(self, category: Category) -> Score | None:
        outcomes = [one.outcome for one in self.judged if one.check.category == category]
        if not outcomes:
            return None
        not_offered = outcomes.count("not offered")
        return Score(category, outcomes.count("passed"), len(outcomes) - not_offered, not_offered)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checks are asked.

    Attributes:
        only: globs of ids; none: all.
        skip: globs of ids that are left out of those.
    """

    only: Sequence[str] = ()
    skip: Sequence[str] = ()

    def takes(self, check: Check) -> bool:
        """Whether a check is asked."""
        return (not self.only or _matches(check.id, self.only)) and not _matches(check.id, self.skip)

    @property
    def demands_osp2p2(self) -> bool:
        """Whether OSP2P/2 is asked for by name: then a program that does not offer it fails."""
        return any(pattern.startswith("osp2p2/") for pattern in self.only)


def _matches(id: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(id, pattern) for pattern in patterns)
