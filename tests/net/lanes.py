"""How often each address had its turn on a lane."""

from __future__ import annotations

from collections import Counter

import pytest

from osp2p.net.lane import Lane, Making


def count_turns(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the turns of all lanes from now on. Returns: them, by address."""
    turns: Counter[str] = Counter()
    make = Lane.make

    async def counted(lane: Lane, source: str, making: Making) -> bytes:
        turns[source] += 1
        return await make(lane, source, making)

    monkeypatch.setattr(Lane, "make", counted)
    return turns
