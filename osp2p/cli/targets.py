"""Where fetched files go: names and ``-o`` to final paths. It looks at nothing but what the user typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osp2p.cli.arguments import UsageError
from osp2p.cli.text import escape, shell_word
from osp2p.content.name import local_path
from osp2p.errors import UnsafeName
from osp2p.limits import Limits

#: The ``-o`` that means standard output.
STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch to where.

    Attributes:
        targets: name and final path of each file, in the user's order.
        refused: names that cannot be files in a directory, and why.
    """

    targets: list[tuple[bytes, Path]] = field(default_factory=list)
    refused: list[tuple[bytes, UnsafeName]] = field(default_factory=list)


def is_directory(output: str | None) -> bool:
    """Whether ``-o`` names a directory: there is one, or it ends in ``/``, or it was not given."""
    return output is None or output.endswith("/") or Path(output).is_dir()


def plan_directory(names: Sequence[bytes], directory: Path, limits: Limits) -> Plan:
    """Put each file into a directory, with its sub-directories."""
    plan = Plan()
    for name in names:
        try:
            plan.targets.append((name, local_path(directory, name, limits)))
        except UnsafeName as error:
            plan.refused.append((name, error))
    return plan


def plan_targets(names: Sequence[bytes], output: str | None, limits: Limits) -> Plan:
    """Decide where each file goes.

    Args:
        names: each once.
        output: the word behind ``-o``, not ``-``.

    Raises:
        UsageError: several files for one path.
    """
    if is_directory(output):
        return plan_directory(names, Path(output or "."), limits)
    assert output is not None
    check_single(len(names), output)
    return Plan([(name, Path(output)) for name in names])


def check_file(path: str) -> None:
    """Refuse a word that names no file of this machine.

    Raises:
        UsageError.
    """
    if Path(path).is_dir():
        raise UsageError(f"{shell_word(path)} is a directory: name a file in it")
    if not Path(path).exists():
        raise UsageError(f"there is no file {shell_word(path)}")
    if not Path(path).is_file():
        raise UsageError(f"{shell_word(path)} is no regular file")


def is_path(word: str) -> bool:
    """Whether a word can only be a path: no name of a tracker's begins so."""
    return word.startswith(("/", "./", "../"))


def names_file(word: str) -> bool:
    """Whether a word that may be a name or a path is the path of a file that is here: such a path has a ``/``."""
    return "/" in word and Path(word).is_file()


def check_directory(output: str) -> None:
    """Refuse a file where only a directory will do.

    Raises:
        UsageError.
    """
    if Path(output).exists() and not Path(output).is_dir():
        raise UsageError(f"-o {escape(output)} is to be a directory, and a file is there: choose another place")


def check_single(files: int, output: str) -> None:
    """Refuse several files for one path.

    Raises:
        UsageError.
    """
    if files > 1:
        text = escape(output)
        raise UsageError(f"-o {text} is one file and cannot hold {files}: write -o {text}/ for a directory")
