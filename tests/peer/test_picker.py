"""The race between holders: single decisions, and what holds whatever the holders do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.limits import MIB, Limits
from osp2p.peer.link_rate import LinkRate
from osp2p.peer.picker import Race, Runner
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

LIMITS = Limits()
INF = float("inf")


def holders(count: int, first: int = 0) -> list[PeerEntry]:
    # Attributes as an OSP2P/2 tracker names them: an entry with them has no hash.
    return [PeerEntry(b"p%d" % i, Address("10.0.0.1", 1000 + i), {b"size": b"7"}) for i in range(first, first + count)]


def race(count: int, limits: Limits = LIMITS) -> Race:
    made = Race(limits, random.Random(1))
    assert made.add(holders(count)) == count
    return made


def started(made: Race, now: float) -> list[Runner]:
    """All that are to be asked at a moment."""
    runners = []
    while (runner := made.start(now)) is not None:
        runners.append(runner)
    return runners


def test_one_holder_is_asked_first_and_the_next_a_little_later() -> None:
    made = race(3)
    assert len(started(made, 10.0)) == 1
    assert made.wake_at(10.0) == 10.0 + LIMITS.connect_stagger
    assert not started(made, 10.05)
    assert len(started(made, 10.0 + LIMITS.connect_stagger)) == 1


def test_after_a_refusal_the_next_is_asked_at_once_beside_a_silent_one() -> None:
    made = race(250)
    (silent,) = started(made, 0.0)
    now = LIMITS.connect_stagger
    for _ in range(249):
        (refusing,) = started(made, now)
        made.ended(refusing)
    assert made.running == [silent]
    assert made.wake_at(now) == INF


def test_no_more_than_max_connecting_at_a_time() -> None:
    made = race(40, replace(LIMITS, connect_stagger=0.0))
    asked = started(made, 0.0)
    assert made.running == asked
    assert len(asked) == LIMITS.max_connecting
    assert made.wake_at(0.0) == LIMITS.hedge_after


def test_silent_ones_make_way_once_and_get_a_second_turn_without_an_end() -> None:
    limits = replace(LIMITS, max_connecting=2, connect_stagger=0.0)
    made = race(4, limits)
    first, second = started(made, 0.0)
    assert made.wake_at(0.0) == limits.hedge_after
    third, fourth = started(made, limits.hedge_after)
    assert made.take_dropped() == [first, second]
    assert made.take_dropped() == []
    again = started(made, 2 * limits.hedge_after)
    assert [runner.entry for runner in again] == [first.entry, second.entry]
    assert made.take_dropped() == [third, fourth]
    assert all(runner.patient for runner in again)
    assert made.wake_at(100.0) == INF
    made.ended(again[0])
    assert started(made, 100.0)[0].entry is third.entry


def test_the_first_byte_drops_those_who_give_nothing_and_they_keep_their_turn() -> None:
    made = race(10)
    silent = [started(made, tick * LIMITS.connect_stagger)[0] for tick in range(3)]
    (giving,) = started(made, 3 * LIMITS.connect_stagger)
    made.received(giving, 1, 0.35)
    assert made.running == [giving]
    assert set(made.take_dropped()) == set(silent)
    made.ended(giving)
    assert started(made, 0.4)[0].entry in [runner.entry for runner in silent]


def test_a_dropped_one_is_not_dropped_again_for_another_that_gives() -> None:
    made = race(3, replace(LIMITS, connect_stagger=0.0))
    one, two, three = started(made, 0.0)
    made.received(three, 1, 0.1)
    made.ended(three)
    again = started(made, 0.2)
    assert [runner.patient for runner in again] == [True, True]
    made.received(again[0], 1, 0.3)
    assert made.running == again
    assert set(made.take_dropped()) == {one, two}


def test_one_that_gives_again_after_a_silence_drops_those_who_were_asked_meanwhile() -> None:
    made = race(5)
    (slow,) = started(made, 0.0)
    made.received(slow, 10, 0.5)
    (other,) = started(made, 1.6)
    made.received(slow, 10, 1.7)
    assert made.take_dropped() == [other]
    assert made.running == [slow]


def test_a_second_giver_drops_nobody() -> None:
    made = race(5)
    (slow,) = started(made, 0.0)
    made.received(slow, 10, 0.9)
    (silent,) = started(made, 1.0)
    made.received(slow, 10, 1.8)
    (giving,) = started(made, 2.0)
    made.received(giving, 10, 2.1)
    assert made.running == [slow, silent, giving]


def test_a_silent_one_beside_slow_ones_makes_way_and_counts_until_then() -> None:
    made = race(5, replace(LIMITS, max_sources_per_file=2))
    (slow,) = started(made, 0.0)
    made.received(slow, 10, 0.9)
    (silent,) = started(made, 1.0)
    made.received(slow, 10, 1.8)
    assert not started(made, 1.9)
    made.received(slow, 10, 2.0)
    (next_one,) = started(made, 2.0)
    assert made.take_dropped() == [silent]
    assert made.running == [slow, next_one]


def test_beside_enough_givers_nobody_is_asked_in_a_silent_ones_place() -> None:
    made = race(9, replace(LIMITS, max_sources_per_file=2))
    (one,) = started(made, 0.0)
    made.received(one, 20_000, 0.9)
    (two,) = started(made, 1.0)
    made.received(two, 20_000, 1.1)
    made.received(one, 20_000, 2.0)
    (silent,) = started(made, 2.2)
    made.received(one, 20_000, 2.9)
    made.received(two, 20_000, 2.9)
    for tick in range(30, 60):
        made.received(one, 20_000, tick * 0.1)
        made.received(two, 20_000, tick * 0.1)
        assert not started(made, tick * 0.1)
    assert made.running == [one, two, silent]


def test_a_holder_has_its_time_before_another_is_asked_beside_it() -> None:
    made = race(5)
    (giving,) = started(made, 0.0)
    (refusing,) = started(made, 0.2)
    made.received(giving, 10, 0.5)
    made.ended(refusing)
    assert not started(made, 0.9)
    made.received(giving, 10, 0.95)
    assert started(made, 1.0)


def test_a_rate_is_that_of_the_last_moments() -> None:
    made = race(2)
    (runner,) = started(made, 0.0)
    for tick in range(1, 100):
        made.received(runner, 10 * MIB, tick * 0.1)
    assert runner.rate(9.9) == pytest.approx(100 * MIB, rel=0.3)
    for tick in range(100, 200):
        made.received(runner, 10, tick * 0.1)
    assert runner.rate(19.9) == pytest.approx(100, rel=0.3)
    assert len(started(made, 19.9)) == 1


def test_ended_after_having_been_dropped_changes_nothing() -> None:
    made = race(2, replace(LIMITS, connect_stagger=0.0))
    silent, giving = started(made, 0.0)
    made.received(giving, 1, 0.1)
    made.ended(silent, again=True)
    assert made.running == [giving]
    assert made.add([silent.entry]) == 0, "it waits for its second turn already"


def test_a_fast_holder_stays_alone() -> None:
    made = race(5)
    (fast,) = started(made, 0.0)
    for tick in range(1, 200):
        made.received(fast, MIB // 2, tick * 0.1)
        assert made.wake_at(tick * 0.1) > tick * 0.1


def test_beside_a_slow_holder_others_are_asked_up_to_max_sources() -> None:
    made = race(50)
    (slow,) = started(made, 0.0)
    runners = [slow]
    for tick in range(1, 200):
        for runner in runners:
            made.received(runner, 2000, tick * 0.1)
        runners += started(made, tick * 0.1)
        if tick * 0.1 < LIMITS.hedge_after:
            assert runners == [slow]
    assert len(runners) == LIMITS.max_sources_per_file
    assert made.take_dropped() == []


def test_where_all_are_very_slow_each_is_asked_once() -> None:
    """As many as may be asked at a time could else be all that ever are."""
    made = race(50)
    runners = started(made, 0.0)
    for tick in range(1, 1000):
        for runner in made.running:
            made.received(runner, 100, tick * 0.1)
        runners += started(made, tick * 0.1)
        assert len(made.running) <= LIMITS.max_sources_per_file
    assert len({runner.entry.address for runner in runners}) == len(runners) == 50
    dropped = made.take_dropped()
    assert len(dropped) == 50 - LIMITS.max_sources_per_file
    assert max(runner.received for runner in dropped) < max(runner.received for runner in made.running)
    assert made.wake_at(1000.0) == float("inf") or not made._live(1000.0)


def test_beside_one_who_is_fast_enough_the_very_slow_stay() -> None:
    made = race(50)
    runners = started(made, 0.0)
    for tick in range(1, 300):
        for runner in made.running:
            made.received(runner, 3000 if runner is runners[0] else 100, tick * 0.1)
        runners += started(made, tick * 0.1)
    assert len(runners) == LIMITS.max_sources_per_file
    assert made.take_dropped() == []


def test_a_hedge_that_is_refused_is_replaced_at_once() -> None:
    made = race(50)
    (slow,) = started(made, 0.0)
    made.received(slow, 10, 0.9)
    for _ in range(48):
        (refusing,) = started(made, 1.0)
        made.ended(refusing)
    assert len(started(made, 1.0)) == 1


def test_when_the_giver_falls_silent_another_is_asked() -> None:
    made = race(2)
    (one,) = started(made, 0.0)
    made.received(one, 50 * MIB, 0.5)
    made.received(one, 50 * MIB, 0.9)
    assert not started(made, 1.8)
    assert len(started(made, 0.9 + LIMITS.hedge_after)) == 1


def test_much_of_an_endless_file_makes_others_be_asked_and_more_each_time() -> None:
    made = race(5)
    (fast,) = started(made, 0.0)
    made.received(fast, LIMITS.unproved_before_hedge - 1, 0.1)
    assert not started(made, 0.1)
    made.received(fast, 1, 0.2)
    (honest,) = started(made, 0.2)
    assert honest.suspicion
    made.ended(honest)
    assert len(started(made, 0.2)) == 1, "one that failed says nothing of the other"
    made.received(fast, LIMITS.unproved_before_hedge, 0.3)
    assert len(started(made, 0.3)) == 1


# --- our own link ---

SLOW = LIMITS.slow_rate / 4


def run_race(
    made: Race, rates: Callable[[list[Runner]], dict[Runner, float]], begin: float, end: float
) -> list[Runner]:
    """Let holders give as `rates` says of those that are running. Returns: who was asked, in order."""
    asked: list[Runner] = []
    now = begin
    while now < end:
        while (runner := made.start(now)) is not None:
            asked.append(runner)
        made.take_dropped()
        now += 0.05
        for runner, rate in rates(made.running).items():
            if runner in made.running:
                made.received(runner, int(rate * 0.05), now)
    return asked


def shared(running: list[Runner]) -> dict[Runner, float]:
    """A link that all share evenly."""
    return {runner: SLOW / len(running) for runner in running}


def race_on(link: LinkRate, count: int = 5) -> Race:
    made = Race(LIMITS, random.Random(1), link)
    made.add(holders(count))
    return made


def test_on_a_slow_link_one_holder_is_tried_beside_the_first_and_no_more() -> None:
    link = LinkRate()
    made = race_on(link)
    asked = run_race(made, shared, 0, 60)
    assert len(asked) == 2
    assert made.running == asked[:1]
    assert link.slow_rate(LIMITS.slow_rate) == pytest.approx(SLOW / 2, rel=0.1)
    assert len(run_race(race_on(link), shared, 0, 60)) == 1, "the next file knows the link"


def test_on_a_fast_link_slow_holders_have_others_beside_them() -> None:
    link = LinkRate()
    made = race_on(link)
    asked = run_race(made, lambda running: dict.fromkeys(running, SLOW), 0, 60)
    assert len(asked) == LIMITS.max_sources_per_file
    assert made.running == asked
    assert link.slow_rate(LIMITS.slow_rate) == LIMITS.slow_rate


@pytest.mark.parametrize(("first", "then"), [(1.0, 0.01), (0.05, 1.0)])
def test_one_that_is_slow_beside_another_is_no_sign_of_a_full_link(first: float, then: float) -> None:
    """Neither a first one that becomes slow by itself, nor a second one that is."""
    link = LinkRate()
    made = race_on(link, 2)

    def rates(running: list[Runner]) -> dict[Runner, float]:
        return {running[0]: SLOW * (first if len(running) > 1 else 1.0), **dict.fromkeys(running[1:], SLOW * then)}

    asked = run_race(made, rates, 0, 10)
    assert len(asked) == 2
    assert made.running == asked
    assert link.slow_rate(LIMITS.slow_rate) == LIMITS.slow_rate


def test_a_link_that_becomes_slower_still_is_tried_anew() -> None:
    link = LinkRate()
    made = race_on(link)
    assert len(run_race(made, shared, 0, 10)) == 2
    slower = run_race(made, lambda running: {one: rate / 10 for one, rate in shared(running).items()}, 10, 40)
    assert 1 <= len(slower) <= 8
    assert len(made.running) <= 2
    assert link.slow_rate(LIMITS.slow_rate) < SLOW / 4


def test_a_limit_of_the_users_is_what_the_link_takes() -> None:
    assert len(run_race(race_on(LinkRate(SLOW)), shared, 0, 60)) == 1


def test_bursts_say_nothing_of_a_link() -> None:
    """One large piece a second from each: whatever the rates seem to be, nobody is of no use."""
    made = race_on(LinkRate(), 3)
    bursts = iter(range(1_000_000))
    run_race(made, lambda running: dict.fromkeys(running, SLOW) if next(bursts) % 20 == 0 else {}, 0, 30)
    assert len(made.running) == 3


def test_files_share_a_link() -> None:
    link = LinkRate(4 * SLOW)
    link.fetches = 4
    assert link.slow_rate(LIMITS.slow_rate) == SLOW / 2


def test_how_many_holders_a_limited_link_begins_with() -> None:
    assert LinkRate().first_sources(1 << 18, 32) == 32
    assert [LinkRate(rate).first_sources(1 << 18, 32) for rate in (1.0, 1e5, 1e6, 1e9)] == [1, 1, 7, 32]
    assert LinkRate().has_room
    assert [LinkRate(5.0, partial(bool, full)).has_room for full in (1, 0)] == [False, True]


def test_no_more_than_max_source_tries_holders() -> None:
    made = Race(replace(LIMITS, max_source_tries=3), random.Random(1))
    assert made.add(holders(5)) == 3
    assert made.add(holders(5, first=10)) == 0
    asked = 0
    while (runner := made.start(0.0)) is not None:
        asked += 1
        made.ended(runner, again=True)
    assert asked == 3
    assert made.exhausted
    assert made.add(holders(5)) == 3, "who may be asked again takes nobody's place"


def test_the_same_address_twice_is_one_holder() -> None:
    one = PeerEntry(b"a", Address("10.0.0.1", 1))
    made = Race(LIMITS, random.Random(1))
    assert made.add([one, replace(one, alias=b"b")]) == 1
    assert made.add([one]) == 0


def test_the_order_is_random_and_follows_the_seed() -> None:
    def order(seed: int) -> list[PeerEntry]:
        made = Race(LIMITS, random.Random(seed))
        made.add(holders(20))
        found = []
        while (runner := made.start(0.0)) is not None:
            found.append(runner.entry)
            made.ended(runner)
        return found

    assert order(1) == order(1)
    assert order(1) != order(2)


# --- whatever the holders do ---


@dataclass(frozen=True)
class Behaviour:
    """A holder: `delay` until its first byte, then `rate` for `lasts`; then it ends, or falls silent for ever."""

    delay: float
    rate: float
    lasts: float
    ends: bool


#: Time until a silent holder is given up, as the fetch does it.
GIVE_UP = 10.0
STEP = 0.05

behaviours = st.builds(
    Behaviour,
    delay=st.sampled_from([0.0, 0.05, 0.2, 3.0, 1000.0]),
    rate=st.sampled_from([1.0, 1e5, 1e7, 1e9]),
    lasts=st.sampled_from([0.0, 0.1, 2.0, 30.0]),
    ends=st.booleans(),
)


@given(
    crowd=st.lists(behaviours, max_size=40),
    max_connecting=st.integers(1, 6),
    max_sources=st.integers(1, 4),
    seed=st.integers(0, 3),
)
def test_invariants_of_a_whole_race(crowd: list[Behaviour], max_connecting: int, max_sources: int, seed: int) -> None:
    """Each holder runs once at a time and gets at most two turns, the second without being dropped, but for those that
    were of no use beside others, or made room for new ones; no more run than the limits say; whenever the race says
    that it is time, it names somebody; and every holder gets its turn."""
    limits = replace(LIMITS, max_connecting=max_connecting, max_sources_per_file=max_sources)
    made = Race(limits, random.Random(seed))
    entries = holders(len(crowd))
    made.add(entries)
    of = {entry.address: behaviour for entry, behaviour in zip(entries, crowd, strict=True)}
    turns: Counter[Address] = Counter()
    drops: Counter[Address] = Counter()
    useless: Counter[Address] = Counter()
    tick = 0
    while not made.exhausted:
        now = tick * STEP
        assert made.running or made.wake_at(now) <= now, "nobody runs, nobody is to run, and it is not over"
        while (due := made.wake_at(now)) <= now:
            living = [r for r in made.running if r.received and now - r.last < limits.hedge_after]
            runner = made.start(now)
            assert runner is not None, f"due at {due}, now {now}, but nobody is named"
            turns[runner.entry.address] += 1
            running = [other.entry.address for other in made.running]
            assert len(set(running)) == len(running) <= max_connecting
            if living and len(living) >= max_sources:
                assert turns[runner.entry.address] == 1, "one who gives makes room for a new one alone"
                assert max(other.rate(now) for other in living) < limits.slow_rate / 128
        assert made.start(now) is None
        for runner in made.take_dropped():
            assert runner not in made.running
            if runner.received:
                useless[runner.entry.address] += 1
                continue
            assert not runner.patient
            drops[runner.entry.address] += 1
        tick += 1
        _act(made, of, tick * STEP)
        assert tick < 1_000_000
    assert set(turns) == {entry.address for entry in entries} or not entries
    assert max(drops.values(), default=0) <= 1
    for address, count in turns.items():
        assert count == 1 + drops[address] + useless[address]


def _act(made: Race, of: dict[Address, Behaviour], now: float) -> None:
    """Let the holders do what they do in one step of time."""
    for runner in made.running:
        if runner not in made.running:
            continue  # dropped because of another one's first byte in this very step
        behaviour = of[runner.entry.address]
        age = now - runner.started
        over = age > behaviour.delay + behaviour.lasts
        if age > behaviour.delay and not over:
            made.received(runner, max(1, int(behaviour.rate * STEP)), now)
        elif (over and behaviour.ends) or now - runner.last > GIVE_UP:
            made.ended(runner)


@pytest.mark.parametrize("silent", [10, 25, 60])
def test_fakes_are_got_past_in_seconds(silent: int) -> None:
    made = race(250)
    order = [entry.address for entry in made._waiting]
    behaviour = {address: Behaviour(0.0, 1.0, 0.0, ends=True) for address in order}
    for address in random.Random(2).sample(order[:-1], silent):
        behaviour[address] = Behaviour(1000.0, 1.0, 0.0, ends=True)
    now = 0.0
    while order[-1] not in [runner.entry.address for runner in made.running]:
        while (runner := made.start(now)) is not None and behaviour[runner.entry.address].delay == 0:
            if runner.entry.address == order[-1]:
                break
            made.ended(runner)
        now += 0.01
    assert now < 0.5 + silent * LIMITS.connect_stagger
