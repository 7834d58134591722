"""Taking connections: one task each, none of which can end another."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from osp2p.errors import ListenFailed, LocalProtocolError, Osp2pError
from osp2p.limits import Limits
from osp2p.net.connection import Connection, Listener
from osp2p.net.groups import leaves

logger = logging.getLogger("osp2p.net")


async def serve_connections(
    listener: Listener, handler: Callable[[Connection], Awaitable[None]], limits: Limits
) -> None:
    """Run until cancelled: accept, and run `handler` for each connection in a task of its own.

    A handler that fails with one of our errors, alone or in a group out of a nursery of its own, ends its connection
    quietly. `LocalProtocolError` and any foreign exception are bugs: logged with their traceback, and the connection
    ends all the same. A connection is closed when its handler returns.

    Args:
        listener: closed by the caller. Closed while this runs, no more connections come, and this returns when the
            last handler has.
        handler: need not close its connection.
        limits: `max_connections`, `max_connections_per_host`, `accept_backoff`.

    Cancellation: every connection is closed.

    Source: mini-redis `src/server.rs`.
    """
    sources: Counter[str] = Counter()
    slots = trio.Semaphore(limits.max_connections)

    async def run(connection: Connection, source: str) -> None:
        try:
            await _handle(handler, connection)
        finally:
            connection.close()
            slots.release()
            sources[source] -= 1
            if not sources[source]:
                del sources[source]

    async with trio.open_nursery() as nursery:
        while True:
            await slots.acquire()
            connection = await _accept(listener, limits)
            if connection is None:
                return
            source = source_of(connection.remote.host)
            if sources[source] < limits.max_connections_per_host:
                sources[source] += 1
                nursery.start_soon(run, connection, source)
            else:
                logger.debug("too many connections of %s", source)
                connection.close()
                slots.release()


async def _handle(handler: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
    """Run a handler. Nothing but cancellation and the interpreter's end leaves it.

    Cancellation may come in one group with errors: ``except*`` lets its part of the group through, where a plain
    ``except Exception`` would let the errors through as well, into the server's nursery.
    """
    host = connection.remote.host
    try:
        await handler(connection)
    except* LocalProtocolError:
        logger.exception("connection of %s ended by a fault of this program", host)
    except* Osp2pError as group:
        logger.debug("connection of %s ended: %s", host, "; ".join(str(error) for error in leaves(group)))
    except* Exception:
        logger.exception("connection of %s ended by a fault of this program", host)


async def _accept(listener: Listener, limits: Limits) -> Connection | None:
    """Wait for the next connection. Returns: None once the listener is closed."""
    failing = False
    while True:
        try:
            return await listener.accept()
        except ListenFailed:
            return None
        except OSError as error:
            if not failing:  # once, and not ten times a second for as long as there is nothing left to open
                logger.warning("cannot accept connections for now: %s", error)
            failing = True
            await trio.sleep(limits.accept_backoff)


def source_of(host: str) -> str:
    """Whom a connection counts for: an IPv4 address, or an IPv6 network of 64 bits, all of which one host may use."""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host, 64), strict=False))
