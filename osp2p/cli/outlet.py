"""A stream of output that holds nobody up: where its reader does not read, what is written waits here.

Whoever serves others prints beside that. A pipe that nobody reads, or a terminal that was stopped, takes no bytes, and
a write would wait for ever; with it would wait everybody who is being served. So what the reader takes at once is
written at once, and the rest by a thread, which is there only as long as something waits.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable

#: Most bytes of what may be lost that wait for a reader: some 100,000 records.
MOST_WAITING = 32 << 20

#: What a pipe takes without waiting if it takes anything. Source: Linux, a page.
_PIPE_PIECE = 4096

#: The same of a socket: less than what it calls room.
_SOCKET_PIECE = 512

#: Most bytes that the thread writes at a time.
_THREAD_PIECE = 64 << 10


class Outlet:
    """One stream.

    Args:
        fd: its descriptor. Nobody else writes to it meanwhile.
        gap: what to write where so many lines were lost.
    """

    def __init__(self, fd: int, gap: Callable[[int], bytes]) -> None:
        #: The descriptor.
        self.fd = fd
        self._gap = gap
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._lost = 0
        self._error: OSError | None = None
        self._is_running = False
        self._changed = threading.Condition()
        mode = os.fstat(fd).st_mode
        #: How many bytes are written at a time without waiting for a reader; None: there is no reader to wait for.
        self._piece: int | None = _PIPE_PIECE if stat.S_ISFIFO(mode) else _SOCKET_PIECE
        self._is_terminal = os.isatty(fd)
        if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not self._is_terminal):
            self._piece = None

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the reader."""
        return self._waiting > 0

    def write(self, data: bytes) -> None:
        """Write bytes, behind all that waits, and behind the count of lines that were lost. Nothing of them is.

        Raises:
            OSError: they, or earlier ones, cannot be written.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._lost:
                data, self._lost = self._gap(self._lost) + data, 0
            rest = data if self._waiting else self._write_now(data)
            if rest:
                self._queue.append(rest)
                self._waiting += len(rest)
                if not self._is_running:
                    self._is_running = True
                    threading.Thread(target=self._run, name="outlet", daemon=True).start()

    def offer(self, data: bytes, lines: int) -> None:
        """Write lines that may be lost, if too much waits already. What is written next stands behind their number.

        Raises:
            OSError: as `write`.
        """
        with self._changed:
            if self._waiting + len(data) > MOST_WAITING:
                self._lost += lines
                return
        self.write(data)

    def drain(self, patience: float | None = None) -> None:
        """Wait until all is written.

        Args:
            patience: after so many seconds without a reader the rest is given up; None: never.

        Raises:
            OSError: it cannot be written.
        """
        self.write(b"")
        with self._changed:
            while self._waiting and self._error is None:
                before = self._waiting
                self._changed.wait(patience)
                if self._waiting == before:
                    return
            if self._error is not None:
                raise self._error

    def _write_now(self, data: bytes) -> bytes:
        """Write what is taken at once. Returns: the rest."""
        if self._is_terminal:
            return self._write_to_terminal(data)
        rest = memoryview(data)
        if self._piece is None:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
            return b""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        while rest and poll.poll(0):
            rest = rest[os.write(self.fd, rest[: self._piece]) :]
        return bytes(rest)

    def _write_to_terminal(self, data: bytes) -> bytes:
        """The same on a terminal, which is opened once more for it; where that is not allowed, the thread writes all.

        A terminal that has room for one byte is said to be writable, and whoever writes more there waits for all of it.
        The descriptor that we were given is not set to do otherwise: others, the shell among them, have it too.
        """
        rest = memoryview(data)
        try:
            fd = os.open(os.ttyname(self.fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # as behind su(1), where it is somebody else's
            return data
        try:
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            return bytes(rest)
        finally:
            os.close(fd)
        return b""

    def _run(self) -> None:
        """Write what waits, until nothing does."""
        while True:
            with self._changed:
                if not self._queue:
                    self._is_running = False
                    return
                data = self._queue.popleft()
            rest = memoryview(data)
            try:
                while rest:
                    written = os.write(self.fd, rest[:_THREAD_PIECE])
                    rest = rest[written:]
                    with self._changed:
                        self._waiting -= written
                        self._changed.notify_all()
            except OSError as error:
                with self._changed:
                    self._error = error
                    self._queue.clear()
                    self._waiting = 0
                    self._is_running = False
                    self._changed.notify_all()
                return
