"""Endless: the body goes on for ever."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

_BLOCK = 64 * 1024

_TEXT = b"All work and no play makes Jack a dull boy.\n" * 1500


@attack("endless/zeros", against="downloader", breaks="unproved_before_hedge", expect="survived", within=60)
async def send_zeros(victim: Victim) -> None:
    """Answers a request for a file with zeros without end, as fast as they are taken."""
    await victim.read_name()
    block = bytes(_BLOCK)
    while True:
        await victim.send(block)


@attack("endless/noise", against="downloader", breaks="unproved_before_hedge", expect="survived", within=60)
async def send_noise(victim: Victim) -> None:
    """Answers a request for a file with random bytes without end."""
    await victim.read_name()
    while True:
        await victim.send(victim.rng.randbytes(_BLOCK))


@attack("endless/text", against="downloader", breaks="a file ends", expect="survived", within=60)
async def send_text(victim: Victim) -> None:
    """Answers a request for a file with lines of text without end, which look like a log that somebody still writes."""
    await victim.read_name()
    while True:
        await victim.send(_TEXT)


@attack("endless/loop", against="downloader", breaks="a file ends", expect="survived", within=60)
async def send_in_a_loop(victim: Victim) -> None:
    """Sends the true content, and then again, and again: every prefix of a chunk's length looks right."""
    content = await victim.read_content()
    block = content * (1 + _BLOCK // len(content))
    while True:
        await victim.send(block)


@attack("endless/tail", against="downloader", breaks="a file ends", expect="survived", within=60)
async def send_a_tail(victim: Victim) -> None:
    """Sends the true content and goes on with zeros, without a pause in between."""
    await victim.send(await victim.read_content())
    block = bytes(_BLOCK)
    while True:
        await victim.send(block)


@attack("endless/drip", against="downloader", breaks="min_rate, rate_window, slow_rate", expect="out-waited", within=60)
async def drip(victim: Victim) -> None:
    """Sends one random byte a second without end: never silent for long enough to count as silent."""
    await victim.read_name()
    while True:
        await victim.send(victim.rng.randbytes(1))
        await trio.sleep(1)


@attack(
    "endless/crowd", against="downloader", breaks="max_oversized, max_size", expect="refused", within=120, sybils=12
)
async def crowd(victim: Victim) -> None:
    """Registers as twelve holders, each of which sends zeros without end: whoever takes as much as is allowed from
    one after the other takes twelve times as much."""
    await victim.read_name()
    block = bytes(_BLOCK)
    while True:
        await victim.send(block)
