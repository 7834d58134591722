"""The catalogue: every attack has an id, what it breaks, what a sound program does, and within what time.

Source: the form of an entry is h2spec's; the catalogue can be printed without attacking anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from inspect import getdoc
from typing import Any, Literal, TypeVar

from osp2p.errors import UnknownAttack
from osp2p.limits import Limits

Against = Literal["tracker", "uploader", "downloader", "node"]
"""Whom an attack is for. Downloaders come to us; to a tracker and an uploader we go, and to a node: a peer that is part
of the overlay, at the UDP port of the same number, or that takes calls."""

Expect = Literal["refused", "closed", "survived", "out-waited"]
"""What a sound victim does: it answers with a refusal; it ends the connection; it goes on as if nothing were, with
right answers and right files; or it ends what is slow when its own time is up."""

Role = Literal["client", "old holder", "holder", "registrant", "tracker", "neighbour", "callee"]
"""What the attacker plays: a client that goes to the victim; a holder that is registered at a tracker as in 2007, or as
one that speaks OSP2P/2; somebody who only registers, at a tracker that the victim uses; the tracker itself; nodes of
the overlay that the victim is in; or a node that the victim calls."""

#: What each role means, for people.
EVERY_ROLE: dict[Role, str] = {
    "client": "the attacker goes to the victim",
    "old holder": "the attacker is a peer of 2007 from which the victim fetches",
    "holder": "the attacker is a peer from which the victim fetches",
    "registrant": "the attacker registers at the tracker that the victim asks",
    "tracker": "the attacker is the tracker that the victim asks",
    "neighbour": "the attacker is nodes of the overlay that the victim joins",
    "callee": "the attacker is a node that the victim calls",
}

#: The fields of `Limits`: what `breaks` may name.
LIMIT_NAMES = frozenset(field.name for field in fields(Limits))


@dataclass(frozen=True, slots=True)
class Attack:
    """One way of being evil.

    Attributes:
        id: ``family/name``.
        against: whom it is for.
        breaks: the fields of `Limits` that it pushes on, with commas between them, or a rule of the protocol in words.
        expect: what a sound victim does.
        within: seconds after which a sound victim with the default limits is done with it.
        text: what it does on the wire, in a paragraph.
        role: what the attacker plays.
        run: does it once.
        sybils: as how many peers a holder registers.
        exhausts: whether it uses up what there is for everybody, so that an honest user may be turned away meanwhile.
    """

    id: str
    against: Against
    breaks: str
    expect: Expect
    within: float
    text: str
    role: Role
    run: Callable[[Any], Awaitable[None]]
    sybils: int = 1
    exhausts: bool = False

    @property
    def family(self) -> str:
        """The part of the id before the stroke."""
        return self.id.partition("/")[0]

    @property
    def limits(self) -> tuple[str, ...]:
        """The fields of `Limits` that it pushes on."""
        return tuple(part for part in self.breaks.split(", ") if part in LIMIT_NAMES)


_CATALOGUE: dict[str, Attack] = {}

Function = TypeVar("Function", bound=Callable[..., Awaitable[None]])


def attack(
    id: str,
    *,
    against: Against,
    breaks: str,
    expect: Expect,
    within: float,
    role: Role | None = None,
    sybils: int = 1,
    exhausts: bool = False,
) -> Callable[[Function], Function]:
    """Enter the decorated function into the catalogue; its docstring, one paragraph, is the text.

    The function takes what it meets: a `Target` (roles client and registrant), a `Victim` (holders), a `Caller`
    (tracker), a `Called` (callee); or all that it has in its hands, a `League` (neighbour).

    Args:
        id: ``family/name``, unique.
        role: default: a client of trackers and uploaders, to downloaders an old holder.
        against, breaks, expect, within, sybils, exhausts: see `Attack`.
    """

    def enter(function: Function) -> Function:
        if id in _CATALOGUE:
            raise ValueError(f"there are two attacks {id}")
        text = " ".join((getdoc(function) or "").split())
        played = role or ("old holder" if against == "downloader" else "client")
        _CATALOGUE[id] = Attack(id, against, breaks, expect, within, text, played, function, sybils, exhausts)
        return function

    return enter


def list_attacks(against: Against | None = None, role: Role | None = None) -> list[Attack]:
    """All attacks, or those against one kind of program, or of one role, ordered by id."""
    return [one for _, one in sorted(_CATALOGUE.items()) if against in (None, one.against) and role in (None, one.role)]


def find_attacks(patterns: Sequence[str]) -> list[Attack]:
    """The attacks that ids, families or globs mean, in the order of the patterns, each once.

    Raises:
        UnknownAttack: a pattern means none.
    """
    found: dict[str, Attack] = {}
    for pattern in patterns:
        some = [one for one in list_attacks() if pattern == one.family or fnmatchcase(one.id, pattern)]
        if not some:
            raise UnknownAttack(f"there is no attack {pattern}; {_what_there_is(pattern, list_attacks())}")
        found.update({one.id: one for one in some})
    return list(found.values())


def select_attacks(mode: str) -> list[Attack]:
    """The attacks of holders and registrants that a mode stands for, in the order in which they take turns.

    Args:
        mode: ``family/name``, a family, a glob, or "" for all families in turn (one attack of each, then the next of
            each).

    Raises:
        UnknownAttack: there is none of that id or family.
    """
    known = [one for one in list_attacks("downloader") if one.role != "tracker"]
    if not mode:
        return _in_turn(known)
    found = [one for one in known if mode == one.family or fnmatchcase(one.id, mode)]
    if not found:
        raise UnknownAttack(f"there is no attack {mode} against a downloader; {_what_there_is(mode, known)}")
    return found


def _what_there_is(pattern: str, known: Sequence[Attack]) -> str:
    """What could have been meant: the attacks of a family that was named, else all families."""
    family = pattern.partition("/")[0]
    some = [one.id for one in known if one.family == family]
    if some:
        return f"of that family there are {', '.join(some)}"
    return f"the families are {', '.join(dict.fromkeys(one.family for one in known))}"


def _in_turn(attacks: Sequence[Attack]) -> list[Attack]:
    rounds: list[list[Attack]] = []
    met: dict[str, int] = {}
    for one in attacks:
        number = met[one.family] = met.get(one.family, -1) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(one)
    return [one for round_ in rounds for one in round_]
