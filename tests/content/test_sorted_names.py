"""Names in order are the sorted set of what was added and not removed, wherever a block was cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content import sorted_names as module
from osp2p.content.sorted_names import SortedNames


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are cut after a few names, so that small sets have many."""
    monkeypatch.setattr(module, "_BLOCK", 4)


SETS = st.sets(st.binary(max_size=3), max_size=60)


@given(added=st.lists(st.binary(max_size=3), unique=True), removed=SETS, start=st.binary(max_size=3))
def test_pages_begin_where_they_should(added: list[bytes], removed: set[bytes], start: bytes) -> None:
    names = SortedNames()
    for name in added:
        names.add(name)
    for name in removed & set(added):
        names.remove(name)
    left = sorted(set(added) - removed)
    assert [name in names for name in [*added, start]] == [name in left for name in [*added, start]]
    assert len(names) == len(left)
    assert list(names.since(start)) == [name for name in left if name >= start]
    assert list(names.after(start)) == [name for name in left if name > start]


def test_many_names_come_and_go_in_random_order() -> None:
    rng = random.Random(11)
    names, model = SortedNames(), set[bytes]()
    for _ in range(20_000):
        name = b"%d" % rng.randrange(500)
        if name in model:
            model.remove(name)
            names.remove(name)
        else:
            model.add(name)
            names.add(name)
    assert list(names.since(b"")) == sorted(model)
    for name in sorted(model, reverse=True):
        names.remove(name)
    assert list(names.since(b"")) == []
    assert len(names) == 0
    names.add(b"again")
    assert list(names.after(b"")) == [b"again"]
