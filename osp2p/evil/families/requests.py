"""Requests: an uploader's first line: too long, too slow, never there, or no request at all."""

from __future__ import annotations

from functools import partial

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import Wire, together
from osp2p.evil.words import quote

_MIB = 1024 * 1024

#: What is no request, by the dozen.
_MALFORMED = (
    b"",
    b"\r",
    b"GET",
    b"GET  ",
    b"GET OSP2P",
    b"GET\tx",
    b"GETx OSP2P",
    b"get",
    b"GET x OSP2P extra words",
    b"GET x HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r",
    b"PUT x OSP2P",
    b"GET x OSP2P/99",
    b"GET x OSP2P/2 range=0-9",
    b"HELLO",
    b"HELLO OSP2P/3",
    b"HELLO OSP2P/2\x00",
    b"QUIT",
    b"CHECKUPLOAD cat3.jpg successful!",
    b"NOTIFY a 1.2.3.4:5 OSP2P",
    b"200 ok",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"%47%45%54 x OSP2P",
    b"GET %00 OSP2P",
    b"\xff" * 100,
    b" " * 4000,
)


def get(name: bytes) -> bytes:
    """A request of 2007 for a name."""
    return b"GET %s OSP2P\n" % quote(name or b"nothing")


@attack("requests/malformed", against="uploader", breaks="a request is GET file OSP2P", expect="refused", within=60)
async def send_malformed_requests(target: Target) -> None:
    """Sends two dozen lines that are no request, each on a connection of its own with its direction ended behind it;
    each must be closed without a byte, which an old client would take for the file."""
    for line in _MALFORMED:
        wire = await target.connect()
        await wire.send(line + b"\n")
        await wire.half_close()
        if line.startswith(b"HELLO OSP2P/2"):
            await wire.hold()
        else:
            await wire.expect_nothing()
        wire.close()


@attack("requests/overlong", against="uploader", breaks="max_line", expect="closed", within=10)
async def send_an_overlong_request(target: Target) -> None:
    """Sends a request of a megabyte without an end of line."""
    wire = await target.connect()
    await wire.send(b"GET " + b"a" * _MIB)
    await wire.hold()


@attack("requests/drip", against="uploader", breaks="request_timeout", expect="out-waited", within=20)
async def drip_a_request(target: Target) -> None:
    """Sends a request one byte at a time, one every half second, and never ends it."""
    wire = await target.connect()
    await wire.send(b"GET ")
    while True:
        await wire.send(b"a")
        await trio.sleep(0.5)


@attack("requests/silent", against="uploader", breaks="request_timeout", expect="out-waited", within=30)
async def say_nothing(target: Target) -> None:
    """Opens ten connections and says nothing on any of them."""
    wires = [await target.connect() for _ in range(10)]
    await together(*(wire.hold for wire in wires))


@attack(
    "requests/unread", against="uploader", breaks="min_upload_rate, upload_rate_window", expect="survived", within=120
)
async def never_read(target: Target) -> None:
    """Asks for a file on ten connections and reads none of what comes, for over a minute."""
    wires = [await target.connect() for _ in range(10)]
    for wire in wires:
        await wire.send(get(target.name))
    await trio.sleep(1.5 * target.limits.upload_rate_window)
    await together(*(partial(_drain, wire) for wire in wires))


async def _drain(wire: Wire) -> None:
    await wire.hold()
