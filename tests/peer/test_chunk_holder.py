"""One holder of chunks: how its rate and its latency are measured, and what follows from them."""

from __future__ import annotations

import pytest

from osp2p.content.chunks import MIN_CHUNK
from osp2p.limits import MIB, Limits
from osp2p.peer.chunk_holder import Holder, Request

LIMITS = Limits()
SLOW = 1.0 * MIB


def holder_of(rate: float = 0.0, latency: float = 0.0) -> Holder:
    return Holder(MIN_CHUNK, LIMITS, latency, rate=rate)


def ask(holder: Holder, now: float, count: int = 1, *, is_any: bool = False) -> None:
    holder.ask(Request((1 << count) - 1, count, is_any, now))


def answer(holder: Holder, now: float, begins_at: float) -> None:
    """It sends what it was asked for first, one chunk after the other."""
    holder.begins(begins_at)
    holder.hear(holder.queue[0].count * MIN_CHUNK, now)
    holder.take_answered()


# --- what it owes ---


def test_what_it_owes_is_counted() -> None:
    holder = holder_of()
    ask(holder, 0, 3)
    ask(holder, 0, is_any=True)
    assert (holder.owed, holder.choices, holder.choice_sets()) == (4, 1, [1])
    assert holder.take_answered().count == 3
    assert (holder.owed, holder.choices) == (1, 1)
    assert holder.take_answered().is_any
    assert (holder.owed, holder.choices, holder.choice_sets()) == (0, 0, [])


# --- what is measured ---


def test_the_rate_is_measured() -> None:
    holder = holder_of()
    for now in (0.1, 0.2, 0.3, 0.4):
        ask(holder, now - 0.1)
        answer(holder, now, now - 0.1)
    assert holder.rate == pytest.approx(MIN_CHUNK / 0.1, rel=0.01)


def test_latency_does_not_count_against_the_rate() -> None:
    """Else a distant holder, fast as it may be, would be taken for a slow one, and be asked for little."""
    holder = holder_of(latency=0.08)
    ask(holder, 0)
    answer(holder, 0.1, 0.08)
    assert holder.rate == pytest.approx(MIN_CHUNK / 0.025, rel=0.01), "a quarter of all of the time, at least"
    ask(holder, 0.1)
    ask(holder, 0.1)
    assert holder.has_room(at_work=1)


def test_what_came_in_no_time_says_nothing_of_the_rate() -> None:
    """Two answers that had both arrived while this program was busy."""
    holder = holder_of(SLOW)
    ask(holder, 0)
    holder.hear(MIN_CHUNK, 0.25)
    before = holder.rate
    holder.hear(MIN_CHUNK, 0.250001)
    assert holder.rate == before


def test_a_first_answer_says_all_that_is_known_of_the_rate() -> None:
    holder = holder_of()
    ask(holder, 0)
    holder.hear(MIN_CHUNK, 0.001)
    assert holder.rate == pytest.approx(MIN_CHUNK / 0.001)


def test_latency_grows_where_nothing_was_on_its_way_and_shrinks_where_something_was() -> None:
    holder = holder_of(4 * SLOW)
    ask(holder, 0)
    ask(holder, 0)
    answer(holder, 1.0, 0.9)
    assert holder.latency == pytest.approx(0.45), "half of what its first answer took"
    answer(holder, 1.4, 1.3)
    assert holder.latency == pytest.approx(0.6), "it ran dry for 0.3 s"
    ask(holder, 1.4)
    ask(holder, 1.4)
    answer(holder, 1.9, 1.9)
    before = holder.latency
    answer(holder, 2.0, 1.9)
    assert 0.9 * before < holder.latency < before


# --- what follows ---


def test_one_that_owes_nothing_has_room() -> None:
    assert holder_of().has_room(at_work=100)


def test_one_of_whom_nothing_is_known_is_asked_for_one_thing_at_a_time() -> None:
    holder = holder_of()
    ask(holder, 0)
    assert not holder.has_room(at_work=2)


def test_a_distant_holder_has_more_on_its_way_than_a_near_one() -> None:
    near, far = holder_of(SLOW), holder_of(SLOW, latency=0.5)
    for holder in (near, far):
        ask(holder, 0)
    assert not near.has_room(at_work=1)
    assert far.has_room(at_work=1)


def test_a_second_request_waits_where_many_are_at_work() -> None:
    holder = holder_of(SLOW / 10, latency=0.5)
    ask(holder, 0)
    assert holder.has_room(at_work=1)
    assert not holder.has_room(at_work=50)


@pytest.mark.parametrize(
    ("rate", "chunks"), [(0.0, 1), (SLOW, 1), (100 * MIB, 20), (1e6 * MIB, LIMITS.max_request // MIN_CHUNK)]
)
def test_a_request_is_for_what_it_gives_in_a_moment(rate: float, chunks: int) -> None:
    assert holder_of(rate).budget() == chunks


def test_one_has_stalled_that_is_silent_for_longer_than_its_rate_explains() -> None:
    quick, slow, idle = holder_of(100 * SLOW), holder_of(SLOW / 10), holder_of(SLOW)
    for holder in (quick, slow):
        ask(holder, 0)
        assert not holder.is_stalled(LIMITS.end_game_after)
        assert holder.is_stalled(60)
    assert quick.is_stalled(LIMITS.end_game_after + 0.1)
    assert not slow.is_stalled(LIMITS.end_game_after + 0.1), "a chunk of it takes 2.5 s"
    assert not idle.is_stalled(60), "it owes nothing"


def test_one_that_is_busy_counts_as_stalled_at_once() -> None:
    holder = holder_of(SLOW)
    ask(holder, 0)
    holder.busy = True
    assert holder.is_stalled(0)


def test_one_more_chunk_comes_behind_all_that_is_owed() -> None:
    holder = holder_of(SLOW, latency=0.5)
    assert holder.soon() == pytest.approx(0.75)
    ask(holder, 0, 2)
    assert holder.soon() == pytest.approx(1.25)
    assert holder_of().soon() == LIMITS.end_game_after


def test_what_is_late_is_reckoned_to_take_as_long_again() -> None:
    known, unknown = holder_of(SLOW), holder_of()
    for holder in (known, unknown):
        ask(holder, 0)
    assert known.due_in(2, 0.1) == pytest.approx(0.4)
    assert known.due_in(2, 0.7) == pytest.approx(0.2), "it is 0.2 s late"
    assert unknown.due_in(1, 0.3) == pytest.approx(0.3)
