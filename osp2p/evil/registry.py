"""The catalogue: every attack has an id, what it breaks, what a sound program does, and within what time.

Source: the form of an entry is h2spec's; the catalogue can be printed without attacking anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, Generic, Literal, TypeVar, overload

from osp2p.errors import UnknownAttack
from osp2p.evil.encounter import Target, Victim

Against = Literal["tracker", "uploader", "downloader"]
"""Whom an attack is for. Downloaders come to us; to a tracker and an uploader we go."""

Encounter = TypeVar("Encounter")


@dataclass(frozen=True, slots=True)
class Attack(Generic[Encounter]):
    """One way of being evil.

    Attributes:
        id: ``family/name``.
        against: whom it is for.
        breaks: the assumption that it breaks.
        expect: what a sound program does.
        within: seconds after which a sound program is done with it.
        description: what it does, in a sentence.
        run: does it once.
    """

    id: str
    against: Against
    breaks: str
    expect: str
    within: float
    description: str
    run: Callable[[Encounter], Awaitable[None]]

    @property
    def family(self) -> str:
        """The part of the id before the stroke."""
        return self.id.partition("/")[0]


_CATALOGUE: dict[str, Attack[Any]] = {}

Function = Callable[[Encounter], Awaitable[None]]


@overload
def attack(
    id: str, *, against: Literal["downloader"], breaks: str, expect: str, within: float
) -> Callable[[Function[Victim]], Function[Victim]]: ...


@overload
def attack(
    id: str, *, against: Literal["tracker", "uploader"], breaks: str, expect: str, within: float
) -> Callable[[Function[Target]], Function[Target]]: ...


def attack(
    id: str, *, against: Against, breaks: str, expect: str, within: float
) -> Callable[[Function[Any]], Function[Any]]:
    """Enter the decorated function into the catalogue; its docstring's first line is the description.

    Args:
        id: ``family/name``, unique.
        against, breaks, expect, within: see `Attack`.
    """

    def enter(function: Function[Any]) -> Function[Any]:
        if id in _CATALOGUE:
            raise ValueError(f"there are two attacks {id}")
        description = (getdoc(function) or "").partition("\n")[0]
        _CATALOGUE[id] = Attack(id, against, breaks, expect, within, description, function)
        return function

    return enter


def list_attacks(against: Against | None = None) -> list[Attack[Any]]:
    """All attacks, or those against one kind of program, ordered by id."""
    return [one for _, one in sorted(_CATALOGUE.items()) if against in (None, one.against)]


@overload
def select_attacks(mode: str, against: Literal["downloader"]) -> Sequence[Attack[Victim]]: ...


@overload
def select_attacks(mode: str, against: Literal["tracker", "uploader"]) -> Sequence[Attack[Target]]: ...


def select_attacks(mode: str, against: Against) -> Sequence[Attack[Any]]:
    """The attacks that a mode stands for, in the order in which they take turns.

    Args:
        mode: ``family/name``, a family, or "" for all families in turn (one attack of each, then the next of each).
        against: whom they are for.

    Raises:
        UnknownAttack: there is none of that id or family.
    """
    known = list_attacks(against)
    if not mode:
        return _in_turn(known)
    found = [one for one in known if mode in (one.id, one.family)]
    if not found:
        families = ", ".join(dict.fromkeys(one.family for one in known))
        raise UnknownAttack(f"there is no attack {mode} against a {against}; the families are {families}")
    return found


def _in_turn(attacks: Sequence[Attack[Any]]) -> list[Attack[Any]]:
    rounds: list[list[Attack[Any]]] = []
    met: dict[str, int] = {}
    for one in attacks:
        number = met[one.family] = met.get(one.family, -1) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(one)
    return [one for round_ in rounds for one in round_]
