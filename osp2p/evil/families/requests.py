"""Requests: an uploader's first line: too long, too slow, never there, or no request at all; and what comes behind."""

from __future__ import annotations

import contextlib

import trio

from osp2p.evil.bounds import OtherSideLeft
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import beside, together
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

_STEPS = (b"", b"G", b"GET x", b"GET x OSP2P\n", b"HELLO OSP2P/2\n", b"HELLO OSP2P/2\nLIST\nSTAT x\nCHU")


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
        await wire.expect_nothing()
        wire.close()


@attack("requests/overlong", against="uploader", breaks="max_line", expect="closed", within=10)
async def send_an_overlong_request(target: Target) -> None:
    """Sends a request of a megabyte without an end of line."""
    wire = await target.connect()
    await wire.send(b"GET " + b"a" * _MIB)
    await wire.hold()


@attack("requests/overlong-complete", against="uploader", breaks="max_line", expect="refused", within=10)
async def send_an_overlong_complete_request(target: Target) -> None:
    """Sends a request for a file that is there, in a line that blanks make one byte longer than the limit, complete
    and in one packet."""
    wire = await target.connect()
    request = get(target.name)
    blanks = b" " * (target.limits.max_line + 2 - len(request))
    await wire.send(request.replace(b" OSP2P", blanks + b" OSP2P"))
    await wire.expect_nothing()


@attack("requests/blank", against="uploader", breaks="max_blank_lines", expect="closed", within=20)
async def send_blank_lines(target: Target) -> None:
    """Sends twenty thousand blank lines, each of which is ignored, and a request for a file that is there behind them:
    nobody waits so long for one."""
    wire = await target.connect()
    for _ in range(10):
        await wire.send(b"\r\n \n" * 1000)
        await trio.sleep(0.01)
    await wire.send(get(target.name))
    await wire.expect_nothing()


@attack("requests/drip", against="uploader", breaks="request_timeout", expect="out-waited", within=20)
async def drip_a_request(target: Target) -> None:
    """Sends a request one byte at a time, one every half second, and never ends it."""
    wire = await target.connect()
    await wire.send(b"GET ")
    while True:
        await wire.send(b"a")
        await trio.sleep(0.5)


@attack("requests/drip-blank", against="uploader", breaks="request_timeout", expect="out-waited", within=20)
async def drip_blank_lines(target: Target) -> None:
    """Sends a blank line every second, which counts as activity to a tracker, and never a request."""
    wire = await target.connect()
    while True:
        await wire.send(b"\n")
        await trio.sleep(1)


@attack("requests/silent", against="uploader", breaks="request_timeout", expect="out-waited", within=20)
async def say_nothing(target: Target) -> None:
    """Opens ten connections and says nothing on any of them."""
    wires = [await target.connect() for _ in range(10)]
    await together(*(wire.hold for wire in wires))


@attack(
    "requests/half-closed",
    against="uploader",
    breaks="an end of one direction is not the end of the other",
    expect="survived",
    within=30,
)
async def end_our_direction(target: Target) -> None:
    """Asks for a file and ends its direction at once; the file must come whole. Ends its direction before any
    request; nothing may come."""
    wire = await target.connect()
    await wire.half_close()
    await wire.expect_nothing()
    if target.name:
        whole, again = 0, 0
        wire = await target.connect()
        await wire.send(get(target.name))
        await wire.hold()
        whole = wire.received
        wire = await target.connect()
        await wire.send(get(target.name))
        await wire.half_close()
        await wire.hold()
        again = wire.received
        target.check(whole == again, f"serves {again} of {whole} bytes to one who has ended its direction")


@attack(
    "requests/resets", against="uploader", breaks="one connection's failure ends no other", expect="survived", within=30
)
async def reset_at_every_step(target: Target) -> None:
    """Breaks and closes connections at every step: before, in and behind the request, and after the first bytes of
    the file, ten times each."""
    for said in (*_STEPS, get(target.name)):
        for number in range(20):
            with contextlib.suppress(OtherSideLeft):
                wire = await target.connect()
                if said:
                    await wire.send(said)
                if said.endswith(b"\n") and number % 4 < 2:
                    with trio.move_on_after(0.2):
                        await wire.receive(1)
                wire.reset() if number % 2 else wire.close()


@attack("requests/second", against="uploader", breaks="one request a connection", expect="survived", within=30)
async def ask_thousands_of_times(target: Target) -> None:
    """Sends five thousand requests for a file on one connection, in one go; the file must come once, and no more."""
    wire = await target.connect()
    await wire.send(get(target.name))
    await wire.hold()
    once = wire.received
    wire = await target.connect()
    await wire.send(get(target.name) * 5000)
    await wire.hold()
    target.check(wire.received <= once, f"serves {wire.received} bytes to one connection, where the file has {once}")


@attack(
    "requests/sends-on", against="uploader", breaks="linger_timeout, max_lingering_bytes", expect="closed", within=30
)
async def send_for_ever(target: Target) -> None:
    """Asks for a file that is not there, and sends bytes for ever, without reading any."""
    wire = await target.connect()
    await wire.send(get(b"nothing of that name"))
    while True:
        await wire.send(bytes(65536))
        await trio.sleep(0.01)


@attack("requests/sends-on-slowly", against="uploader", breaks="linger_timeout", expect="closed", within=30)
async def send_for_ever_slowly(target: Target) -> None:
    """Asks for a file that is not there, and sends a byte a second for ever: never silent, never at its end."""
    wire = await target.connect()
    await wire.send(get(b"nothing of that name"))
    while True:
        await wire.send(b"x")
        await trio.sleep(1)


@attack("requests/sends-while-served", against="uploader", breaks="max_lingering_bytes", expect="closed", within=60)
async def send_while_served(target: Target) -> None:
    """Asks for a file that is there, reads it, and sends bytes for ever meanwhile: the connection must end when the
    file does, whatever still comes."""
    wire = await target.connect()
    await wire.send(get(target.name))

    async def send() -> None:
        while True:
            await wire.send(bytes(65536))
            await trio.sleep(0.01)

    await beside(send, wire.hold)
