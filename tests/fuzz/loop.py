"""Running a target on many inputs: mutations of its corpus, in this process or guided by coverage in one of its own.

Guided is what atheris does (libFuzzer for Python): an input that reaches a branch which none has reached before is
mutated further. Where atheris is not installed, inputs that the target understood take that place.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from types import FrameType
from typing import Any

import osp2p
from tests.fuzz.corpus import read_corpus
from tests.fuzz.mutate import mutate
from tests.fuzz.target import Target, load_targets

#: How many inputs are kept to be mutated further where nothing guides.
_POOL = 1000

#: How much of the processor's time one input may take, in seconds. What passes meanwhile says nothing: machines pause.
_MOST_SECONDS = 5.0

#: What `sys.settrace` calls.
TraceFunction = Callable[[FrameType, str, Any], Any]

_COUNTERS = struct.Struct("<QQ")


@dataclass
class Outcome:
    """What became of one target.

    Attributes:
        inputs: how many were tried.
        understood: how many of them the parser took.
        branches: how many were reached, as atheris counts them; None where nothing guides.
        seconds: how long it took.
        finds: inputs that broke the invariant; the run ends with the first.
        evidence: how the first find failed.
        reached: inputs that each reached something new in their time.
    """

    inputs: int = 0
    understood: int = 0
    branches: int | None = None
    seconds: float = 0.0
    finds: list[bytes] = field(default_factory=list)
    evidence: str = ""
    reached: list[bytes] = field(default_factory=list)


def run_plain(target: Target, inputs: int, seed: int, seeds: list[bytes]) -> Outcome:
    """Try mutations of what the target understood, beginning with its corpus.

    The same seed tries the same inputs, as long as corpus and target stay the same.
    """
    outcome = Outcome()
    rng = random.Random(f"{seed} {target.name}")
    pool = list(seeds) or [b""]
    began = time.monotonic()
    while outcome.inputs < inputs:
        if outcome.inputs < len(seeds):
            data = seeds[outcome.inputs]
        else:
            data = mutate(rng, rng.choice(pool), target.words, pool, target.max_length)
        outcome.inputs += 1
        try:
            understood = check_in_time(target, data)
        except Exception as error:  # whatever it is, it is a find
            outcome.finds.append(data)
            outcome.evidence = f"{type(error).__name__}: {error}"
            break
        outcome.understood += understood
        if understood and outcome.inputs > len(seeds):
            if len(pool) < _POOL:
                pool.append(data)
            else:
                pool[rng.randrange(len(seeds), _POOL)] = data
    outcome.seconds = time.monotonic() - began
    return outcome


def check_in_time(target: Target, data: bytes) -> bool:
    """Try one input.

    Raises:
        AssertionError: the invariant is broken, or it took too much time. And whatever else the target raises.
    """
    began = time.process_time()
    understood = target.check(data)
    seconds = time.process_time() - began
    assert seconds < _MOST_SECONDS, f"one input took {seconds:.1f} s"
    return understood


def can_guide() -> bool:
    """Whether atheris is here."""
    return find_spec("atheris") is not None


def run_guided(target: Target, inputs: int, seed: int, seeds: list[bytes]) -> Outcome:
    """Let atheris try inputs, in a process of its own."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="osp2p-fuzz-") as name:
        directory = Path(name)
        for part in ("corpus", "finds"):
            (directory / part).mkdir()
        for index, data in enumerate(seeds):
            (directory / "corpus" / f"seed-{index:03}").write_bytes(data)
        (directory / "words").write_text("".join(f'"{_escape(word)}"\n' for word in target.words))
        (directory / "counters").write_bytes(bytes(_COUNTERS.size))
        options = [
            *(
                f"-runs={inputs}",
                f"-seed={seed}",
                f"-max_len={target.max_length}",
                "-timeout=1000000",
                "-report_slow_units=1000000",
            ),
            *(f"-artifact_prefix={directory}/finds/", f"-dict={directory}/words", "-len_control=20"),
        ]
        began = time.monotonic()
        said = _run_atheris(target, directory, [*options, f"{directory}/corpus"])
        outcome.seconds = time.monotonic() - began
        outcome.inputs, outcome.understood = _COUNTERS.unpack((directory / "counters").read_bytes())
        outcome.finds = [path.read_bytes() for path in sorted((directory / "finds").iterdir())]
        if outcome.finds or outcome.inputs < inputs:
            outcome.evidence = said[-4000:]
            return outcome
        branches = re.findall(r"cov: (\d+)", said)
        outcome.branches = int(branches[-1]) if branches else 0
        outcome.reached = [path.read_bytes() for path in sorted((directory / "corpus").iterdir())]
    return outcome


def covering(target: Target, known: list[bytes], inputs: list[bytes], most: int) -> list[bytes]:
    """Choose inputs that take steps through the code which neither `known` nor shorter ones take: `most` at most."""
    root = str(Path(osp2p.__file__).parent)
    steps: set[tuple[str, int, int]] = set()
    last = 0

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        return trace_lines if frame.f_code.co_filename.startswith(root) else None

    def trace_lines(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal last
        steps.add((frame.f_code.co_filename, last, frame.f_lineno))
        last = frame.f_lineno
        return trace_lines

    chosen: list[bytes] = []
    for data in [*known, *sorted(inputs, key=len)]:
        before, last = len(steps), 0
        sys.settrace(trace)
        try:
            target.check(data)
        finally:
            sys.settrace(None)
        if len(steps) > before and data not in known and len(chosen) < most:
            chosen.append(data)
    return chosen


def _run_atheris(target: Target, directory: Path, options: list[str]) -> str:
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(directory / "counters"), *options]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _escape(word: bytes) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in word)


def run_target(target: Target, inputs: int, seed: int, *, guided: bool) -> Outcome:
    """Try so many inputs, beginning with the target's corpus."""
    return (run_guided if guided else run_plain)(target, inputs, seed, read_corpus(target.name))


class Counters:
    """Counts inputs in a file, so that the figures are right however the process ends."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap(file.fileno(), _COUNTERS.size)
        self._inputs = self._understood = 0

    def count(self, understood: bool) -> None:
        """One more input."""
        self._inputs += 1
        self._understood += understood
        _COUNTERS.pack_into(self._memory, 0, self._inputs, self._understood)


def shares(inputs: int, names: list[str]) -> dict[str, int]:
    """How many of `inputs` each of these targets gets."""
    targets = load_targets()
    total = sum(targets[name].share for name in names)
    return {name: max(1, round(inputs * targets[name].share / total)) for name in names}
