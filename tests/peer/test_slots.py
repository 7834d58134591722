"""Upload slots: altogether, for each host, and given back whatever happens."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.peer.slots import UploadSlots

LIMITS = replace(Limits(), max_uploads=5, max_uploads_per_host=2)


async def test_no_more_than_so_many_for_one_host() -> None:
    slots = UploadSlots(LIMITS)
    with slots.slot("10.0.0.1") as one, slots.slot("10.0.0.1") as two:
        assert one
        assert two
        with slots.slot("10.0.0.1") as three, slots.slot("10.0.0.2") as other:
            assert not three
            assert other
    with slots.slot("10.0.0.1") as again:
        assert again


async def test_no_more_than_so_many_altogether() -> None:
    slots = UploadSlots(LIMITS)
    with ExitStack() as stack:
        held = [stack.enter_context(slots.slot(f"10.0.0.{number}")) for number in range(7)]
        assert held == [True] * 5 + [False] * 2
        assert slots.running == 5
    assert slots.running == 0


async def test_one_network_of_ipv6_is_one_host() -> None:
    slots = UploadSlots(LIMITS)
    with slots.slot("2001:db8::1") as one, slots.slot("2001:db8::ffff:2") as two, slots.slot("2001:db8::3") as three:
        assert (one, two, three) == (True, True, False)
        with slots.slot("2001:db8:0:1::1") as elsewhere:
            assert elsewhere


async def test_a_failure_gives_the_slot_back() -> None:
    slots = UploadSlots(LIMITS)
    for _ in range(10):
        with pytest.raises(OSError), slots.slot("10.0.0.1") as free:
            assert free
            raise OSError
    assert slots.running == 0


async def test_when_nobody_counts_as_served_any_more(mock_clock: MockClock) -> None:
    slots = UploadSlots(LIMITS)
    assert slots.idle_at(0.0) == float("-inf")
    with slots.slot("10.0.0.1"):
        assert slots.idle_at(100.0) == 100.0 + LIMITS.served_grace
        mock_clock.jump(7)
    ended = slots.idle_at(1000.0) - LIMITS.served_grace
    assert slots.idle_at(2000.0) - LIMITS.served_grace == ended


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])))
async def test_counts_agree_with_who_holds_a_slot(hosts: list[str]) -> None:
    """A slot is refused exactly when a limit is reached by those that are held."""
    slots = UploadSlots(LIMITS)
    held: list[str] = []
    with ExitStack() as stack:
        for host in hosts:
            full = len(held) >= LIMITS.max_uploads or held.count(host) >= LIMITS.max_uploads_per_host
            assert stack.enter_context(slots.slot(host)) is not full
            if not full:
                held.append(host)
            assert slots.running == len(held)
    assert slots.running == 0
