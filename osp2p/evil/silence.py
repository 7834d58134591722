"""Silence: the connection stands and says nothing (more)."""

from __future__ import annotations

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

BREAKS = "who accepts a connection answers"
EXPECT = "waits for a bounded time, asking another holder meanwhile or afterwards"


@attack("silence/accept", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def answer_nothing(victim: Victim) -> None:
    """Reads the request and never answers."""
    await victim.read_name()
    await victim.hold()


@attack("silence/unread", against="downloader", breaks=BREAKS, expect=EXPECT, within=60)
async def read_nothing(victim: Victim) -> None:
    """Accepts and never even reads the request; the connection stays until time is up."""
    await victim.linger()


@attack(
    "silence/first-byte",
    against="downloader",
    breaks="the first byte means the rest will come",
    expect=EXPECT,
    within=60,
)
async def stop_after_a_byte(victim: Victim) -> None:
    """Sends the first byte and falls silent."""
    await victim.send((await victim.read_content())[:1])
    await victim.hold()


@attack("silence/middle", against="downloader", breaks="a transfer that began goes on", expect=EXPECT, within=60)
async def stop_in_the_middle(victim: Victim) -> None:
    """Sends half of the true content and falls silent."""
    content = await victim.read_content()
    await victim.send(content[: len(content) // 2])
    await victim.hold()


@attack("silence/last-byte", against="downloader", breaks="a transfer that began goes on", expect=EXPECT, within=60)
async def keep_the_last_byte(victim: Victim) -> None:
    """Sends all of the true content but its last byte and falls silent."""
    await victim.send((await victim.read_content())[:-1])
    await victim.hold()
