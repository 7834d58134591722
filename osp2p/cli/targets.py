"""Where fetched files go: names and ``-o`` to final paths. It looks at nothing but what the user typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osp2p.cli.arguments import UsageError
from osp2p.cli.text import escape
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


def check_single(files: int, output: str) -> None:
    """Refuse several files for one path.

    Raises:
        UsageError.
    """
    if files > 1:
        text = escape(output)
        raise UsageError(f"-o {text} is one file and cannot hold {files}: write -o {text}/ for a directory")
