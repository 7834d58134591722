"""Endless: the body goes on for ever."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

_BLOCK = 64 * 1024

BREAKS = "a file ends"
EXPECT = "stops at the announced or allowed size, or at the first contradiction, and takes the file from another holder"


@attack("endless/zeros", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def send_zeros(victim: Victim) -> None:
    """Sends zeros without end."""
    await victim.read_name()
    block = bytes(_BLOCK)
    while True:
        await victim.send(block)


@attack("endless/noise", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def send_noise(victim: Victim) -> None:
    """Sends random bytes without end."""
    await victim.read_name()
    while True:
        await victim.send(victim.rng.randbytes(_BLOCK))


@attack("endless/loop", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def send_in_a_loop(victim: Victim) -> None:
    """Sends the true content, and then again, and again."""
    content = await victim.read_content()
    block = content * (1 + _BLOCK // len(content))
    while True:
        await victim.send(block)


@attack("endless/tail", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def send_a_tail(victim: Victim) -> None:
    """Sends the true content and goes on with zeros."""
    await victim.send(await victim.read_content())
    block = bytes(_BLOCK)
    while True:
        await victim.send(block)


@attack(
    "endless/drip",
    against="downloader",
    breaks="a connection that gives bytes makes progress",
    expect="demands a rate, not just a byte now and then, and takes the file from another holder",
    within=60,
)
async def drip(victim: Victim) -> None:
    """Sends one byte a second without end."""
    await victim.read_name()
    while True:
        await victim.send(victim.rng.randbytes(1))
        await trio.sleep(1)
