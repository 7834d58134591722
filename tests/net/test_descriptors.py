"""How many descriptors are left: as the system counts them, whoever holds them."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from osp2p.net.descriptors import descriptors_are_short


@pytest.fixture
def few() -> Iterator[int]:
    """A soft limit that is near. Yields: how many more descriptors this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # what earlier tests have left may not go away in the middle of this one
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    with ExitStack() as holes:  # the numbers that are free below what others have open
        while (lowest := os.open("/", os.O_PATH)) < highest:
            holes.callback(os.close, lowest)
        os.close(lowest)
        soft = lowest + 40
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
        yield soft - lowest
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_there_are_enough_until_there_are_not(few: int) -> None:
    with ExitStack() as opened:
        left = few
        while left:
            assert descriptors_are_short(5) is (left <= 5)
            opened.enter_context(open("/dev/null", "rb"))
            left -= 1
        assert descriptors_are_short(5)
    assert not descriptors_are_short(5)


def test_the_reserve_is_at_most_a_quarter(few: int) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft // 4 < few:
        assert not descriptors_are_short(10**6)
    else:
        assert descriptors_are_short(10**6)


def test_to_ask_leaves_nothing_open(few: int) -> None:
    for _ in range(3 * few):
        descriptors_are_short(5)
