"""No call is taken twice, and what that takes of memory is bounded."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.limits import Limits
from osp2p.rpc.replay import Full, Replayed, ReplayGuard, Stale

SENDER = "aa" * 20
START = 1_700_000_000_000
LIMITS = dataclasses.replace(Limits(), call_window=30.0, max_remembered_calls=10, max_remembered_share=0.5)


def nonce(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_call_is_taken_once() -> None:
    guard = ReplayGuard(LIMITS, START)
    guard.take(SENDER, nonce(1), START + 5, START + 9, "host")
    with pytest.raises(Replayed):
        guard.take(SENDER, nonce(1), START + 5, START + 29_000, "another host")
    guard.take("bb" * 20, nonce(1), START + 5, START + 9, "host")
    guard.take(SENDER, nonce(2), START + 5, START + 9, "host")


@pytest.mark.parametrize("time", [-30_001, 30_001])
def test_only_calls_of_about_now_are_taken(time: int) -> None:
    guard = ReplayGuard(LIMITS, START - 10**6)
    with pytest.raises(Stale):
        guard.take(SENDER, nonce(1), START + time, START, "host")
    guard.take(SENDER, nonce(1), START + time + (1 if time < 0 else -1), START, "host")


def test_what_was_made_before_the_start_is_not_taken() -> None:
    with pytest.raises(Stale):
        ReplayGuard(LIMITS, START).check_time(START - 1, START)


def test_what_can_come_no_more_is_forgotten() -> None:
    guard = ReplayGuard(LIMITS, START)
    for second in range(100):
        now = START + second * 20_000
        guard.take(SENDER, nonce(1), now, now, "host")
        assert len(guard) <= 3


def test_one_host_fills_half_and_all_together_all() -> None:
    guard = ReplayGuard(LIMITS, START)
    for number in range(5):
        guard.take(SENDER, nonce(number), START, START, "one")
    with pytest.raises(Full) as caught:
        guard.take(SENDER, nonce(9), START, START, "one")
    assert 30_000 < caught.value.retry_ms <= 31_000
    for number in range(5, 10):
        guard.take(SENDER, nonce(number), START, START, "two")
    with pytest.raises(Full):
        guard.take(SENDER, nonce(9), START + 1000, START, "three")
    assert len(guard) == 10
    with pytest.raises(Replayed):
        guard.take(SENDER, nonce(0), START, START, "three")
    now = START + caught.value.retry_ms
    guard.take(SENDER, nonce(9), now, now, "one")
    assert len(guard) == 1


@pytest.mark.parametrize(("most", "share"), [(0, 0.5), (1, 0.5), (10, 0.0)])
def test_who_may_remember_nothing_takes_no_call(most: int, share: float) -> None:
    guard = ReplayGuard(dataclasses.replace(LIMITS, max_remembered_calls=most, max_remembered_share=share), START)
    with pytest.raises(Full) as caught:
        guard.take(SENDER, nonce(1), START, START, "host")
    assert 0 < caught.value.retry_ms <= LIMITS.call_window * 1000 + 1000
    assert len(guard) == 0


def test_a_clock_that_is_put_back_starts_again() -> None:
    guard = ReplayGuard(LIMITS, START)
    guard.take(SENDER, nonce(1), START + 3_600_000, START + 3_600_000, "host")
    guard.take(SENDER, nonce(2), START + 1000, START + 1000, "host")
    with pytest.raises(Stale):
        guard.take(SENDER, nonce(3), START + 999, START + 1001, "host")
    with pytest.raises(Replayed):
        guard.take(SENDER, nonce(2), START + 1000, START + 1002, "host")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-40, 40), st.integers(0, 20)), max_size=80))
def test_no_order_of_calls_gets_one_taken_twice(steps: list[tuple[int, int, int]]) -> None:
    guard = ReplayGuard(LIMITS, START)
    taken: set[tuple[int, int]] = set()
    now = START
    for number, offset, pause in steps:
        now += pause * 1000
        time = START + offset * 1000
        try:
            guard.take(SENDER, nonce(number), time, now, "host")
        except (Replayed, Stale, Full):
            continue
        assert (number, time) not in taken
        assert len(guard) <= 10
        taken.add((number, time))
