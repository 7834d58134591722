"""Which calls have been taken already, so that nobody who heard one can have it carried out again.

A call names the time at which it was made, and an id. It is taken only while its time is near ours, and its caller
and id are remembered for as long as it could come again. A repetition names the same time, since that is signed too:
only the calls of that time need to be looked through, and whole times are forgotten at once.

After a start, whatever was made before it is refused: it may have been taken by the process before this one. (By the
caller's clock, that is: what one that is ahead made just before the start cannot be told from later calls.) A clock
that is put back by more than the window counts as a start.
"""

from __future__ import annotations

from collections import Counter

from osp2p.limits import Limits

#: Milliseconds of calls that are forgotten together.
_SLOT_MS = 1000


class Stale(Exception):
    """A call was made too long ago, or after now. Its text says which."""


class Replayed(Exception):
    """A call was taken before."""


class Full(Exception):
    """Nothing more can be remembered for now.

    Attributes:
        retry_ms: after how many milliseconds something will have been forgotten.
    """

    def __init__(self, retry_ms: int) -> None:
        super().__init__(retry_ms)
        self.retry_ms = retry_ms


class ReplayGuard:
    """Remembers calls. Times are milliseconds since 1970.

    Args:
        limits: `call_window`, `max_remembered_calls`, `max_remembered_share`.
        started: now.
    """

    def __init__(self, limits: Limits, started: int) -> None:
        self._window = int(limits.call_window * 1000)
        self._most = limits.max_remembered_calls
        self._most_of_one = int(self._most * limits.max_remembered_share)
        self._slots: dict[int, dict[bytes, str]] = {}
        self._sources: Counter[str] = Counter()
        self._count = 0
        self._oldest = self._latest = started
        self._first_slot = started // _SLOT_MS

    def __len__(self) -> int:
        """How many calls are remembered."""
        return self._count

    def check_time(self, time: int, now: int) -> None:
        """Raise Stale unless a call that was made at `time` may be taken `now`."""
        self._forget(now)
        if time < self._oldest:
            raise Stale("the call is too old, or older than this node's start")
        if time > now + self._window:
            raise Stale("the call comes from the future: one of the two clocks is wrong")

    def take(self, sender: str, nonce: bytes, time: int, now: int, source: str) -> None:
        """Take a call, whose signature holds, or refuse it.

        Args:
            source: whom the memory that it takes is counted for.

        Raises:
            Stale, Replayed, Full.
        """
        self.check_time(time, now)
        slot = self._slots.get(time // _SLOT_MS, {})
        call = bytes.fromhex(sender) + nonce
        if call in slot:
            raise Replayed
        if self._count >= self._most or self._sources[source] >= self._most_of_one:
            raise Full(self._until_room(now))
        self._slots[time // _SLOT_MS] = slot
        slot[call] = source
        self._sources[source] += 1
        self._count += 1

    def _forget(self, now: int) -> None:
        """Forget what is too old to be taken again."""
        if now < self._latest - self._window:
            self._oldest = self._latest = now
        self._latest = max(self._latest, now)
        self._oldest = max(self._oldest, now - self._window)
        first, self._first_slot = self._first_slot, self._oldest // _SLOT_MS
        if first == self._first_slot:
            return
        for number in [number for number in self._slots if number < self._first_slot]:
            forgotten = self._slots.pop(number)
            self._count -= len(forgotten)
            self._sources -= Counter(forgotten.values())

    def _until_room(self, now: int) -> int:
        """Milliseconds until the oldest calls are forgotten; where there are none, until one of now would be."""
        oldest = min(self._slots, default=now // _SLOT_MS)
        return max(1, (oldest + 1) * _SLOT_MS + self._window - now)
