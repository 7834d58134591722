"""What a scenario's table is made of: rows of who, when, does what, and what is expected of it.

A scenario is data. `scenarios/good.py` is the one to read first; to make another, copy it and change the rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

KB = 1000
MB = 1000 * KB


@dataclass(frozen=True, slots=True)
class File:
    """A file of the world. What it holds is a function of the run's seed, its name and its size.

    Attributes:
        name: with `/` between directories; text, or bytes where it is none.
        size: bytes.
    """

    name: str | bytes
    size: int

    @property
    def raw(self) -> bytes:
        """The name as it goes over the network."""
        return os.fsencode(self.name)

    @property
    def path(self) -> str:
        """The name as this system's functions for paths take it."""
        return os.fsdecode(self.name)


Files = Sequence[File]

# --- what somebody does ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Runs a tracker, in a process of its own; with `fakes`, 250 peers that are none stand in every answer."""

    fakes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Shares a directory that holds `files`, with ``osp2p share`` in a process of its own."""

    files: Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Holds `files` as simple peers do that speak the base protocol alone.

    Attributes:
        files: what each of them serves.
        rate: bytes per second at which a file trickles out; None: at once.
        peers: how many there are of this kind, each with an alias and a port of its own.
    """

    files: Files
    rate: float | None = None
    peers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Claims to hold `files` and attacks whoever fetches them.

    Attributes:
        files: what each of them claims.
        mode: a family of attacks, one attack, or "" for all families in turn.
        peers: how many there are of this kind.
    """

    files: Files
    mode: str = ""
    peers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Fetches `files`, all at a time, with ``osp2p get`` in a process of its own."""

    files: Files


Action = Track | Share | Hold | Attack | Get

# --- what is expected ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrives:
    """Of a `Get`: it ends with 0, and every file is on disk, the same to the byte, and verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InParallel:
    """Of a `Get`: the whole takes less than `below` times the time of its slow files one after another."""

    below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHeldUp:
    """Of a `Get`: a file takes less than `below` times what its slowest holder alone would need."""

    file: File
    below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Serves:
    """Of a `Share` or a `Hold`: somebody got bytes from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacks:
    """Of an `Attack`: at least so many of its victims came."""

    at_least: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Knows:
    """Of a `Track`: at the end at least so many peers are logged in."""

    peers: int


Expectation = Arrives | InParallel | NotHeldUp | Serves | Attacks | Knows

# --- the table ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        who: a name, of somebody who appears in one row only; it is the alias, too.
        when: the number of the step. What stands in one step begins at the same time; the next step begins when a
            tracker answers, when all that is shared is registered with its checksums, when a fetch has ended.
        does: what.
        expect: what must have come true at the end. That trackers and sharers run to the end, and then leave with
            exit code 0 when told to, is always expected.
    """

    who: str
    when: int
    does: Action
    expect: tuple[Expectation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A world.

    Attributes:
        title: what it shows, in a sentence.
        rows: the table. One row, in the first step, runs a tracker.
        within: seconds after which the run has failed, whatever state it is in.
    """

    title: str
    rows: tuple[Row, ...]
    within: float = 60.0

    def __post_init__(self) -> None:
        """Check the table.

        Raises:
            ValueError: somebody has no proper name or two rows, or there is not one tracker, or it is not first.
        """
        names = [row.who for row in self.rows]
        if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,30}", name) for name in names):
            raise ValueError("a name in a scenario is letters, digits and -, and begins with a letter")
        if len(set(names)) < len(names):
            raise ValueError("in a scenario everybody has one row")
        trackers = [row for row in self.rows if isinstance(row.does, Track)]
        if len(trackers) != 1 or any(row.when <= trackers[0].when for row in self.rows if row is not trackers[0]):
            raise ValueError("a scenario has one tracker, in a step before all others")
        misfits = [(row, one) for row in self.rows for one in row.expect if type(row.does) not in _FITS[type(one)]]
        for row, one in misfits:
            raise ValueError(f"{type(one).__name__} is nothing that one expects of {row.who}")

    @property
    def tracker(self) -> str:
        """Who runs the tracker."""
        return next(row.who for row in self.rows if isinstance(row.does, Track))

    @property
    def steps(self) -> list[list[Row]]:
        """The rows of each step, in order."""
        return [[row for row in self.rows if row.when == when] for when in sorted({row.when for row in self.rows})]


_FITS: dict[type[Expectation], tuple[type[Action], ...]] = {
    Arrives: (Get,),
    InParallel: (Get,),
    NotHeldUp: (Get,),
    Serves: (Share, Hold),
    Attacks: (Attack,),
    Knows: (Track,),
}


def seconds_alone(file: File, rows: Sequence[Row]) -> tuple[float, float]:
    """How long a file takes from its fastest and from its slowest honest holder; 0 where it comes at once."""
    rates = [
        row.does.rate if isinstance(row.does, Hold) else None
        for row in rows
        if isinstance(row.does, Share | Hold) and file in row.does.files
    ]
    times = [file.size / rate if rate else 0.0 for rate in rates]
    return min(times, default=0.0), max(times, default=0.0)
