"""Upload slots: altogether, for each host, and given back whatever happens."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.peer.slots import UploadSlots
from osp2p.wire.address import Address

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


# --- who gives way ---


class Downloader:
    """A connection of some host that is being served."""

    def __init__(self, slots: UploadSlots, host: str, stack: ExitStack) -> None:
        self.remote = Address(host, 1)
        self.dismissed = False
        self.visit = Visit(self)  # type: ignore[arg-type]
        self.served = stack.enter_context(slots.slot(host, self.visit))

    def close(self) -> None:
        self.dismissed = True


async def test_who_holds_most_slots_loses_the_newest_to_who_has_fewer() -> None:
    slots = UploadSlots(LIMITS)
    with ExitStack() as stack:
        hosts = ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"]
        first = [Downloader(slots, host, stack) for host in hosts]
        assert all(one.served for one in first)
        late = Downloader(slots, "10.0.0.4", stack)
        assert late.served
        assert [one.dismissed for one in first] == [False, True, False, False, False]
        assert slots.running == 5
        later = Downloader(slots, "10.0.0.5", stack)
        assert later.served
        assert [one.dismissed for one in first] == [False, True, False, True, False]
        assert not Downloader(slots, "10.0.0.6", stack).served  # by now everybody has one
        assert slots.running == 5
    assert slots.running == 0


async def test_nobody_loses_a_slot_to_who_would_then_have_more() -> None:
    slots = UploadSlots(replace(LIMITS, max_uploads=3))
    with ExitStack() as stack:
        first = [Downloader(slots, host, stack) for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2")]
        assert not Downloader(slots, "10.0.0.2", stack).served
        assert not any(one.dismissed for one in first)


async def test_who_serves_nobody_refuses_everybody() -> None:
    for limits in (replace(LIMITS, max_uploads=0), replace(LIMITS, max_uploads_per_host=0)):
        slots = UploadSlots(limits)
        with slots.slot("10.0.0.1") as free:
            assert not free
        assert slots.running == 0


async def test_who_is_served_is_busy_and_afterwards_is_not() -> None:
    slots = UploadSlots(LIMITS)
    with ExitStack() as stack:
        one = Downloader(slots, "10.0.0.1", stack)
        assert one.visit.busy
    assert not one.visit.busy


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60))
async def test_however_uploads_come_and_go_the_books_are_right(steps: list[tuple[bool, int]]) -> None:
    """No limit is passed, none is refused who has less than the others, and each slot is given back once."""
    slots = UploadSlots(LIMITS)
    running: list[tuple[Downloader, ExitStack]] = []
    for comes, number in steps:
        if comes:
            host = f"10.0.0.{number}"
            before = [one.remote.host for one, _ in running if not one.dismissed]
            stack = ExitStack()
            one = Downloader(slots, host, stack)
            running.append((one, stack))
            if not one.served:
                one.dismissed = True
                own = before.count(host)
                assert own == LIMITS.max_uploads_per_host or max(map(before.count, before)) <= own + 1
        elif running:
            running.pop(number % len(running))[1].close()
        held = [one.remote.host for one, _ in running if not one.dismissed]
        assert slots.running == len(held) <= LIMITS.max_uploads
        assert all(held.count(host) <= LIMITS.max_uploads_per_host for host in held)
    for _, stack in running:
        stack.close()
    assert slots.running == 0
