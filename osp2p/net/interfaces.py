"""This machine's own addresses, as the kernel lists them (Linux)."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

#: ioctl(2) that asks for an interface's IPv4 address. Source: netdevice(7).
_SIOCGIFADDR = 0x8915

#: One line for each IPv6 address: 32 hex digits, interface, prefix length, scope, flags, interface's name.
_IF_INET6 = Path("/proc/net/if_inet6")

#: Scopes and flags in it. Source: Linux, include/net/ipv6.h and include/uapi/linux/if_addr.h.
_SCOPE_GLOBAL = 0x00
_TEMPORARY, _DADFAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40

#: Addresses that nobody has (TEST-NET-1, and the IPv6 documentation prefix): the routing table is asked about them.
_ANYBODY_IPV4 = ("192.0.2.1", 9)
_ANYBODY_IPV6 = ("2001:db8::1", 9)


#: What was found last. A process that has no file descriptor left to ask with has the same addresses as before.
_last_ipv4 = ["127.0.0.1"]
_last_ipv6: list[str] = []


def ipv4_addresses() -> list[str]:
    """This machine's IPv4 addresses, the one that other machines most likely reach first, loopback last."""
    try:
        found = _interface_addresses()
    except OSError:
        return list(_last_ipv4)
    outside = [host for host in found if not host.startswith("127.")]
    _last_ipv4[:] = dict.fromkeys([*_default(socket.AF_INET, _ANYBODY_IPV4), *outside, *found, "127.0.0.1"])
    return list(_last_ipv4)


def ipv6_addresses() -> list[str]:
    """This machine's lasting IPv6 addresses that other machines can reach, the likeliest first, ::1 last.

    Returns: empty where the machine has no IPv6. Link-local addresses mean nothing without a zone, and temporary ones
        (RFC 8981) go away: neither is listed.
    """
    try:
        lines = _IF_INET6.read_text().splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
    except OSError:
        return list(_last_ipv6)
    _last_ipv6[:] = _rank(lines, _default(socket.AF_INET6, _ANYBODY_IPV6))
    return list(_last_ipv6)


def _rank(lines: list[str], default: list[str]) -> list[str]:
    """What `ipv6_addresses` makes of the kernel's lines and of the address that the routing table chose."""
    outside: list[str] = []
    loopback: list[str] = []
    for line in lines:
        digits, _, _, scope, flags, _ = line.split()
        host = str(ipaddress.IPv6Address(bytes.fromhex(digits)))
        if host == "::1":
            loopback = [host]
        elif int(scope, 16) == _SCOPE_GLOBAL and not int(flags, 16) & (
            _TEMPORARY | _DADFAILED | _DEPRECATED | _TENTATIVE
        ):
            outside.append(host)
    first = [host for host in default if host in outside]
    return list(dict.fromkeys([*first, *outside, *loopback]))


def _default(family: socket.AddressFamily, anybody: tuple[str, int]) -> list[str]:
    """The address that the routing table would use, if any: a UDP connect sends nothing, it only asks."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(anybody)
            return [probe.getsockname()[0]]
    except OSError:  # no such family, or no route
        return []


def _interface_addresses() -> list[str]:
    """Each interface's IPv4 address. Raises: OSError."""
    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # an interface without an IPv4 address
                continue
            addresses.append(socket.inet_ntoa(answer[20:24]))
    return addresses
