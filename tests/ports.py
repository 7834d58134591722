"""Ports for programs that are told where to listen."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Where the kernel of no usual system takes ports for connections from, and few servers are.
_PORTS = range(20_000, 30_000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, and that the kernel gives to nobody else."""
    free: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(free) == count:
            return free
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("0.0.0.0", port))
            free.append(port)
    raise AssertionError("no port is free")
