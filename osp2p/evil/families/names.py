"""Names: what an uploader is asked for, in lengths and bytes that no file's name has."""

from __future__ import annotations

import contextlib
from functools import partial

from osp2p.evil.bounds import OtherSideLeft
from osp2p.evil.encounter import Target
from osp2p.evil.families.lines import LONG_NAMES
from osp2p.evil.families.requests import get
from osp2p.evil.registry import attack
from osp2p.evil.wire import together
from osp2p.evil.words import quote_all

#: How many bytes of requests are enough to be endless.
_ENDLESS = 2_000_000


def _raw(name: bytes) -> bytes:
    return b"GET %s OSP2P\n" % name


@attack("names/long", against="uploader", breaks="max_name, max_line", expect="refused", within=20)
async def ask_for_long_names(target: Target) -> None:
    """Asks for names of 270 to 10,249 bytes, each on a connection of its own; each must be closed without a byte."""
    for length in LONG_NAMES:
        wire = await target.connect()
        with contextlib.suppress(OtherSideLeft):
            await wire.send(_raw(b"n" * length))
        await wire.expect_nothing()
        wire.close()


@attack("names/second-line", against="uploader", breaks="max_line", expect="refused", within=20)
async def ask_for_long_names_in_the_second_line(target: Target) -> None:
    """Sends a harmless request for nothing and, in the same packet, a second line with a name of 10,249 bytes."""
    for length in LONG_NAMES:
        wire = await target.connect()
        with contextlib.suppress(OtherSideLeft):
            await wire.send(_raw(b"nothing") + _raw(b"n" * length))
        await wire.expect_nothing()
        wire.close()


@attack("names/endlessly", against="uploader", breaks="max_lingering_bytes", expect="closed", within=30)
async def ask_for_long_names_endlessly(target: Target) -> None:
    """Asks for long names on one connection for as long as they are taken."""
    wire = await target.connect()
    while True:
        for length in LONG_NAMES:
            await wire.send(_raw(b"n" * length) * 20)


@attack("names/three-at-once", against="uploader", breaks="max_line", expect="refused", within=20)
async def ask_three_at_once(target: Target) -> None:
    """Asks for names of 10,249 bytes on three connections at a time, over and over."""

    async def ask() -> None:
        for _ in range(20):
            wire = await target.connect()
            with contextlib.suppress(OtherSideLeft):
                await wire.send(_raw(b"n" * LONG_NAMES[-1]))
            await wire.expect_nothing()
            wire.close()

    await together(ask, ask, ask)


@attack("names/nuls", against="uploader", breaks="a name has no NUL byte", expect="refused", within=20)
async def ask_with_nuls(target: Target) -> None:
    """Asks for names of 1030 NULs, raw and quoted, and for a file that is there with NULs behind its name."""
    for name in (
        b"\0" * 1030,
        b"%00" * 1030,
        quote_all(target.name or b"x") + b"%00",
        quote_all(target.name or b"x") + b"\0.jpg",
    ):
        wire = await target.connect()
        await wire.send(_raw(name))
        await wire.expect_nothing()
        wire.close()


@attack("names/percent", against="uploader", breaks="%XX stands for a byte, once", expect="survived", within=20)
async def ask_with_percent_signs(target: Target) -> None:
    """Asks for names of nothing but %XX, of half escapes, and of escapes of escapes; and for a file that is there
    with every byte of its name escaped, which must come as it does otherwise."""
    twice = quote_all(quote_all(target.name or b"x"))
    for name in (b"%" * 1000, b"%2" * 500, b"%zz%4", b"%25" * 1000, quote_all(target.rng.randbytes(1300)), twice):
        wire = await target.connect()
        await wire.send(_raw(name))
        await wire.expect_nothing()
        wire.close()
    if target.name:
        sizes = []
        for request in (get(target.name), _raw(quote_all(target.name)), _raw(quote_all(target.name).lower())):
            wire = await target.connect()
            await wire.send(request)
            await wire.hold()
            sizes.append(wire.received)
        target.check(len(set(sizes)) == 1, "serves another file, or none, where a name is escaped throughout")


@attack("names/bytes", against="uploader", breaks="names are bytes", expect="refused", within=30)
async def ask_with_every_byte(target: Target) -> None:
    """Asks for names of one byte, each of the 256, raw where a line can hold it and quoted; sixteen at a time."""
    words = [b"%%%02X" % value for value in range(256)]
    words += [bytes([value]) for value in range(256) if value not in b"\n\r\t\x0b\x0c "]

    async def ask(some: list[bytes]) -> None:
        for word in some:
            wire = await target.connect()
            await wire.send(_raw(b"no" + word))
            await wire.expect_nothing()
            wire.close()

    await together(*(partial(ask, words[start::16]) for start in range(16)))
