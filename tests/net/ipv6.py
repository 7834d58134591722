"""Whether this machine has IPv6, as the system says, and not our own code."""

from __future__ import annotations

import socket

import pytest


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = _has_ipv6()

needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
