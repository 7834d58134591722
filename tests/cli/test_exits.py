"""The table of exit codes is complete, and the code of several files follows from it."""

from __future__ import annotations

import inspect

import pytest

from osp2p import errors
from osp2p.cli import exits


def _tree() -> set[type[errors.Osp2pError]]:
    """Every class that osp2p.errors defines."""
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.Osp2pError)}
    assert len(kinds) > 20
    return kinds


def test_every_error_has_a_code_of_its_own() -> None:
    assert set(exits.CODES) == _tree()


def test_every_code_has_a_meaning_and_stands_in_the_help() -> None:
    constants = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert constants == set(exits.MEANINGS)
    assert set(exits.CODES.values()) <= constants
    lines = exits.describe_codes().splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(constants)


def test_no_error_counts_as_success() -> None:
    assert exits.DONE not in exits.CODES.values()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NobodyHasIt("x"), 3),
        (errors.SourceRefused("x"), 3),
        (errors.TrackerUnreachable("x"), 4),
        (errors.TrackerRefused(300, "x"), 4),
        (errors.ListenFailed("x"), 4),
        (errors.Stalled("x"), 5),
        (errors.ChecksumMismatch("x"), 6),
        (errors.Unverified("x"), 6),
        (errors.DiskFull("x"), 8),
        (errors.TargetLocked("x"), 8),
        (errors.UnsafeName("x"), 2),
    ],
)
def test_codes_of_single_errors(error: errors.Osp2pError, code: int) -> None:
    assert exits.exit_code(error) == code


def test_a_subclass_elsewhere_has_the_code_of_its_parent() -> None:
    class Slower(errors.Stalled):
        pass

    assert exits.exit_code(Slower("x")) == exits.STALLED


def test_codes_of_several_files() -> None:
    nobody, stalled = errors.NobodyHasIt("x"), errors.Stalled("x")
    assert exits.exit_code_of_files(2, []) == exits.DONE
    assert exits.exit_code_of_files(0, []) == exits.DONE
    assert exits.exit_code_of_files(0, [nobody, nobody]) == exits.NOBODY_HAS_IT
    assert exits.exit_code_of_files(0, [nobody, stalled]) == exits.SOME_FAILED
    assert exits.exit_code_of_files(1, [nobody, nobody]) == exits.SOME_FAILED
