"""What has changed in a library, for its one consumer: a queue that holds each name at most once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import trio

from osp2p.peer.shared import SharedFile


@dataclass(frozen=True, slots=True)
class Offered:
    """A file is offered from now on; `changed`: instead of an earlier state of it. It may have its digests already."""

    file: SharedFile
    changed: bool = False

    @property
    def name(self) -> bytes:
        """Under which it is offered."""
        return self.file.name


@dataclass(frozen=True, slots=True)
class Removed:
    """A name is offered no longer."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Digested:
    """The digests of a file that is offered are known."""

    file: SharedFile

    @property
    def name(self) -> bytes:
        """Under which it is offered."""
        return self.file.name


LibraryChange = Offered | Removed | Digested


class Changes:
    """A queue of changes. What happens to a name before the consumer comes becomes one change, so that a consumer that
    never comes costs no more than the names there are.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, LibraryChange] = {}
        self._event = trio.Event()

    def put(self, changes: Iterable[LibraryChange]) -> None:
        """Add changes, in the order in which they happened."""
        for change in changes:
            earlier = self._waiting.pop(change.name, None)
            merged = change if earlier is None else _merge(earlier, change)
            if merged is not None:
                self._waiting[change.name] = merged
        if self._waiting:
            self._event.set()

    async def take(self) -> list[LibraryChange]:
        """Wait for changes, and take all there are. Cancellation: nothing is lost."""
        while not self._waiting:
            self._event = trio.Event()
            await self._event.wait()
        changes = list(self._waiting.values())
        self._waiting.clear()
        return changes


def _merge(earlier: LibraryChange, later: LibraryChange) -> LibraryChange | None:
    """One change for two of the same name; None where they cancel out."""
    match earlier, later:
        case Offered(changed=False), Removed():
            return None
        case Offered(), Digested(file) | Offered(file):
            return replace(earlier, file=file)
        case Removed(), Offered():
            return replace(later, changed=True)
        case _:
            return later
