"""Which chunks are asked of whom: how quickly that is decided, and what must hold whatever holders do."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from osp2p.content.chunk_set import bits_of
from osp2p.content.chunks import MIN_CHUNK
from osp2p.peer.chunk_picker import Assignment, ChunkPicker
from tests.peer.pickers import (
    COUNT,
    FAST,
    LIMITS,
    SLOW,
    add_part,
    add_seed,
    bring,
    chunks_in,
)

# --- speed ---


def test_assigning_among_the_most_chunks_and_holders_is_quick() -> None:
    picker = ChunkPicker(16_384, MIN_CHUNK, [], LIMITS, random.Random(1))
    rng = random.Random(2)
    for number in range(31):
        chunks = [index for index in range(16_384) if rng.random() < 0.5]
        add_part(picker, f"part{number}", *chunks, rate=SLOW)
    add_seed(picker, "seed", SLOW)
    began = time.process_time()
    for turn in range(300):
        key = "seed" if turn % 2 else f"part{turn % 31}"
        if (assignment := picker.assign(key, turn / 100)) is not None:
            bring(picker, key, assignment, turn / 100 + 0.01)
    assert time.process_time() - began < 1.5  # far less than a walk over the chunks would take


# --- whatever happens ---


class AnySchedule(RuleBasedStateMachine):
    """Holders come, gain, deliver, refuse, lie, stall and go in any order.

    Nothing that is here or in hand is asked for, nothing of one who does not have it, nothing twice but in the end
    game; and whenever one honest seed stays, everything arrives.
    """

    @initialize(seed=st.integers(0, 1000), have=st.sets(st.integers(0, COUNT - 1), max_size=COUNT // 2))
    def begin(self, seed: int, have: set[int]) -> None:
        limits = replace(LIMITS, requests_ahead=2)
        ranges = [(index, index) for index in sorted(have)]
        self.picker = ChunkPicker(COUNT, MIN_CHUNK, ranges, limits, random.Random(seed))
        self.here = set(have)
        self.in_hand: dict[int, int] = {}
        self.has: dict[int, set[int]] = {}
        self.whole: set[int] = set()
        self.asked: dict[int, deque[Assignment]] = {}
        self.now = 0.0
        self.next_key = 0

    def some_holder(self, choice: int) -> int | None:
        keys = sorted(self.has)
        return keys[choice % len(keys)] if keys else None

    @rule(chunks=st.sets(st.integers(0, COUNT - 1)), rate=st.sampled_from([0.0, SLOW / 50, SLOW, FAST]))
    @precondition(lambda self: len(self.has) < 6)
    def join(self, chunks: set[int], rate: float) -> None:
        key = self.next_key = self.next_key + 1
        self.picker.add_holder(key, 0.01)
        self.picker._holders[key].rate = rate
        self.has[key], self.asked[key] = set(), deque()
        self.say(key, chunks)

    def say(self, key: int, chunks: set[int]) -> None:
        self.picker.gain(key, [(index, index) for index in sorted(chunks)], self.now)
        self.has[key] |= chunks

    @rule(choice=st.integers(0, 5), chunks=st.sets(st.integers(0, COUNT - 1), max_size=8))
    def gain(self, choice: int, chunks: set[int]) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.say(key, chunks)

    @rule(choice=st.integers(0, 5))
    def become_whole(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.picker.set_all(key, self.now)
            self.has[key] = set(range(COUNT))

    @rule(choice=st.integers(0, 5))
    def leave(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.picker.remove_holder(key)
            del self.has[key], self.asked[key]

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.5, 3.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(choice=st.integers(0, 5))
    def ask(self, choice: int) -> None:
        if (key := self.some_holder(choice)) is not None:
            self.ask_of(key)

    def ask_of(self, key: int) -> Assignment | None:
        assignment = self.picker.assign(key, self.now)
        if assignment is None:
            return None
        chunks = chunks_in(assignment.bits)
        others = {other: queue for other, queue in self.asked.items() if other != key}
        definite = {
            other: set().union(*(chunks_in(a.bits) for a in queue if not a.any)) for other, queue in self.asked.items()
        }
        assert chunks
        assert chunks <= self.has[key]
        assert not chunks & self.here
        assert not bits_of((index, index) for index in chunks) & sum(self.in_hand.values())
        assert not chunks & definite[key]
        if assignment.taken_over:
            owed = set().union(*(chunks_in(a.bits) for queue in others.values() for a in queue))
            assert chunks <= owed
        else:
            assert not any(chunks & definite[other] for other in others)
        if assignment.any:
            assert len(chunks) > 1
            assert self.has[key] == set(range(COUNT))
        self.asked[key].append(assignment)
        return assignment

    @rule(choice=st.integers(0, 5), fate=st.sampled_from(["brings", "brings", "half", "refuses", "lies", "in hand"]))
    def answer(self, choice: int, fate: str) -> None:
        key = self.some_holder(choice)
        if key is None or not self.asked[key]:
            return
        self.now += 0.01
        assignment = self.asked[key].popleft()
        chunks = sorted(chunks_in(assignment.bits))
        if assignment.any:
            chunks = chunks[len(chunks) // 2 :][:1]
        self.picker.begins(key, self.now)
        if fate == "refuses":
            self.picker.lose(key, assignment.bits)
            self.has[key] -= chunks_in(assignment.bits)
        else:
            for index in chunks[: max(1, len(chunks) // 2)] if fate == "half" else chunks:
                self.deliver(key, index, fate)
        self.picker.answered(key)

    def deliver(self, key: int, index: int, fate: str) -> None:
        self.picker.heard(key, MIN_CHUNK, self.now)
        bits = self.picker.hold(index, index)
        assert bits == (0 if index in self.here or 1 << index in self.in_hand.values() else 1 << index)
        if not bits:
            return
        if fate == "in hand":
            self.in_hand[index] = bits
        elif fate == "lies":
            self.picker.let_go(bits)
        else:
            self.picker.arrived(bits)
            self.here.add(index)

    @rule(proved=st.booleans())
    @precondition(lambda self: self.in_hand)
    def settle(self, proved: bool) -> None:
        index, bits = self.in_hand.popitem()
        if proved:
            self.picker.arrived(bits)
            self.here.add(index)
        else:
            self.picker.let_go(bits)

    @invariant()
    def complete_when_all_is_here(self) -> None:
        if hasattr(self, "here"):
            assert self.picker.complete == (len(self.here) == COUNT)

    def teardown(self) -> None:
        """One honest seed stays, and some who do nothing any more: everything arrives."""
        if not hasattr(self, "here"):
            return
        while self.in_hand:
            self.settle(False)
        for choice in [key for key in self.has if key % 2]:
            self.picker.remove_holder(choice)
            del self.has[choice], self.asked[choice]
        self.next_key += 1
        seed = self.next_key
        self.picker.add_holder(seed)
        self.picker.set_all(seed, self.now)
        self.has[seed], self.asked[seed] = set(range(COUNT)), deque()
        for _ in range(20 * COUNT):
            if self.picker.complete:
                break
            self.now += 0.25
            self.ask_of(seed)
            while self.asked[seed]:
                assignment = self.asked[seed].popleft()
                self.picker.begins(seed, self.now)
                for index in sorted(chunks_in(assignment.bits))[: 1 if assignment.any else None]:
                    self.deliver(seed, index, "brings")
                self.picker.answered(seed)
        assert self.picker.complete


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], deadline=None
)
