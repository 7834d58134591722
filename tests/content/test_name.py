"""Names: nothing leaves its directory, and globs are the shell's."""

import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.name import (
    MAX_COMPONENT,
    PARTIAL_SUFFIX,
    backup_names,
    is_glob,
    is_hidden,
    is_partial,
    is_shareable,
    journal_name,
    local_path,
    matches_glob,
    partial_name,
    safe_parts,
)
from osp2p.errors import UnsafeName
from osp2p.limits import Limits

LIMITS = Limits()
HERE = Path("/srv/shared")


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"/",
        b"/etc/passwd",
        b"a//b",
        b"a/",
        b".",
        b"..",
        b"./a",
        b"a/.",
        b"a/../b",
        b"../a",
        b"a/..",
        b"a\0b",
        b"x" * 256,
        b"ok/" + b"x" * 256,
        b"/".join([b"x" * 200] * 6),
    ],
)
def test_unsafe_names_are_refused(name: bytes) -> None:
    with pytest.raises(UnsafeName):
        safe_parts(name, LIMITS)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"cat.jpg", (b"cat.jpg",)),
        (b"a/b/c", (b"a", b"b", b"c")),
        (b"...", (b"...",)),
        (b"..a/b..", (b"..a", b"b..")),
        (b"%2e%2e", (b"%2e%2e",)),
        (b"a\\b\n\xff", (b"a\\b\n\xff",)),
        (b"x" * 255, (b"x" * 255,)),
    ],
)
def test_safe_names_are_cut_into_components(name: bytes, parts: tuple[bytes, ...]) -> None:
    assert safe_parts(name, LIMITS) == parts


def test_the_limit_is_the_one_that_is_passed() -> None:
    assert safe_parts(b"x" * 10, replace(LIMITS, max_name=10))
    with pytest.raises(UnsafeName, match="10 bytes"):
        safe_parts(b"x" * 11, replace(LIMITS, max_name=10))


@given(st.lists(st.sampled_from([b"..", b".", b"", b"a", b"/", b"\0", b"~", b"\xff"]), max_size=12).map(b"".join))
def test_a_safe_path_stays_inside_its_directory(name: bytes) -> None:
    try:
        path = local_path(HERE, name, LIMITS)
    except UnsafeName:
        return
    lexical = os.path.normpath(os.fsencode(path))
    assert lexical == os.fsencode(path), "nothing in it is folded away"
    assert lexical == b"/srv/shared/" + name


@pytest.mark.parametrize("name", [b".a", b"a/.b", b".a/b", b"a/.b/c", b"...", b"a/..."])
def test_a_component_with_a_dot_first_is_hidden(name: bytes) -> None:
    assert is_hidden(name)
    assert not is_shareable(name)
    assert not matches_glob(name, b"**")


@pytest.mark.parametrize("name", [b"a~", b"d/a~", b"x.part", b"x.crdownload", partial_name(b"x")])
def test_backups_and_partial_downloads_are_not_for_others(name: bytes) -> None:
    assert not is_shareable(name)


def test_ordinary_names_are_for_others() -> None:
    for name in (b"a", b"a.b", b"d~/x", b"a/b/c.tar.gz", b"part", b"\xff\xfe", b"a~b"):
        assert is_shareable(name)
        assert not is_partial(name)


MATCHES = [
    (b"a.txt", b"*.txt"),
    (b"a.txt", b"?.txt"),
    (b"a.txt", b"[a-c].txt"),
    (b"a.txt", b"[!x]*"),
    (b"a.txt", b"[^x]*"),
    (b"]", b"[]]"),
    (b"x", b"[!]]"),
    (b"-", b"[a-]"),
    (b"[", b"["),
    (b"[ab", b"[ab"),
    (b"a[", b"a["),
    (b"*", b"[*]"),
    (b"photos/cat.jpg", b"photos/*"),
    (b"photos/cat.jpg", b"*/*"),
    (b"photos/cat.jpg", b"photos/**"),
    (b"photos/cat.jpg", b"**"),
    (b"photos/cat.jpg", b"**/cat.jpg"),
    (b"cat.jpg", b"**/cat.jpg"),
    (b"a/x/y/b", b"a/**/b"),
    (b"a/b", b"a/**/b"),
    (b"a/b/c/d", b"**/b/**/d"),
    (b"a/b/b/c", b"**/b/c"),
    (b"a/a/b/a/c", b"**/a/**/a/c"),
    (b"aab", b"*ab"),
    (b"abcabc", b"*abc"),
    (b"\xff\n", b"?*\n"),
    (b"a^b", b"a^b"),
    (b"a.b", b"a.b"),
    (b"ab", b"a**b"),
]

DIFFERS = [
    (b"photos/cat.jpg", b"*"),
    (b"photos/cat.jpg", b"photos*"),
    (b"photos/cat.jpg", b"photos?cat.jpg"),
    (b"photos/cat.jpg", b"photos[/]cat.jpg"),
    (b"photos/cat.jpg", b"photos[!x]cat.jpg"),
    (b"a/b/c", b"a/*"),
    (b"photos", b"photos/**"),
    (b".bashrc", b"*"),
    (b".bashrc", b".b*"),
    (b".ssh/keys", b".ssh/*"),
    (b"a/.ssh/keys", b"**/keys"),
    (b"axb", b"a.b"),
    (b"b", b"[!b]"),
    (b"m", b"[z-a]"),
    (b"a/b", b"a**b"),
    (b"ab", b"a/**/b"),
    (b"", b"?"),
]


@pytest.mark.parametrize(("name", "pattern"), MATCHES)
def test_globs_that_match(name: bytes, pattern: bytes) -> None:
    assert matches_glob(name, pattern)


@pytest.mark.parametrize(("name", "pattern"), DIFFERS)
def test_globs_that_do_not_match(name: bytes, pattern: bytes) -> None:
    assert not matches_glob(name, pattern)


def test_what_is_a_glob() -> None:
    assert all(map(is_glob, (b"*", b"a?", b"[", b"x/**")))
    assert not any(map(is_glob, (b"", b"a", b"a/b]", b"\\")))


def slow_component(name: bytes, pattern: bytes) -> bool:
    """A glob within one component by its definition: each star may take anything."""
    if not pattern:
        return not name
    if pattern[:1] == b"*":
        return any(slow_component(name[taken:], pattern[1:]) for taken in range(len(name) + 1))
    return bool(name) and pattern[:1] in (b"?", name[:1]) and slow_component(name[1:], pattern[1:])


def slow_glob(name: list[bytes], pattern: list[bytes]) -> bool:
    """A glob by its definition: each ``**`` may take any number of components."""
    if not pattern:
        return not name
    if pattern[0] == b"**":
        if len(pattern) == 1:
            return bool(name)
        return any(slow_glob(name[taken:], pattern[1:]) for taken in range(len(name) + 1))
    return bool(name) and slow_component(name[0], pattern[0]) and slow_glob(name[1:], pattern[1:])


@given(
    st.lists(st.text("ab", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=5),
    st.lists(
        st.one_of(st.just(b"**"), st.text("ab*?", min_size=1, max_size=4).map(str.encode)), min_size=1, max_size=5
    ),
)
def test_a_glob_matches_what_its_definition_says(name: list[bytes], pattern: list[bytes]) -> None:
    assert matches_glob(b"/".join(name), b"/".join(pattern)) == slow_glob(name, pattern)


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_bytes_are_a_pattern(name: bytes, pattern: bytes) -> None:
    if matches_glob(name, pattern):
        assert not is_hidden(name)


def test_pathological_patterns_take_no_time() -> None:
    began = time.perf_counter()
    assert not matches_glob(b"a" * 1000, b"*a" * 50 + b"b")
    assert not matches_glob(b"/".join([b"a"] * 500), b"**/a/" * 30 + b"b")
    assert not matches_glob(b"/".join([b"aaaa"] * 200), b"**/*a*a*a/" * 20 + b"*b")
    assert time.perf_counter() - began < 2


def test_backup_names_are_those_of_2007() -> None:
    names = [path.name for path in itertools.islice(backup_names(HERE / "cat.jpg"), 3)]
    assert names == ["cat.jpg~1~", "cat.jpg~2~", "cat.jpg~3~"]


@given(st.binary(min_size=1, max_size=MAX_COMPONENT).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_names_beside_a_target_are_hidden_partial_and_not_too_long(name: bytes) -> None:
    beside = [
        *(partial_name(name, number) for number in range(3)),
        journal_name(name),
        journal_name(name, renewed=True),
    ]
    assert len(set(beside)) == 5
    for hidden in beside:
        assert is_hidden(hidden)
        assert is_partial(hidden)
        assert len(hidden) <= MAX_COMPONENT
    if name not in (b".", b".."):
        assert len(os.fsencode(next(backup_names(local_path(HERE, name, LIMITS))).name)) <= MAX_COMPONENT


@pytest.mark.parametrize("number", [1, 2, 63])
@pytest.mark.parametrize("length", [3, 222, 223, 241, 242, 243, 255])
def test_no_name_has_beside_it_what_stands_beside_another(number: int, length: int) -> None:
    one = b"x" * length
    stem = partial_name(one).removeprefix(b".").removesuffix(PARTIAL_SUFFIX)
    others = [b"%b~%d" % (name, number) for name in (one, stem)]
    others += [b"%b~%d~" % (name, number) for name in (one, stem)]
    others += [name + ending for name in (one, stem) for ending in (b"~new", b".osp2p-copy", b".osp2p-journal")]
    ours = names_beside(one)
    assert len(ours) == 66
    for other in others:
        if len(other) <= MAX_COMPONENT:
            assert not ours & names_beside(other)
    # Somebody may choose what a long name is shortened to: then the two have the lock in common, too.
    assert bool(ours & names_beside(stem)) == (partial_name(stem) == partial_name(one))


def names_beside(name: bytes) -> set[bytes]:
    return {*(partial_name(name, number) for number in range(64)), journal_name(name), journal_name(name, renewed=True)}


def test_long_names_that_begin_alike_do_not_meet() -> None:
    assert partial_name(b"x" * 254 + b"1") != partial_name(b"x" * 254 + b"2")
