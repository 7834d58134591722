"""Names and -o to final paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.arguments import UsageError
from osp2p.cli.targets import (
    Plan,
    check_directory,
    check_file,
    check_single,
    is_directory,
    is_path,
    names_file,
    plan_directory,
    plan_targets,
)
from osp2p.limits import Limits

LIMITS = Limits()


def plan(names: list[bytes], output: str | None) -> Plan:
    return plan_targets(names, output, LIMITS)


def test_without_an_output_files_come_here() -> None:
    assert plan([b"a", b"sub/deep.txt"], None).targets == [(b"a", Path("a")), (b"sub/deep.txt", Path("sub/deep.txt"))]


def test_a_directory_keeps_sub_directories(tmp_path: Path) -> None:
    expected = [(b"a", tmp_path / "a"), (b"sub/deep.txt", tmp_path / "sub" / "deep.txt")]
    assert plan([b"a", b"sub/deep.txt"], str(tmp_path)).targets == expected
    assert plan([b"a"], f"{tmp_path}/new/").targets == [(b"a", tmp_path / "new" / "a")]


def test_a_file_takes_one_name_whatever_it_is(tmp_path: Path) -> None:
    target = tmp_path / "x"
    for name in (b"sub/deep.txt", b"../../etc/passwd", b"/etc/passwd"):
        assert plan([name], str(target)) == Plan([(name, target)])
    assert plan([], str(target)) == Plan()


def test_a_file_cannot_hold_several(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is one file and cannot hold 2"):
        plan([b"a", b"b"], str(tmp_path / "x"))
    with pytest.raises(UsageError, match=r"-o \\x1b/x"):
        check_single(2, "\x1b/x")


def test_a_directory_is_not_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    for place in (tmp_path, tmp_path / "new"):
        check_directory(f"{place}/")
    with pytest.raises(UsageError, match="a file is there"):
        check_directory(f"{tmp_path}/x/")


def test_a_file_that_exists_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert not is_directory(str(tmp_path / "x"))
    assert is_directory(str(tmp_path))
    assert is_directory(None)


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"a/../../x", b"/etc/passwd", b"a//b", b"a/", b".", b"a\0b", b"a" * 300]
)
def test_names_that_escape_are_refused_and_the_others_go_on(name: bytes, tmp_path: Path) -> None:
    planned = plan([b"a", name, b"b"], str(tmp_path))
    assert [target for target, _ in planned.targets] == [b"a", b"b"]
    assert [refused for refused, _ in planned.refused] == [name]


def test_names_are_bytes() -> None:
    assert os.fsencode(plan([b"caf\xe9"], None).targets[0][1]) == b"caf\xe9"


@given(st.lists(st.binary(max_size=40), unique=True))
def test_no_name_leaves_the_directory(names: list[bytes]) -> None:
    planned = plan_directory(names, Path("/base"), LIMITS)
    assert len(planned.targets) + len(planned.refused) == len(names)
    for _, path in planned.targets:
        assert Path(os.path.normpath(path)).is_relative_to("/base/")
        assert path != Path("/base")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("there", "is a directory: name a file in it"),
        ("nothing", "there is no file"),
        ("/dev/null", "is no regular file"),
        ("two words", "there is no file 'two words'"),
    ],
)
def test_words_that_name_no_file_here(word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match=said):
        check_file(word)
    assert not names_file(word)


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"")
    check_file("a")
    assert [names_file(word) for word in ("a", "./a", str(tmp_path / "a"))] == [False, True, True]
    assert [is_path(word) for word in ("a", "b/a", "./a", "../a", "/a", ".a")] == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]
