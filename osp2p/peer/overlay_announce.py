"""Keeping the overlay told of what this peer shares: that it does, and each file by its name and by its content.

Whoever shares more announces the first so many, and itself under one key for those with many files, where all who look
for a name ask too. A lookup and eight announcements for each of 100,000 names, again and again, would be more packets
than any node should send or its neighbours should bear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from osp2p.limits import Limits
from osp2p.overlay.keys import content_key, many_key, name_key, sharers_key
from osp2p.overlay.node import Overlay
from osp2p.peer.announce import Announcement
from osp2p.wire.address import Address


class OverlayAnnouncer:
    """Tells the overlay. See `Told`.

    Args:
        port: where this peer serves.
        own: where it listens, as others may tell it.
    """

    def __init__(self, overlay: Overlay, port: int, own: Callable[[], set[Address]], limits: Limits) -> None:
        self._overlay = overlay
        self._port = port
        self._own = own
        self._limits = limits
        self._offered: dict[bytes, Announcement] = {}
        self._published: dict[bytes, list[bytes]] = {}
        #: Names for which there is no room.
        self._waiting: dict[bytes, None] = {}
        #: How many names announce a key: several may have one content.
        self._uses: dict[bytes, int] = {}
        #: What is announced of this peer as a whole.
        self._general: set[bytes] = set()

    def addresses(self) -> set[Address]:
        """See `Told`."""
        return self._own()

    def offer(self, names: Iterable[tuple[bytes, Announcement]]) -> None:
        """See `Told`."""
        for name, announcement in names:
            self._offered[name] = announcement
            self._publish(name)
        self._note_number()

    def withdraw(self, names: Iterable[bytes]) -> None:
        """See `Told`."""
        for name in names:
            if self._offered.pop(name, None) is None:
                continue
            self._waiting.pop(name, None)
            keys = self._published.pop(name, None)
            if keys is not None:
                self._release(keys)
                self._make_room_useful()
        self._note_number()

    def _keys(self, name: bytes, announcement: Announcement) -> list[bytes]:
        """Under which keys a file is announced: one that is still being fetched under its content alone."""
        network = self._overlay.network
        keys = [] if announcement.partial else [name_key(network, name)]
        if announcement.b3 is not None:
            keys.append(content_key(network, announcement.b3))
        return keys

    def _publish(self, name: bytes) -> None:
        old = self._published.get(name)
        if old is None and len(self._published) >= self._limits.max_announced_files:
            self._waiting[name] = None
            return
        self._waiting.pop(name, None)
        new = self._published[name] = self._keys(name, self._offered[name])
        for key in new:
            self._uses[key] = self._uses.get(key, 0) + 1
        self._overlay.publish(new, self._port)
        self._release(old or [])

    def _release(self, keys: Iterable[bytes]) -> None:
        unused = []
        for key in keys:
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._uses[key]
                unused.append(key)
        self._overlay.withdraw(unused)

    def _make_room_useful(self) -> None:
        """Announce one more of those that found no room."""
        waiting = next(iter(self._waiting), None)
        if waiting is not None:
            self._publish(waiting)

    def _note_number(self) -> None:
        """Announce this peer as a whole: as one who shares, and perhaps as one who shares much."""
        network = self._overlay.network
        whole = any(not announcement.partial for announcement in self._offered.values())
        for key, holds in (
            (sharers_key(network), whole),
            (many_key(network), len(self._offered) > self._limits.max_announced_files),
        ):
            if holds and key not in self._general:
                self._general.add(key)
                self._overlay.publish([key], self._port)
            elif not holds and key in self._general:
                self._general.discard(key)
                self._overlay.withdraw([key])

    async def wait_first_round(self) -> None:
        """See `Told`. The overlay holds nobody up: what is shared is announced when there is somebody to tell."""

    async def wait_settled(self) -> None:
        """See `Told`."""
