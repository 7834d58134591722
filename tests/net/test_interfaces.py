"""This machine's own addresses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from osp2p.net import interfaces

#: What Linux writes into /proc/net/if_inet6: a lasting address, loopback, link-local, temporary, deprecated, tentative.
LINES = [
    "fd000000000000000000000000000002 04 40 00 80     eth0",
    "00000000000000000000000000000001 01 80 10 80       lo",
    "fe8000000000000000fc00fffe000001 04 40 20 80     eth0",
    "fd000000000000000000000000000003 04 40 00 01     eth0",
    "fd000000000000000000000000000004 04 40 00 a0     eth0",
    "fd000000000000000000000000000005 04 40 00 c0     eth0",
    "20010db8000000000000000000000001 05 40 00 80     eth1",
]


def test_only_lasting_addresses_of_all_machines_count_and_loopback_is_last() -> None:
    assert interfaces._rank(LINES, []) == ["fd00::2", "2001:db8::1", "::1"]


def test_the_one_that_routes_would_use_is_first() -> None:
    assert interfaces._rank(LINES, ["2001:db8::1"]) == ["2001:db8::1", "fd00::2", "::1"]
    assert interfaces._rank(LINES, ["fd00::3"]) == ["fd00::2", "2001:db8::1", "::1"]  # a temporary one


def test_every_interface_is_asked_and_loopback_is_one() -> None:
    assert "127.0.0.1" in interfaces._interface_addresses()


def test_loopback_is_last_wherever_the_kernel_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_default", lambda *_: ["10.0.0.2"])
    monkeypatch.setattr(interfaces, "_interface_addresses", lambda: ["127.0.0.1", "10.0.0.1", "10.0.0.2"])
    assert interfaces.ipv4_addresses() == ["10.0.0.2", "10.0.0.1", "127.0.0.1"]


def test_a_kernel_without_ipv6_has_no_such_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interfaces, "_IF_INET6", tmp_path / "missing")
    assert interfaces.ipv6_addresses() == []


def test_a_machine_without_a_network_has_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "x")

    monkeypatch.setattr("osp2p.net.interfaces.socket.socket.connect", unreachable)
    monkeypatch.setattr("osp2p.net.interfaces.socket.if_nameindex", list)
    assert interfaces.ipv4_addresses() == ["127.0.0.1"]


def test_a_process_without_descriptors_has_the_addresses_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node asks again and again; it must not end, nor tell others that it has moved, since others filled it up."""
    before = interfaces.ipv4_addresses(), interfaces.ipv6_addresses()

    class Closed:
        def __init__(self, *_: object) -> None:
            raise OSError(errno.EMFILE, "too many open files")

        @staticmethod
        def read_text() -> str:
            raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("osp2p.net.interfaces.socket.socket", Closed)
    monkeypatch.setattr(interfaces, "_IF_INET6", Closed)
    assert (interfaces.ipv4_addresses(), interfaces.ipv6_addresses()) == before
