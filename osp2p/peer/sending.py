"""Sending file bytes: as fast as the kernel takes them, and no slower than a stranger may make it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from osp2p.errors import ConnectionLost, SourceChanged
from osp2p.limits import Limits
from osp2p.net import Connection
from osp2p.net.throttle import OwnTime


class Sender:
    """Sends ranges of open files.

    Args:
        limits: `min_upload_rate`, `upload_rate_window`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def send_range(
        self, connection: Connection, fd: int, offset: int, count: int, note: Callable[[int], None] | None = None
    ) -> None:
        """Send `count` bytes from `offset`.

        Args:
            note: called with the number of bytes whenever some have gone.

        Raises:
            SourceChanged: the file ended early.
            ConnectionLost: the other side is gone, or takes less than the least rate, though our own limit allows more.
        """
        least = self._limits.min_upload_rate * self._limits.upload_rate_window
        sent = window_sent = 0
        with trio.move_on_after(self._limits.upload_rate_window) as window, OwnTime(connection, window):
            while sent < count:
                moved = await connection.send_file_some(fd, offset + sent, count - sent)
                if moved == 0:
                    raise SourceChanged("a shared file became shorter while it was being sent")
                sent += moved
                if note is not None:
                    note(moved)
                if sent - window_sent >= least:
                    window_sent = sent
                    window.deadline = trio.current_time() + self._limits.upload_rate_window
        if window.cancelled_caught:
            raise ConnectionLost(f"{connection.remote}: takes less than {self._limits.min_upload_rate:.0f} bytes/s")
