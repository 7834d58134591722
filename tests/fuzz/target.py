"""Fuzz targets: a name, an invariant in prose, and a function that fails when the invariant does.

A target takes any bytes. It raises nothing as long as its invariant holds, whatever the bytes are; an `AssertionError`
and every exception that the code under test should not have raised are finds. It returns whether the bytes were
understood, so that a corpus that the parser refuses altogether is noticed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

#: Where the targets are: importing one of these modules enters its targets into the table.
MODULES = ("wire_targets", "content_targets", "client_targets", "server_targets", "overlay_targets", "text_targets")

Check = Callable[[bytes], bool]


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Attributes:
        name: ``room/parser``.
        check: tests one input.
        words: what a mutation may put into an input, beside bytes at random.
        share: how many inputs it gets of a long run, in proportion to the others.
        max_length: of an input in bytes.
    """

    name: str
    check: Check
    words: tuple[bytes, ...]
    share: float
    max_length: int

    @property
    def invariant(self) -> str:
        """What holds for every input, in prose."""
        return inspect.getdoc(self.check) or ""


TARGETS: dict[str, Target] = {}


def target(name: str, *words: bytes, share: float = 1.0, max_length: int = 400) -> Callable[[Check], Check]:
    """Enter the decorated function into the table; its docstring is the invariant."""

    def register(check: Check) -> Check:
        assert name not in TARGETS
        TARGETS[name] = Target(name, check, words, share, max_length)
        return check

    return register


def load_targets() -> dict[str, Target]:
    """The whole table."""
    for module in MODULES:
        import_module(f"tests.fuzz.{module}")
    return TARGETS


class Parameters:
    """Bytes of an input that choose something, taken from its front; whatever is left is the data.

    An input that is too short has zeros there.
    """

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def number(self, below: int) -> int:
        """A number from 0 on; one byte of the input, two where it must be."""
        width = 1 if below <= 256 else 2
        taken, self.rest = self.rest[:width], self.rest[width:]
        return int.from_bytes(taken, "big") % below

    def packets(self) -> Iterator[bytes]:
        """What is left, cut into packets of a size that the input chooses; 0 leaves it whole."""
        size = self.number(17) or max(1, len(self.rest))
        return (self.rest[start : start + size] for start in range(0, len(self.rest), size))
