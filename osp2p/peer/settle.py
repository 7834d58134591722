"""When a file that is being written is offered: pure, the time comes in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from osp2p.content.digest import FileState


@dataclass(slots=True)
class _Moving:
    state: FileState
    still_since: float
    offered_at: float


class Settling:
    """The files that are being written, as far as we can tell from their size and time.

    Such a file is offered once it has held still for a while. If it never does, it is offered now and then, so that a
    log is not kept back for ever.

    Args:
        still_for: seconds without a change after which a file counts as complete.
        at_most_every: seconds between two offers of a file that keeps changing.
    """

    def __init__(self, still_for: float, at_most_every: float) -> None:
        self._still_for = still_for
        self._at_most_every = at_most_every
        self._moving: dict[bytes, _Moving] = {}

    def __len__(self) -> int:
        return len(self._moving)

    def __iter__(self) -> Iterator[bytes]:
        """Their names: each is to be looked at, and told by `see`, again and again."""
        return iter(list(self._moving))

    def __contains__(self, name: bytes) -> bool:
        return name in self._moving

    def see(self, name: bytes, state: FileState, now: float, *, finished: bool) -> bool:
        """Tell what a file looks like now.

        Args:
            finished: its writer has closed it, or it was last changed long ago.

        Returns: whether to offer it now.
        """
        moving = self._moving.get(name)
        if finished:
            self._moving.pop(name, None)
            return True
        if moving is None:
            self._moving[name] = _Moving(state, now, now)
            return False
        if moving.state == state:
            if now - moving.still_since < self._still_for:
                return False
            del self._moving[name]
            return True
        moving.state = state
        moving.still_since = now
        if now - moving.offered_at < self._at_most_every:
            return False
        moving.offered_at = now
        return True

    def forget(self, name: bytes) -> None:
        """It is gone."""
        self._moving.pop(name, None)
