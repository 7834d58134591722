"""Calls on a peer's port: the verb, the feature and HTTP that the calls' room adds to it."""

from __future__ import annotations

from osp2p.peer.server import HttpServer, UploadServer
from osp2p.rpc.calls import Calls
from osp2p.rpc.connection import FEATURE
from osp2p.wire.table import Verb


def take_calls(server: UploadServer, calls: Calls, http: HttpServer | None) -> None:
    """Let a peer's server answer calls from now on, also on connections that are open already.

    Args:
        http: who answers XML-RPC over HTTP; None: nobody does.
    """
    usage = "CALL service.method to= from= key= id= time= timeout= length= sig="
    server.verbs.add(
        Verb(b"CALL", (1, 1), usage, "call a method; its document follows", calls.server.answer, hello=True, body=True)
    )
    server.features.append(FEATURE + calls.address.encode("ascii"))
    server.http = http
