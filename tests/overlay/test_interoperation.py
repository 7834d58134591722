"""Our nodes and programs that nobody here wrote: libtorrent, and aria2 where it is installed.

aria2 announces itself after some seconds in which nothing happens; with OSP2P_LONG=1 that is waited for.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from osp2p.overlay.item import ImmutableItem, MutableItem, mutable_target, public_bytes, sign_item
from osp2p.overlay.node import Overlay, OverlayOptions, open_overlay
from osp2p.wire.address import Address

libtorrent = pytest.importorskip("libtorrent")

#: How long another program may take.
PATIENCE = 40

Nodes = tuple[Overlay, Overlay]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """Two nodes of ours that speak to BitTorrent's, on loopback, in no public network."""
    options = OverlayOptions(mainline=True)
    async with open_overlay(options) as one, open_overlay(options) as two:
        two.join([Address("127.0.0.1", one.port)])
        await two.wait_connected(PATIENCE)
        yield one, two


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another program brings about."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.02)


class Session:
    """A node of libtorrent that knows one of ours."""

    def __init__(self, node: Overlay) -> None:
        categories = libtorrent.alert.category_t
        self.session = libtorrent.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": True,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "dht_restrict_routing_ips": False,
                "dht_restrict_search_ips": False,
                "dht_ignore_dark_internet": False,
                "dht_prefer_verified_node_ids": False,
                "dht_bootstrap_nodes": f"127.0.0.1:{node.port}",
                "alert_mask": categories.dht_notification | categories.dht_operation_notification,
            }
        )

    async def wait_for(self, kind: type) -> Any:
        """Wait for one of its alerts."""
        found: list[Any] = []

        def look() -> bool:
            found.extend(alert for alert in self.session.pop_alerts() if isinstance(alert, kind))
            return bool(found)

        await until(look)
        return found[0]


@pytest.fixture
async def session(nodes: Nodes) -> Session:
    """One that has joined, and that our nodes know."""
    session = Session(nodes[0])
    await session.wait_for(libtorrent.dht_bootstrap_alert)
    await until(lambda: all(node.status().neighbours == 2 for node in nodes))
    return session


async def test_peers_both_ways(nodes: Nodes, session: Session) -> None:
    one, two = nodes
    ours, theirs = random.randbytes(20), random.randbytes(20)
    assert await two.announce(ours, 4242) == 2
    session.session.dht_get_peers(libtorrent.sha1_hash(ours))
    reply = await session.wait_for(libtorrent.dht_get_peers_reply_alert)
    assert reply.peers() == [("127.0.0.1", 4242)]
    session.session.dht_announce(libtorrent.sha1_hash(theirs), 5151, 0)
    await until(lambda: one.status().stored_peers == 2)  # beside the one that is ours
    assert await two.find_peers(theirs) == [Address("127.0.0.1", 5151)]


async def test_immutable_items_both_ways(nodes: Nodes, session: Session) -> None:
    one, two = nodes
    item = ImmutableItem(b"kept by both")
    assert await one.put_item(item) == 2
    session.session.dht_get_immutable_item(libtorrent.sha1_hash(item.target))
    assert (await session.wait_for(libtorrent.dht_immutable_item_alert)).item == item.value
    target = session.session.dht_put_immutable_item(b"theirs").to_bytes()
    await session.wait_for(libtorrent.dht_put_alert)
    assert await two.get_item(target) == ImmutableItem(b"theirs")


async def test_signed_items_both_ways(nodes: Nodes, session: Session) -> None:
    one, two = nodes
    ours = Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
    assert await one.put_item(sign_item(ours, b"ours", 7, b"osp2p")) == 2
    session.session.dht_get_mutable_item(public_bytes(ours), b"osp2p")
    reply = await session.wait_for(libtorrent.dht_mutable_item_alert)
    assert (reply.item, reply.seq) == (b"ours", 7)
    # libtorrent takes the expanded private key: the hash of the seed, some of its bits fixed. Source: RFC 8032, 5.1.5.
    seed = random.randbytes(32)
    expanded = bytearray(hashlib.sha512(seed).digest())
    expanded[0] &= 248
    expanded[31] = expanded[31] & 63 | 64
    theirs = public_bytes(Ed25519PrivateKey.from_private_bytes(seed))
    session.session.dht_put_mutable_item(bytes(expanded), theirs, b"theirs", b"salt")
    await session.wait_for(libtorrent.dht_put_alert)
    item = await two.get_item(mutable_target(theirs, b"salt"), b"salt")
    assert isinstance(item, MutableItem)
    assert item.value == b"theirs"


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2 is not installed")
async def test_aria2_joins_and_announces(nodes: Nodes, tmp_path: Path, nursery: trio.Nursery) -> None:
    one, _ = nodes
    sockets = [await trio.open_tcp_listeners(0, host="127.0.0.1") for _ in range(2)]
    dht_port, port = (listener.socket.getsockname()[1] for (listener,) in sockets)
    for (listener,) in sockets:
        await listener.aclose()
    key = os.urandom(20)
    command = ["aria2c", "--no-conf", "--enable-dht6=false", "--bt-enable-lpd=false", "--interface=127.0.0.1"]
    command += [f"--dht-entry-point=127.0.0.1:{one.port}", f"--dht-listen-port={dht_port}", f"--listen-port={port}"]
    command += [f"--dht-file-path={tmp_path / 'dht'}", f"--dir={tmp_path}", "--quiet"]
    command += ["--bt-metadata-only=true", f"magnet:?xt=urn:btih:{key.hex()}"]

    async def run() -> None:
        await trio.run_process(command, check=False)

    nursery.start_soon(run)
    here = Address("127.0.0.1", dht_port)
    await until(lambda: here in {n.address for family in one.status().families for n in family.neighbours})
    if "OSP2P_LONG" in os.environ:
        await until(lambda: one.status().stored_peers > 0)
        assert await one.find_peers(key) == [Address("127.0.0.1", port)]
    nursery.cancel_scope.cancel()
