"""Taking connections: one task each, none of which can end another."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from osp2p.errors import Osp2pError
from osp2p.limits import Limits
from osp2p.net.connection import Connection, Listener

logger = logging.getLogger("osp2p.net")


async def serve_connections(
    listener: Listener, handler: Callable[[Connection], Awaitable[None]], limits: Limits
) -> None:
    """Run until cancelled: accept, and run `handler` for each connection in a task of its own.

    A handler that fails with one of our errors ends its connection quietly; any other exception is a bug, is logged
    with its traceback, and ends its connection all the same. A connection is closed when its handler returns.

    Args:
        listener: closed by the caller.
        handler: need not close its connection.
        limits: `max_connections`, `max_connections_per_host`, `accept_backoff`.

    Source: mini-redis `src/server.rs`.
    """
    hosts: Counter[str] = Counter()
    slots = trio.Semaphore(limits.max_connections)

    async def run(connection: Connection) -> None:
        host = connection.remote.host
        try:
            await handler(connection)
        except Osp2pError as error:
            logger.debug("connection of %s ended: %s", host, error)
        except Exception:
            logger.exception("connection of %s ended by a fault of this program", host)
        finally:
            connection.close()
            slots.release()
            hosts[host] -= 1
            if not hosts[host]:
                del hosts[host]

    async with trio.open_nursery() as nursery:
        while True:
            await slots.acquire()
            connection = await _accept(listener, hosts, limits)
            hosts[connection.remote.host] += 1
            nursery.start_soon(run, connection)


async def _accept(listener: Listener, hosts: Counter[str], limits: Limits) -> Connection:
    """Wait for the next connection whose address has not got too many already."""
    while True:
        try:
            connection = await listener.accept()
        except OSError as error:
            logger.warning("cannot accept a connection: %s", error)
            await trio.sleep(limits.accept_backoff)
        except Osp2pError as error:  # gone again before it could be asked for its address
            logger.debug("a connection ended before it began: %s", error)
        else:
            if hosts[connection.remote.host] < limits.max_connections_per_host:
                return connection
            logger.debug("too many connections of %s", connection.remote.host)
            connection.close()
