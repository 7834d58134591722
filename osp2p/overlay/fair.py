"""A bounded table of what strangers put here: when it is full, whoever has most of it loses the oldest of it.

So whoever floods it floods out themselves. All entries live equally long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar

Key = TypeVar("Key")
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Entry]):
    owner: str
    expires: float
    entry: Entry


class FairTable(Generic[Key, Entry]):
    """At most `most` entries, `most_per_owner` of one owner, for `lifetime` seconds each."""

    def __init__(self, most: int, most_per_owner: int, lifetime: float) -> None:
        self._most = most
        self._most_per_owner = most_per_owner
        self._lifetime = lifetime
        self._kept: dict[Key, _Kept[Entry]] = {}
        self._owned: dict[str, dict[Key, None]] = {}
        self._ranks: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key, now: float) -> Entry | None:
        """The entry of a key, unless it has expired."""
        kept = self._kept.get(key)
        return kept.entry if kept is not None and kept.expires > now else None

    def owner(self, key: Key) -> str | None:
        """Who put an entry here."""
        kept = self._kept.get(key)
        return kept.owner if kept is not None else None

    def put(self, key: Key, entry: Entry, owner: str, now: float) -> list[Key] | None:
        """Keep an entry, or keep it longer.

        Returns: the keys that were lost for it; None if it was not taken, since its owner has as many as may be.
        """
        lost: list[Key] = []
        if key in self._kept:
            self.remove(key)
        owned = self._owned.get(owner, {})
        if len(owned) >= self._most_per_owner:
            return None
        if len(self._kept) >= self._most:
            greatest = self._greatest()
            if len(owned) + 1 >= len(self._owned[greatest]):
                greatest = owner if owned else greatest
            victim = next(iter(self._owned[greatest]))
            self.remove(victim)
            lost.append(victim)
        self._kept[key] = _Kept(owner, now + self._lifetime, entry)
        owned = self._owned.setdefault(owner, {})
        owned[key] = None
        heappush(self._ranks, (-len(owned), owner))
        if len(self._ranks) > 4 * self._most:
            self._ranks = sorted((-len(keys), name) for name, keys in self._owned.items())
        return lost

    def _greatest(self) -> str:
        """Who has most entries."""
        while True:
            number, owner = self._ranks[0]
            if len(self._owned.get(owner, ())) == -number:
                return owner
            heappop(self._ranks)
            if owner in self._owned and -number > len(self._owned[owner]):
                heappush(self._ranks, (-len(self._owned[owner]), owner))

    def remove(self, key: Key) -> None:
        """Forget an entry."""
        kept = self._kept.pop(key)
        owned = self._owned[kept.owner]
        del owned[key]
        if not owned:
            del self._owned[kept.owner]

    def expire(self, now: float) -> list[Key]:
        """Forget what is too old. Returns: its keys."""
        lost: list[Key] = []
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.expires > now:
                break
            self.remove(key)
            lost.append(key)
        return lost

    def __iter__(self) -> Iterator[Key]:
        return iter(self._kept)
