"""OSP2P: peer-to-peer file sharing in lines of text.

For programs::

    async with osp2p.open_node(trackers=["192.0.2.7"]) as node:
        await node.share(Path("photos"))
        done = await node.get(b"cat.jpg", Path("cat.jpg"))
        address = await node.serve("clock", Clock())
        hour = await node.call(address, "clock.add", 23, 5)

Everything that the commands do goes through these names. They are imported when they are first used, so that a
program which only prints its help does not wait for trio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from osp2p.errors import Fault
    from osp2p.limits import Limits
    from osp2p.overlay.node import OverlayOptions
    from osp2p.peer import GetOptions, Node, Wanted, open_node
    from osp2p.rpc.handler import Context
    from osp2p.tracker import TrackerOptions, serve_tracker
    from osp2p.wire.link import Link, parse_link

_WHERE = {
    "Context": "osp2p.rpc.handler",
    "Fault": "osp2p.errors",
    "GetOptions": "osp2p.peer",
    "Limits": "osp2p.limits",
    "Link": "osp2p.wire.link",
    "Node": "osp2p.peer",
    "OverlayOptions": "osp2p.overlay.node",
    "TrackerOptions": "osp2p.tracker",
    "Wanted": "osp2p.peer",
    "open_node": "osp2p.peer",
    "parse_link": "osp2p.wire.link",
    "serve_tracker": "osp2p.tracker",
}

__all__ = [
    "Context",
    "Fault",
    "GetOptions",
    "Limits",
    "Link",
    "Node",
    "OverlayOptions",
    "TrackerOptions",
    "Wanted",
    "__version__",
    "open_node",
    "parse_link",
    "serve_tracker",
]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
