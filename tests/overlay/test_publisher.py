from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import pairwise

from osp2p.limits import DEFAULT
from osp2p.overlay.publisher import Publisher
from osp2p.overlay.timers import Timers

INTERVAL = 1000.0


class Bench:
    """A publisher, and what it makes known in no time, by as many nodes as there are."""

    def __init__(self, at_a_time: int = 3, nodes: int = 8) -> None:
        self.timers = Timers()
        self.publisher = Publisher(self.timers, replace(DEFAULT, publish_at_a_time=at_a_time), random.Random(1))
        self.nodes = nodes
        self.made: list[tuple[float, Hashable]] = []
        self.running = 0
        self.most = 0

    def make(self, name: Hashable) -> Callable[[float, Callable[[int, float], None]], None]:
        def make(now: float, done: Callable[[int, float], None]) -> None:
            self.made.append((now, name))
            self.running += 1
            self.most = max(self.most, self.running)

            def end(then: float) -> None:
                self.running -= 1
                done(self.nodes, then)

            self.timers.at(now + 1.0, end)

        return make

    def add(self, *names: Hashable, now: float = 0.0) -> None:
        for name in names:
            self.publisher.add(name, self.make(name), INTERVAL, now)

    def run(self, until: float) -> None:
        while self.timers.next_at <= until:
            self.timers.run(self.timers.next_at)


def test_a_few_at_a_time_until_all_are_known() -> None:
    bench = Bench()
    bench.add(*range(10))
    bench.run(20.0)
    assert bench.most == 3
    assert sorted(name for _, name in bench.made) == list(range(10))  # type: ignore[type-var]
    assert bench.publisher.taken == len(bench.publisher) == 10
    assert bench.publisher.taken_by(4) == 8


def test_all_are_made_again_in_time() -> None:
    bench = Bench()
    bench.add("a", "b")
    bench.run(5.5 * INTERVAL)
    times = [at for at, name in bench.made if name == "a"]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert len(times) in (6, 7)
    assert all(0.9 * INTERVAL <= gap <= INTERVAL + 2 for gap in gaps)


def test_alone_it_tries_again_with_growing_pauses() -> None:
    bench = Bench(nodes=0)
    bench.add("a")
    bench.run(100.0)
    times = [at for at, _ in bench.made]
    assert [round(later - sooner) for sooner, later in pairwise(times)] == [3, 5, 9, 17, 33]
    bench.nodes = 8
    bench.publisher.hurry(100.0)
    bench.run(102.0)
    assert bench.made[-1] == (100.0, "a")
    assert bench.publisher.taken == 1
    assert "a" in bench.publisher


def test_what_was_made_known_among_few_is_made_again_when_there_are_more() -> None:
    bench = Bench()
    bench.publisher.note_size(4, 0.0)
    bench.add("a")
    bench.run(2.0)
    for size in (5, 6):
        bench.publisher.note_size(size, 3.0)
    bench.run(5.0)
    assert len(bench.made) == 1
    bench.publisher.note_size(7, 6.0)
    bench.publisher.note_size(8, 6.0)
    bench.run(9.0)
    assert [at for at, _ in bench.made] == [0.0, 6.0]
    bench.publisher.note_size(3, 10.0)
    bench.run(11.0)
    assert len(bench.made) == 2


def test_what_is_withdrawn_is_not_made_again() -> None:
    bench = Bench(at_a_time=1)
    bench.add("a", "b", "c")
    bench.publisher.withdraw(["a", "c", "unknown"])
    bench.run(10 * INTERVAL)
    assert {name for _, name in bench.made[1:]} == {"b"}
    assert len(bench.publisher) == 1


def test_what_is_added_anew_is_made_at_once() -> None:
    bench = Bench()
    bench.add("a")
    bench.run(2.0)
    bench.add("a", now=2.0)
    bench.run(4.0)
    assert [at for at, _ in bench.made] == [0.0, 2.0]


def test_what_is_due_does_not_pile_up() -> None:
    bench = Bench()
    for number in range(2000):
        bench.add("a", now=float(number))
        bench.run(float(number))
    assert len(bench.publisher._due) < 200
    told: list[int] = []
    bench.publisher.changed = lambda: told.append(1)
    bench.add("b", now=3000.0)
    bench.run(3001.0)
    assert told
