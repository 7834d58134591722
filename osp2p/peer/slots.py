"""How many uploads may run, and who gives way when all places are taken."""

from __future__ import annotations

from types import TracebackType

import trio

from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.net.admission import source_of
from osp2p.net.lane import Lane


class UploadSlots:
    """Counts the uploads that run, altogether and for each source: an address, or a network of IPv6.

    When all slots are taken, a source with few uploads still gets one: the source that has most loses the upload that
    it began last, if that leaves it no fewer than the newcomer has then. So downloaders that take their bytes as slowly
    as they may keep nobody out, unless they come from as many addresses as there are slots.

    Args:
        limits: `max_uploads`, `max_uploads_per_host`; those of `Lane`.

    Attributes:
        running: how many uploads there are.
        lane: where long lists wait for each other.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: The uploads of each source, the one that began last at the end.
        self._sources: dict[str, dict[_Upload, None]] = {}
        self.running = 0
        self.lane = Lane(limits)
        self._last_used = float("-inf")

    def idle_at(self, now: float) -> float:
        """When nobody counts as being served any more, if nothing happens until then: `served_grace` after the last."""
        return now + self._limits.served_grace if self.running else self._last_used + self._limits.served_grace

    def slot(self, host: str, visit: Visit | None = None) -> _Slot:
        """Hold a slot for the body of a ``with``. Yields: False where there is none left, and the body must refuse.

        Args:
            host: where the downloader is.
            visit: busy meanwhile, and dismissed if the upload has to give way; None: nobody takes the slot away.
        """
        return _Slot(self, _Upload(source_of(host), visit))

    def _take(self, upload: _Upload) -> bool:
        """Count an upload, if there is a slot for it."""
        own = len(self._sources.get(upload.source, ()))
        if own >= self._limits.max_uploads_per_host or not self._has_room(own):
            return False
        self.running += 1
        self._sources.setdefault(upload.source, {})[upload] = None
        upload.set_busy(True)
        return True

    def _give_back(self, upload: _Upload) -> None:
        self._last_used = trio.current_time()
        upload.set_busy(False)
        self._forget(upload)

    def _has_room(self, own: int) -> bool:
        """Whether there is a slot for a source that has `own` of them; one may be taken away for it."""
        if self.running < self._limits.max_uploads:
            return True
        most = max(self._sources.values(), key=len, default={})
        if len(most) < own + 2:
            return False
        last = next(reversed(most))
        if last.visit is None:
            return False
        self._forget(last)
        last.visit.dismiss()
        return True

    def _forget(self, upload: _Upload) -> None:
        own = self._sources.get(upload.source)
        if own is not None and upload in own:
            self.running -= 1
            del own[upload]
            if not own:
                del self._sources[upload.source]


class _Slot:
    """A slot that is taken while the body of a ``with`` runs. A class, as a generator would cost twice as much."""

    __slots__ = ("_slots", "_taken", "_upload")

    def __init__(self, slots: UploadSlots, upload: _Upload) -> None:
        self._slots = slots
        self._upload = upload
        self._taken = False

    def __enter__(self) -> bool:
        self._taken = self._slots._take(self._upload)
        return self._taken

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._taken:
            self._slots._give_back(self._upload)


class _Upload:
    """One slot that is taken."""

    __slots__ = ("source", "visit")

    def __init__(self, source: str, visit: Visit | None) -> None:
        self.source = source
        self.visit = visit

    def set_busy(self, busy: bool) -> None:
        if self.visit is not None:
            self.visit.busy = busy
