"""What a table expects, held against what happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from osp2p.lab.table import (
    Arrives,
    Attack,
    Attacks,
    Expectation,
    File,
    Get,
    InParallel,
    Knows,
    NotHeldUp,
    Row,
    Serves,
    Share,
    Track,
    seconds_alone,
)
from osp2p.lab.text import show
from osp2p.lab.world import World, aliases
from osp2p.wire.word import quote


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one expectation came true.

    Attributes:
        who: of whom it was expected.
        text: what was expected, and what was.
    """

    who: str
    text: str
    ok: bool


def judge(world: World) -> list[Verdict]:
    """Hold every row of the table against what happened."""
    verdicts = []
    for row in world.scenario.rows:
        if isinstance(row.does, Track | Share):
            verdicts.append(_lives(row, world))
        verdicts += [_judge(row, expectation, world) for expectation in row.expect]
    return verdicts


def _lives(row: Row, world: World) -> Verdict:
    code = world.exit_codes.get(row.who)
    if row.who in world.died:
        return Verdict(row.who, f"runs to the end: ended early, with {code}", False)
    return Verdict(row.who, f"runs to the end and leaves with 0 when told to: {code}", code == 0)


def _judge(row: Row, expectation: Expectation, world: World) -> Verdict:
    match expectation:
        case Arrives():
            return _arrives(row, world)
        case InParallel(below=below):
            return _in_parallel(row, below, world)
        case NotHeldUp(file=file, below=below):
            return _not_held_up(row, file, below, world)
        case Serves():
            return _serves(row, world)
        case Attacks(at_least=least):
            tried = [one for one in world.attacked[row.who] if one.sent or one.name]
            return Verdict(row.who, f"attacks at least {least} time(s): {len(tried)}", len(tried) >= least)
        case Knows(peers=peers):
            text = f"knows at least {peers} peers: {world.logged_in}"
            return Verdict(row.who, text, world.logged_in >= peers)


def is_verified(record: dict[str, object]) -> bool:
    """Whether a file's last record says that all of its bytes were proved."""
    proved = record.get("proof") in ("md5", "b3") and record.get("verified") == record.get("size")
    return record.get("event") == "done" and proved


def _arrives(row: Row, world: World) -> Verdict:
    fetched = world.fetched[row.who]
    assert isinstance(row.does, Get)
    faults = [f"exit code {fetched.exit_code}"] if fetched.exit_code else []
    for file in row.does.files:
        record = fetched.records.get(quote(file.raw).decode("ascii"), {})
        path = fetched.directory / file.path
        if record.get("event") != "done":
            faults.append(f"{show(file.raw)} did not arrive")
        elif not world.pool.is_same(path, file):
            faults.append(f"{show(file.raw)} is not the same on disk")
        elif not is_verified(record):
            faults.append(f"{show(file.raw)} is not verified")
    extra = sum(1 for path in fetched.directory.rglob("*") if not path.is_dir()) - len(row.does.files)
    if extra > 0:
        faults.append(f"{extra} file(s) are there that nobody asked for")
    text = f"every file arrives, the same to the byte, verified: {'; '.join(faults) or f'all {len(row.does.files)}'}"
    return Verdict(row.who, text, not faults)


def _in_parallel(row: Row, below: float, world: World) -> Verdict:
    assert isinstance(row.does, Get)
    alone = sum(seconds_alone(file, world.scenario.rows)[0] for file in row.does.files)
    took = world.fetched[row.who].seconds
    text = f"takes less than {below} of the {alone:.1f} s of its files one after another: {took:.1f} s"
    return Verdict(row.who, text, took < below * alone)


def _not_held_up(row: Row, file: File, below: float, world: World) -> Verdict:
    _, slowest = seconds_alone(file, world.scenario.rows)
    record = world.fetched[row.who].records.get(quote(file.raw).decode("ascii"), {})
    took = record.get("seconds")
    known = took if isinstance(took, int | float) else float("inf")
    text = f"gets {show(file.raw)} in less than {below} of its slowest holder's {slowest:.1f} s: {known:.1f} s"
    return Verdict(row.who, text, known < below * slowest)


def _serves(row: Row, world: World) -> Verdict:
    assert not isinstance(row.does, Track | Get | Attack)
    own = set(aliases(row.who, getattr(row.does, "peers", 1)))
    given = sum(size for alias, size in _gifts(world) if alias in own)
    return Verdict(row.who, f"gives somebody bytes: {given}", given > 0)


def _gifts(world: World) -> Iterator[tuple[str, int]]:
    """Who gave how many bytes, as the fetchers say."""
    for fetched in world.fetched.values():
        for record in fetched.records.values():
            for source in sources_of(record):
                size = source.get("fetched")
                yield str(source.get("alias")), size if isinstance(size, int) else 0


def sources_of(record: dict[str, object]) -> list[dict[str, object]]:
    """The sources in a file's last record."""
    sources = record.get("sources")
    return [one for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
