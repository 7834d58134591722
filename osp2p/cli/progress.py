"""How far a fetch of several files is: a pure summary of its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from osp2p.cli.text import count_of, format_rate, format_size
from osp2p.errors import Osp2pError
from osp2p.peer.events import Event, TransferDone, TransferFailed, TransferProgress, TransferStarted


@dataclass(slots=True)
class FileProgress:
    """How far one file is that is being fetched."""

    done: int = 0
    size: int | None = None
    resumed: int = 0
    sources: int = 0


@dataclass(slots=True)
class Progress:
    """How far all of them are.

    Attributes:
        files: how many there are to fetch.
        running: those that have begun and not ended.
        arrived, failures: those that have ended.
        done: bytes that are here, of running and arrived files.
        resumed: bytes of them that an earlier fetch had brought.
        here: files that have arrived because they were here already.
        found: their bytes.
    """

    files: int
    running: dict[bytes, FileProgress] = field(default_factory=dict)
    arrived: int = 0
    failures: list[Osp2pError] = field(default_factory=list)
    done: int = 0
    resumed: int = 0
    here: int = 0
    found: int = 0
    _known: int = 0

    @property
    def ended(self) -> int:
        """How many files have arrived or failed."""
        return self.arrived + len(self.failures)

    @property
    def moved(self) -> int:
        """Bytes that came over the network and are here."""
        return max(self.done - self.resumed - self.found, 0)

    @property
    def size(self) -> int | None:
        """Bytes of all files that did not fail; None while there are files whose size nobody has claimed."""
        sizes_known = self.ended + len(self.running) >= self.files
        return self._known if sizes_known and all(one.size is not None for one in self.running.values()) else None

    @property
    def sources(self) -> int:
        """How many holders give something now; one that gives several files counts for each."""
        return sum(file.sources for file in self.running.values())

    def apply(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, TransferStarted):
            self._resize(self.running.setdefault(event.name, FileProgress()), event.size)
        elif isinstance(event, TransferProgress):
            self._move(self.running.setdefault(event.name, FileProgress()), event)
        elif isinstance(event, TransferDone):
            self._end(event.name, event.size, 0 if event.already else event.resumed)
            self.arrived += 1
            self.here += event.already
            self.found += event.size if event.already else 0
        elif isinstance(event, TransferFailed):
            self._end(event.name, 0, 0)
            self.failures.append(event.error)

    def _move(self, file: FileProgress, event: TransferProgress) -> None:
        self._resize(file, event.size)
        self.done += event.done - file.done
        self.resumed += event.resumed - file.resumed
        file.done, file.resumed, file.sources = event.done, event.resumed, event.sources

    def _resize(self, file: FileProgress, size: int | None) -> None:
        self._known += (size or 0) - (file.size or 0)
        file.size = size

    def _end(self, name: bytes, size: int, resumed: int) -> None:
        file = self.running.pop(name, FileProgress())
        self._resize(file, size)
        self.done += size - file.done
        self.resumed += resumed - file.resumed

    def describe(self, seconds: float) -> str:
        """Write it as one line.

        Args:
            seconds: since the fetch began.
        """
        of = f" of {format_size(self.size)}" if self.size is not None and self.size != self.done else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        here = f", {'all' if self.here == self.files else self.here} here already" if self.here else ""
        rate = f", {format_rate(self.moved, seconds)}" if self.moved else ""
        return f"{self.arrived} of {count_of(self.files, 'file')}{failed}, {format_size(self.done)}{of}{here}{rate}"
