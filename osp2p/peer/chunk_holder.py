"""What is known of one holder of chunks: what it has, what it owes, and how fast it gives. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from osp2p.limits import Limits

#: The only holder at work is far when its answer takes more than one part in so many of the time for a chunk.
_FAR = 20.0

#: Nothing came for too long when it was for such a part of the time that a chunk takes.
_DRY = 0.1

#: How the latency that is reckoned with shrinks with each answer that comes at once.
_LESS = 0.95

#: A holder has stalled when it is silent for so many times what a chunk of it takes, and for `end_game_after`.
_STALLED = 4.0


@dataclass(slots=True)
class Request:
    """What a holder was asked for and has not answered yet.

    Attributes:
        bits: the chunks, or those from which it picks one, as a set.
        count: how many chunks it owes for it.
        is_any: whether it picks.
        asked_at: when.
    """

    bits: int
    count: int
    is_any: bool
    asked_at: float


@dataclass(slots=True, eq=False)
class Holder:
    """One holder, as a `ChunkPicker` sees it.

    Attributes:
        each: bytes of a chunk.
        limits: `request_time`, `max_request`, `requests_ahead`, `end_game_after`.
        latency: seconds from a request to the beginning of its answer, as far as what is on its way has to cover it.
        has: its chunks, as it claims.
        lost: those that it refused, whatever it claims.
        whole: whether it has all.
        delivered_at: when bytes of an answer last came; before that, when it first had something.
        queue: what it was asked for, in the order in which it answers.
        owed: how many chunks that is.
        choices: how many of these requests leave the choice to it.
        rate: bytes per second, measured; 0 before the first answer.
        heard: when bytes of an answer last came, or when it was first asked since then.
        cursor: behind the last run that it was asked for.
        window_from: since when bytes are counted to measure the rate.
        window_latency: how much of that time was its latency, because it owed nothing before.
        window_bytes: how many came since then.
        busy: whether it has refused for being busy since bytes of an answer last came: what it is asked for meanwhile
            is not kept from others.
    """

    each: int
    limits: Limits
    latency: float = 0.0
    has: int = 0
    lost: int = 0
    whole: bool = False
    delivered_at: float | None = None
    queue: deque[Request] = field(default_factory=deque)
    owed: int = 0
    choices: int = 0
    rate: float = 0.0
    heard: float = 0.0
    cursor: int = 0
    window_from: float = 0.0
    window_latency: float = 0.0
    window_bytes: int = 0
    busy: bool = False

    # --- what it was asked for, and what comes ---

    def ask(self, request: Request) -> None:
        """It is asked for something."""
        if not self.queue:
            self.heard = self.window_from = request.asked_at
            self.window_latency, self.window_bytes = self.latency, 0
        self.queue.append(request)
        self.owed += request.count
        self.choices += request.is_any

    def begins(self, now: float) -> None:
        """It begins to answer what it was asked for first.

        If nothing came since an earlier answer, so much more should have been on its way; else perhaps less would do.
        """
        asked_at = self.queue[0].asked_at
        dry = now - max(asked_at, self.heard)
        if asked_at >= self.heard:
            self.latency = (self.latency + dry) / 2
        elif dry * self.rate > _DRY * self.each:
            self.latency += dry / 2
        else:
            self.latency *= _LESS

    def hear(self, count: int, now: float) -> None:
        """So many bytes of chunks came from it."""
        self.heard = self.delivered_at = now
        self.window_bytes += count
        seconds = now - self.window_from
        # A shorter time says more about who was scheduled when than about the holder; but for its first answer.
        if seconds >= self.limits.request_time / 4 or (seconds > 0 and not self.rate):
            rate = self.window_bytes / max(seconds - self.window_latency, seconds / 4)
            self.rate = (self.rate + rate) / 2 if self.rate else rate
            self.window_from, self.window_latency, self.window_bytes = now, 0.0, 0

    def take_answered(self) -> Request:
        """It has answered what it was asked for first. Returns: what that was."""
        request = self.queue.popleft()
        self.owed -= request.count
        self.choices -= request.is_any
        return request

    def choice_sets(self) -> list[int]:
        """The sets from which it may pick a chunk, one for each request that leaves it the choice."""
        return [request.bits for request in self.queue if request.is_any] if self.choices else []

    # --- how much to ask it for ---

    def has_room(self, at_work: int) -> bool:
        """Whether it should be asked for more than it owes.

        What is on its way covers the time of two requests, and the time that a request takes to be answered: else a
        distant holder, however fast, would give only one request's worth in that time. But where waiting for it costs
        little, because it is near, slow, or one of many at work, one chunk is asked for at a time: what is asked for
        early is chosen without knowing what others get meanwhile.

        Args:
            at_work: how many holders owe something, itself among them.
        """
        if not self.queue:
            return True
        if len(self.queue) < self.limits.requests_ahead and self.latency * self.rate * _FAR >= at_work * self.each:
            return True
        window = self.rate * (2 * self.limits.request_time + self.latency)
        return self.owed * self.each < min(window, 2 * self.limits.max_request)

    def budget(self) -> int:
        """How many chunks one request is for."""
        most = min(self.rate * self.limits.request_time, self.limits.max_request)
        return max(1, int(most) // self.each)

    # --- when it delivers ---

    def patience(self) -> float:
        """How many seconds it may be silent."""
        usual = _STALLED * self.each / self.rate if self.rate else 0.0
        return max(self.limits.end_game_after, usual)

    def is_stalled(self, now: float) -> bool:
        """Whether it owes something that may never come."""
        return bool(self.queue) and (self.busy or now - self.heard > self.patience())

    def soon(self) -> float:
        """In how many seconds it would deliver one chunk more than it owes."""
        return self.latency + (self.owed + 1) * self.each / self.rate if self.rate else self.limits.end_game_after

    def due_in(self, ahead: int, now: float) -> float:
        """In how many seconds it will have delivered a request that ends `ahead` chunks from now.

        One that is late, or that has not delivered anything yet, is reckoned to need as long again.
        """
        expected = self.heard + (ahead * self.each / self.rate if self.rate else 0.0)
        return abs(expected - now)
