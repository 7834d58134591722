"""Links of hosts in the memory network: rates and latency, so that simulations in virtual time have bottlenecks.

A host has one link, which all its connections share in each direction. Bytes leave it in blocks, one after the other,
the connections in turn; after the latencies of both ends they queue for the other host's link. Nothing is lost: who
sends too much waits, because a connection holds only so many bytes. What is small leaves in its turn too, but neither
does its sender wait for that, whom a socket's buffer would spare the wait, nor does it queue at the other end.
"""

from __future__ import annotations

#: Bytes of one block: small enough for connections to share a link, large enough for a simulation to be quick.
BLOCK_BYTES = 32768

#: Bytes of what is small: requests, and answers without a body.
SMALL_BYTES = 4096


class Lane:
    """One direction of a link.

    Args:
        rate: bytes per second; None for no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0
        #: Bytes that went over it.
        self.carried = 0

    def carry(self, count: int, at: float) -> float:
        """Let a block begin at the time `at`, or when those before it are through. Returns: when it is through."""
        self.carried += count
        if self._rate is None:
            return at
        self._free_at = max(self._free_at, at) + count / self._rate
        return self._free_at


class Link:
    """How a host is connected.

    Args:
        up: bytes per second that leave it; None for no limit.
        down: bytes per second that reach it; None for no limit.
        latency: seconds between it and the network's middle.
    """

    def __init__(self, up: float | None = None, down: float | None = None, latency: float = 0.0) -> None:
        self.up = Lane(up)
        self.down = Lane(down)
        self.latency = latency


class Path:
    """From one host to another.

    Args:
        source: the link over which bytes leave.
        target: the link over which they arrive.
    """

    def __init__(self, source: Link, target: Link) -> None:
        self.up = source.up
        self.down = target.down
        self.latency = source.latency + target.latency
