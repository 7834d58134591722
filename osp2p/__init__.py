"""OSP2P: peer-to-peer file sharing in lines of text.

For programs::

    async with osp2p.open_node(trackers=["192.0.2.7"]) as node:
        await node.share(Path("photos"))
        try:
            done = await node.get(b"cat.jpg", Path("cat.jpg"))
        except osp2p.TransferError as error:
            print(error)
        async with node.open_get([osp2p.Wanted(b"dog.jpg", Path("dog.jpg"))]) as events:
            async for event in events:
                if isinstance(event, osp2p.TransferProgress):
                    print(event.done, event.size)
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
    from osp2p.errors import (
        CallError,
        CallTimedOut,
        ChecksumMismatch,
        ConnectFailed,
        ConnectionLost,
        ContentChanged,
        DiskFull,
        Fault,
        ListenFailed,
        LocalProtocolError,
        NetworkError,
        NetworkFailed,
        NobodyHasIt,
        NodeNotFound,
        NotStored,
        Osp2pError,
        OverlayError,
        OverlayUnreachable,
        Refused,
        RemoteProtocolError,
        SourceChanged,
        SourceRefused,
        Stalled,
        StoreError,
        TargetLocked,
        TimedOut,
        TooLarge,
        TrackerError,
        TrackerRefused,
        TrackerUnreachable,
        TransferError,
        UnsafeName,
        Unverified,
    )
    from osp2p.limits import Limits
    from osp2p.overlay.node import OverlayOptions
    from osp2p.peer import GetOptions, Node, Wanted, open_node
    from osp2p.peer.events import (
        Alone,
        Event,
        FileAdded,
        FileRemoved,
        Joined,
        Listening,
        NamedContent,
        NotShared,
        Registered,
        Remark,
        SeveralContents,
        Source,
        SourceFailed,
        TrackerConnected,
        TrackerLost,
        TrackerSaid,
        TransferDone,
        TransferFailed,
        TransferProgress,
        TransferStarted,
        Uploaded,
        Withdrawn,
    )
    from osp2p.rpc.handler import Context
    from osp2p.tracker import TrackerOptions, serve_tracker
    from osp2p.wire.address import Address
    from osp2p.wire.entry import FileEntry, PeerEntry
    from osp2p.wire.link import Link, parse_link

#: Where each name is.
_WHERE = {
    "Address": "osp2p.wire.address",
    "Alone": "osp2p.peer.events",
    "CallError": "osp2p.errors",
    "CallTimedOut": "osp2p.errors",
    "ChecksumMismatch": "osp2p.errors",
    "ConnectFailed": "osp2p.errors",
    "ConnectionLost": "osp2p.errors",
    "ContentChanged": "osp2p.errors",
    "Context": "osp2p.rpc.handler",
    "DiskFull": "osp2p.errors",
    "Event": "osp2p.peer.events",
    "Fault": "osp2p.errors",
    "FileAdded": "osp2p.peer.events",
    "FileEntry": "osp2p.wire.entry",
    "FileRemoved": "osp2p.peer.events",
    "GetOptions": "osp2p.peer",
    "Joined": "osp2p.peer.events",
    "Limits": "osp2p.limits",
    "Link": "osp2p.wire.link",
    "ListenFailed": "osp2p.errors",
    "Listening": "osp2p.peer.events",
    "LocalProtocolError": "osp2p.errors",
    "NamedContent": "osp2p.peer.events",
    "NetworkError": "osp2p.errors",
    "NetworkFailed": "osp2p.errors",
    "NobodyHasIt": "osp2p.errors",
    "Node": "osp2p.peer",
    "NodeNotFound": "osp2p.errors",
    "NotShared": "osp2p.peer.events",
    "NotStored": "osp2p.errors",
    "Osp2pError": "osp2p.errors",
    "OverlayError": "osp2p.errors",
    "OverlayOptions": "osp2p.overlay.node",
    "OverlayUnreachable": "osp2p.errors",
    "PeerEntry": "osp2p.wire.entry",
    "Refused": "osp2p.errors",
    "Registered": "osp2p.peer.events",
    "Remark": "osp2p.peer.events",
    "RemoteProtocolError": "osp2p.errors",
    "SeveralContents": "osp2p.peer.events",
    "Source": "osp2p.peer.events",
    "SourceChanged": "osp2p.errors",
    "SourceFailed": "osp2p.peer.events",
    "SourceRefused": "osp2p.errors",
    "Stalled": "osp2p.errors",
    "StoreError": "osp2p.errors",
    "TargetLocked": "osp2p.errors",
    "TimedOut": "osp2p.errors",
    "TooLarge": "osp2p.errors",
    "TrackerConnected": "osp2p.peer.events",
    "TrackerError": "osp2p.errors",
    "TrackerLost": "osp2p.peer.events",
    "TrackerOptions": "osp2p.tracker",
    "TrackerRefused": "osp2p.errors",
    "TrackerSaid": "osp2p.peer.events",
    "TrackerUnreachable": "osp2p.errors",
    "TransferDone": "osp2p.peer.events",
    "TransferError": "osp2p.errors",
    "TransferFailed": "osp2p.peer.events",
    "TransferProgress": "osp2p.peer.events",
    "TransferStarted": "osp2p.peer.events",
    "UnsafeName": "osp2p.errors",
    "Unverified": "osp2p.errors",
    "Uploaded": "osp2p.peer.events",
    "Wanted": "osp2p.peer",
    "Withdrawn": "osp2p.peer.events",
    "open_node": "osp2p.peer",
    "parse_link": "osp2p.wire.link",
    "serve_tracker": "osp2p.tracker",
}

__all__ = [
    "Address",
    "Alone",
    "CallError",
    "CallTimedOut",
    "ChecksumMismatch",
    "ConnectFailed",
    "ConnectionLost",
    "ContentChanged",
    "Context",
    "DiskFull",
    "Event",
    "Fault",
    "FileAdded",
    "FileEntry",
    "FileRemoved",
    "GetOptions",
    "Joined",
    "Limits",
    "Link",
    "ListenFailed",
    "Listening",
    "LocalProtocolError",
    "NamedContent",
    "NetworkError",
    "NetworkFailed",
    "NobodyHasIt",
    "Node",
    "NodeNotFound",
    "NotShared",
    "NotStored",
    "Osp2pError",
    "OverlayError",
    "OverlayOptions",
    "OverlayUnreachable",
    "PeerEntry",
    "Refused",
    "Registered",
    "Remark",
    "RemoteProtocolError",
    "SeveralContents",
    "Source",
    "SourceChanged",
    "SourceFailed",
    "SourceRefused",
    "Stalled",
    "StoreError",
    "TargetLocked",
    "TimedOut",
    "TooLarge",
    "TrackerConnected",
    "TrackerError",
    "TrackerLost",
    "TrackerOptions",
    "TrackerRefused",
    "TrackerSaid",
    "TrackerUnreachable",
    "TransferDone",
    "TransferError",
    "TransferFailed",
    "TransferProgress",
    "TransferStarted",
    "UnsafeName",
    "Unverified",
    "Uploaded",
    "Wanted",
    "Withdrawn",
    "__version__",
    "open_node",
    "parse_link",
    "serve_tracker",
]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
