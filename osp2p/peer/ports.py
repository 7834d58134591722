"""The ports of a node: TCP for files, for both address families, and UDP for the overlay, all of one number."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from osp2p.errors import ListenFailed
from osp2p.net import Listener, Network

#: The first port that a peer tries to listen on. Source: the 2007 peer.
FIRST_PORT = 11112

#: How many ports it tries.
PORTS_TRIED = 500


async def open_ports(
    network: Network, port: int | None, beside: Callable[[int], Awaitable[None]] | None
) -> list[Listener]:
    """Open a port, or the first free one from 11112 on; the same for IPv6, where there is IPv6.

    Args:
        port: None: the first free one.
        beside: opens what must have the same number, and raises ListenFailed where that is not free.

    Returns: listeners, IPv4 first.

    Raises:
        ListenFailed: the port, or every one, is taken.
    """
    if port is not None:
        return await _open(network, port, beside)
    for number in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED - 1):
        with contextlib.suppress(ListenFailed):
            return await _open(network, number, beside)
    return await _open(network, FIRST_PORT + PORTS_TRIED - 1, beside)


async def _open(network: Network, port: int, beside: Callable[[int], Awaitable[None]] | None) -> list[Listener]:
    opened = [await network.listen(port)]
    number = opened[0].address.port
    try:
        with contextlib.suppress(ListenFailed):
            opened.append(await network.listen(number, "::"))
        if beside is not None:
            await beside(number)
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened
