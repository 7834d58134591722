"""Taking connections: one task each, none of which can end another."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable

import trio

from osp2p.errors import ListenFailed, LocalProtocolError, Osp2pError
from osp2p.limits import Limits
from osp2p.net.admission import Admission, Visit
from osp2p.net.connection import Connection, Listener
from osp2p.net.groups import leaves

logger = logging.getLogger("osp2p.net")

#: What accept(2) says where one connection less would help.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: How often, in seconds, it is said that nobody new can be taken: who fills a server must not fill its log, too.
_SAID_EVERY = 60.0


async def serve_connections(
    listener: Listener, handler: Callable[[Connection], Awaitable[None]], limits: Limits
) -> None:
    """`serve_visits` for handlers to whom one connection is like another.

    Args:
        limits: those of `Admission`, and `accept_backoff`.
    """

    async def handle(connection: Connection, visit: Visit) -> None:
        await handler(connection)

    await serve_visits(listener, handle, Admission(limits))


async def serve_visits(
    listener: Listener, handler: Callable[[Connection, Visit], Awaitable[None]], admission: Admission
) -> None:
    """Run until cancelled: accept, and run `handler` for each connection in a task of its own.

    A handler that fails with one of our errors, alone or in a group out of a nursery of its own, ends its connection
    quietly. `LocalProtocolError` and any foreign exception are bugs: logged with their traceback, and the connection
    ends all the same. A connection is closed when its handler returns.

    Args:
        listener: closed by the caller. Closed while this runs, no more connections come, and this returns when the
            last handler has.
        handler: need not close its connection. It is cancelled when its visit has to make room.
        admission: who may come in; several servers may share one.

    Cancellation: every connection is closed.

    Source: mini-redis `src/server.rs`.
    """
    door = _Door(listener, admission)

    async def run(visit: Visit) -> None:
        try:
            with visit.scope:
                await _handle(handler, visit)
        finally:
            visit.connection.close()
            admission.leave(visit)

    async with trio.open_nursery() as nursery:
        while (connection := await door.accept()) is not None:
            visit = admission.enter(connection)
            if visit is None:
                connection.close()
                door.say("no room for %s: everybody here is registered or being served", connection.remote.host)
            else:
                nursery.start_soon(run, visit)


async def _handle(handler: Callable[[Connection, Visit], Awaitable[None]], visit: Visit) -> None:
    """Run a handler. Nothing but cancellation and the interpreter's end leaves it.

    Cancellation may come in one group with errors: ``except*`` lets its part of the group through, where a plain
    ``except Exception`` would let the errors through as well, into the server's nursery.
    """
    host = visit.connection.remote.host
    try:
        await handler(visit.connection, visit)
    except* LocalProtocolError:
        logger.exception("connection of %s ended by a fault of this program", host)
    except* Osp2pError as group:
        logger.debug("connection of %s ended: %s", host, "; ".join(str(error) for error in leaves(group)))
    except* Exception:
        logger.exception("connection of %s ended by a fault of this program", host)


class _Door:
    """Accepts, whatever accept(2) says, and tells the log now and then that it cannot."""

    def __init__(self, listener: Listener, admission: Admission) -> None:
        self._listener = listener
        self._admission = admission
        self._silent_until = float("-inf")

    async def accept(self) -> Connection | None:
        """Wait for the next connection. Returns: None once the listener is closed.

        Where there is a shortage of descriptors or memory, a stranger is sent away. If that does not help at once,
        somebody else takes what becomes free, and there is a pause before the next attempt.
        """
        failures = 0
        while True:
            try:
                return await self._listener.accept()
            except ListenFailed:
                return None
            except OSError as error:
                failures += 1
                if failures > 1 or error.errno not in _SHORTAGES or not self._admission.make_room():
                    self.say("cannot accept connections for now: %s", error)
                    await trio.sleep(self._admission.limits.accept_backoff)

    def say(self, text: str, what: object) -> None:
        """Write to the log, unless something was written a short time ago."""
        now = trio.current_time()
        level = logging.DEBUG if now < self._silent_until else logging.WARNING
        if level == logging.WARNING:
            self._silent_until = now + _SAID_EVERY
        logger.log(level, text, what)
