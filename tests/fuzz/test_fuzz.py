"""Every corpus is tried every time, and the fuzzer finds what is planted for it."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from osp2p.errors import MalformedLine
from tests.fuzz import corpus, long, loop
from tests.fuzz.loop import Counters, Outcome, covering, run_plain, shares
from tests.fuzz.mutate import mutate
from tests.fuzz.target import TARGETS, Parameters, Target, load_targets

NAMES = sorted(load_targets())


@pytest.mark.parametrize("name", NAMES)
def test_the_invariant_holds_for_the_corpus(name: str) -> None:
    target = TARGETS[name]
    inputs = corpus.read_corpus(name)
    understood = [target.check(data) for data in inputs]
    assert any(understood), "a corpus that is refused altogether tests little"
    assert not all(understood) or name in ("wire/word", "wire/line-and-body", "wire/request")


@pytest.mark.parametrize("name", NAMES)
def test_the_invariant_holds_for_mutations(name: str) -> None:
    target = TARGETS[name]
    outcome = run_plain(target, max(60, int(1000 * min(1.0, target.share))), 5, corpus.read_corpus(name))
    assert outcome.finds == [], outcome.evidence


def test_every_target_says_what_holds() -> None:
    for target in TARGETS.values():
        assert len(target.invariant) > 60


def test_every_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in corpus.DIRECTORY.iterdir()} == {corpus.path_of(name).name for name in NAMES}


def weak_ranges(text: bytes, maximum: int, max_ranges: int) -> list[tuple[int, int]]:
    """As `parse_ranges`, but ranges may overlap."""
    found = []
    for part in text.split(b","):
        low, _, high = part.partition(b"-")
        if not low.isdigit() or not (high or low).isdigit() or int(high or low) > maximum:
            raise MalformedLine("no range")
        found.append((int(low), int(high or low)))
    return found


def weak_parts(name: bytes, limits: object) -> tuple[bytes, ...]:
    """As `safe_parts`, but .. is a part as any other."""
    return tuple(name.split(b"/"))


WEAKENED: list[tuple[str, str, Any]] = [
    ("wire/ranges", "tests.fuzz.wire_targets.parse_ranges", weak_ranges),
    ("wire/word", "osp2p.wire.word._QUOTED", re.compile(rb"%([0-9A-F]{2})")),
    ("wire/reply", "osp2p.wire.reply._TERMINATOR", re.compile(rb"(\d\d\d)(?: |\r?\Z)")),
    ("wire/link", "osp2p.wire.link._UNSAFE", re.compile(rb"[^A-Za-z0-9/._+,%-]")),
    ("content/name", "tests.fuzz.content_targets.safe_parts", weak_parts),
    ("content/journal", "osp2p.content.journal.zlib.crc32", lambda data, value=0: 7),
    ("content/chunk-map", "osp2p.content.chunks.merge_numbers", lambda numbers: [(min(numbers), max(numbers))]),
    ("peer/fetch", "osp2p.peer.intake.Intake._prove", lambda self, batch: batch.last + 1),
    ("tracker/lines", "osp2p.tracker.registry.Registry._unindex", lambda self, content: None),
    ("peer/session", "osp2p.peer.offer.Offer.has", lambda self, first, last: True),
]


@pytest.mark.parametrize(("name", "what", "weak"), WEAKENED, ids=[name for name, _, _ in WEAKENED])
def test_what_is_weakened_is_found(name: str, what: str, weak: object) -> None:
    """With the seeds alone, or soon behind them."""
    with patch(what, weak):
        outcome = run_plain(TARGETS[name], 3000, 1, corpus.read_corpus(name))
    assert outcome.finds
    assert outcome.evidence


def planted(data: bytes) -> bool:
    """It holds for all inputs but those with a number that is too large behind a word, which takes some steps."""
    match = re.search(rb"size=(\d+)", data)
    assert match is None or int(match[1]) < 2**63
    return match is not None


PLANTED = Target("planted", planted, (b"size=",), 1.0, 50)


def test_the_loop_finds_what_is_planted_and_tries_the_same_again() -> None:
    first, again = (run_plain(PLANTED, 200_000, 3, [b"x"]) for _ in range(2))
    (find,) = first.finds
    assert re.search(rb"size=\d", find)
    assert first.evidence.startswith("AssertionError")
    assert first.inputs < 200_000
    assert (again.finds, again.inputs, again.understood) == (first.finds, first.inputs, first.understood)
    other = run_plain(PLANTED, 200_000, 4, [b"x"])
    assert (other.finds, other.inputs) != (first.finds, first.inputs)


def test_an_input_that_takes_too_long_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(data: bytes) -> bool:
        return sum(range(200_000)) > 0

    monkeypatch.setattr(loop, "_MOST_SECONDS", 0.001)
    outcome = run_plain(Target("slow", slow, (), 1.0, 10), 10, 1, [b""])
    assert outcome.finds == [b""]
    assert "took" in outcome.evidence


def test_mutations_stay_within_their_length() -> None:
    rng = random.Random(1)
    pool = [b"", b"abc", b"x" * 40]
    seen = {mutate(rng, rng.choice(pool), [b"word"], pool, 40) for _ in range(3000)}
    assert max(map(len, seen)) == 40
    assert b"" in seen
    assert any(b"word" in data for data in seen)
    assert len(seen) > 1500


def test_inputs_that_take_new_steps_are_chosen() -> None:
    target = TARGETS["wire/ranges"]
    known = [b"\0\x0a\x051"]
    chosen = covering(target, known, [b"\0\x0a\x052", b"\0\x0a\x051-3,5", b"\0\x0a\x053-1", *known], 5)
    assert b"\0\x0a\x052" not in chosen
    assert set(chosen) == {b"\0\x0a\x053-1", b"\0\x0a\x051-3,5"}
    assert covering(target, known, [b"\0\x0a\x053-1", b"\0\x0a\x051-3,5"], 1) == chosen[:1]


def test_a_corpus_keeps_what_is_new(tmp_path: Path) -> None:
    with patch.object(corpus, "DIRECTORY", tmp_path / "corpus"):
        assert corpus.keep("wire/x", "Seeds.", [b"a\n", b"#\xff", b"a\n"]) == [b"a\n", b"#\xff"]
        assert corpus.keep("wire/x", "A find.", [b"a\n", b"c"]) == [b"c"]
        assert corpus.keep("wire/x", "Nothing new.", [b"c"]) == []
        assert corpus.read_corpus("wire/x") == [b"a\n", b"#\xff", b"c"]
        assert corpus.path_of("wire/x").read_text() == "# Seeds.\nb'a\\n'\nb'#\\xff'\n# A find.\nb'c'\n"


def test_counters_are_there_whatever_becomes_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    path.write_bytes(bytes(16))
    counters = Counters(path)
    for understood in (True, False, True):
        counters.count(understood)
    assert path.read_bytes() == (3).to_bytes(8, "little") + (2).to_bytes(8, "little")


def test_inputs_are_shared_out() -> None:
    given = shares(1_000_000, NAMES)
    assert sum(given.values()) == pytest.approx(1_000_000, rel=0.001)
    assert given["wire/line"] > 10 * given["content/cache"] > 0


def test_a_long_run_prints_figures_and_keeps_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    monkeypatch.setitem(TARGETS, "planted", PLANTED)
    corpus.keep("planted", "Seeds.", [b"size=9"])
    corpus.keep("wire/word", "Seeds.", [b"%41"])
    assert long.main(["--plain", "--inputs", "20000", "--keep", "wire/word"]) == 0
    assert long.main(["--plain", "--inputs", "20000", "planted", "wire/word"]) == 1
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines() if line.startswith("wire/word")]
    assert [row[1] for row in rows] == ["20000", "10000"]
    assert "planted: [b'" in said.err
    assert len(corpus.read_corpus("planted")) == 2
    with pytest.raises(SystemExit):
        long.main(["no/such"])
    assert "there is no target no/such" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "below", "numbers", "rest"),
    [(b"", 5, [0], b""), (b"\7ab", 5, [2], b"ab"), (b"\1\2ab", 1000, [258], b"ab"), (b"\xff\1", 16, [15, 1], b"")],
)
def test_parameters(data: bytes, below: int, numbers: list[int], rest: bytes) -> None:
    parameters = Parameters(data)
    assert [parameters.number(below) for _ in numbers] == numbers
    assert parameters.rest == rest


def test_packets_are_all_of_the_rest() -> None:
    assert list(Parameters(b"\0abc").packets()) == [b"abc"]
    assert list(Parameters(b"\2abc").packets()) == [b"ab", b"c"]
    assert list(Parameters(b"").packets()) == []


def test_an_outcome_begins_empty() -> None:
    assert (Outcome().finds, Outcome().evidence, Outcome().branches) == ([], "", None)
