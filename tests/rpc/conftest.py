"""Four hosts of a network in memory, and what each sees of one directory."""

from __future__ import annotations

import pytest

from osp2p.net import MemoryNetwork
from osp2p.rpc.directory import MemoryDirectory

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")


@pytest.fixture
def networks() -> list[MemoryNetwork]:
    first = MemoryNetwork(HOSTS[0])
    return [first, *(first.host(host) for host in HOSTS[1:])]


@pytest.fixture
def directories() -> list[MemoryDirectory]:
    first = MemoryDirectory(HOSTS[0])
    return [first, *(first.host(host) for host in HOSTS[1:])]
