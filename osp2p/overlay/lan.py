"""Nodes on the same local network, found by multicast DNS: the optional extra ``lan``.

A node says ``_osp2p._udp.local.`` with its port and, as ``net``, the network that it belongs to. Whatever anybody on
the local network says there is an address to try, and nothing more.

Source: RFC 6762 and RFC 6763, by way of the library zeroconf, which has a thread of its own.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import trio

from osp2p.errors import MalformedLine
from osp2p.limits import Limits
from osp2p.net.interfaces import ipv4_addresses
from osp2p.wire.address import Address, parse_address

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf

logger = logging.getLogger("osp2p.overlay")

_SERVICE = "_osp2p._udp.local."

#: How long one that has said its name has for saying where it is, and how long the thread has for its end.
_INFO_MILLISECONDS = 2000
_CLOSE_SECONDS = 2.0


def is_available() -> bool:
    """Whether the library is there."""
    return find_spec("zeroconf") is not None


async def find_on_lan(
    tag: str,
    name: str,
    port: int | None,
    interfaces: Sequence[str],
    limits: Limits,
    join: Callable[[Iterable[Address]], None],
) -> None:
    """Find nodes on the local network, and be found, until cancelled.

    Args:
        tag: names the overlay's network: others of it are joined.
        name: this node's, which nobody else has.
        port: where it is; None: it only looks.
        interfaces: addresses of this machine; none: all of them.
        join: takes where nodes are said to be.
    """
    from zeroconf import Error, InterfaceChoice, IPVersion, ServiceBrowser, ServiceInfo, Zeroconf

    token = trio.lowlevel.current_trio_token()
    send, receive = trio.open_memory_channel[str](limits.max_lan_nodes)

    def note(name: str) -> None:
        try:
            send.send_nowait(name)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change.name == "Added":
            token.run_sync_soon(note, name)

    def start() -> Zeroconf:
        where = list(interfaces) if interfaces else InterfaceChoice.All
        zeroconf = Zeroconf(interfaces=where, ip_version=IPVersion.V4Only)
        try:
            ServiceBrowser(zeroconf, _SERVICE, handlers=[changed])
            if port is not None:
                hosts = list(interfaces) or [host for host in ipv4_addresses() if not host.startswith("127.")]
                info = ServiceInfo(
                    _SERVICE,
                    f"{name}.{_SERVICE}",
                    addresses=[socket.inet_aton(host) for host in hosts],
                    port=port,
                    properties={"net": tag},
                )
                zeroconf.register_service(info, cooperating_responders=True)
        except BaseException:
            zeroconf.close()
            raise
        return zeroconf

    def where_is(other: str) -> ServiceInfo | None:
        try:
            return zeroconf.get_service_info(_SERVICE, other, _INFO_MILLISECONDS)
        except Error as error:  # what somebody says there can be the name of nothing
            logger.debug("not a node on the local network: %r: %s", other, error)
            return None

    try:
        zeroconf = await trio.to_thread.run_sync(start)
    except (OSError, Error) as error:
        logger.warning("nobody is looked for on the local network: %s", error)
        return
    seen: set[Address] = set()
    try:
        async for other in receive:
            if not other.startswith(f"{name}.") and len(seen) < limits.max_lan_nodes:
                info = await trio.to_thread.run_sync(where_is, other, abandon_on_cancel=True)
                new = [address for address in addresses_of(info, tag) if address not in seen]
                seen.update(new)
                join(new)
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await trio.to_thread.run_sync(zeroconf.close, abandon_on_cancel=True)


def addresses_of(info: ServiceInfo | None, tag: str) -> list[Address]:
    """Where a node of our network says that it is: nowhere, if it is of another one, or says nothing that can be."""
    if info is None or info.port is None or info.properties.get(b"net") != tag.encode():
        return []
    found: list[Address] = []
    for host in info.parsed_addresses()[:8]:
        try:
            found.append(parse_address(f"{host}:{info.port}".encode()))
        except MalformedLine:
            continue
    return found
