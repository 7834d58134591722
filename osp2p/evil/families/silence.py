"""Silence: the connection stands and says nothing (more)."""

from __future__ import annotations

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack


@attack(
    "silence/accept",
    against="downloader",
    breaks="first_byte_timeout, connect_stagger, hedge_after",
    expect="out-waited",
    within=60,
)
async def answer_nothing(victim: Victim) -> None:
    """Reads the request and never answers."""
    await victim.read_name()
    await victim.hold()


@attack("silence/unread", against="downloader", breaks="first_byte_timeout", expect="out-waited", within=60)
async def read_nothing(victim: Victim) -> None:
    """Accepts the connection and never even reads the request; the connection stays until time is up."""
    await victim.linger()


@attack("silence/first-byte", against="downloader", breaks="idle_transfer_timeout", expect="out-waited", within=60)
async def stop_after_a_byte(victim: Victim) -> None:
    """Sends the first byte, by which a downloader may take it for the one that serves, and falls silent."""
    await victim.send((await victim.read_content())[:1])
    await victim.hold()


@attack("silence/middle", against="downloader", breaks="idle_transfer_timeout", expect="out-waited", within=60)
async def stop_in_the_middle(victim: Victim) -> None:
    """Sends half of the true content and falls silent."""
    content = await victim.read_content()
    await victim.send(content[: len(content) // 2])
    await victim.hold()


@attack("silence/last-byte", against="downloader", breaks="idle_transfer_timeout", expect="out-waited", within=60)
async def keep_the_last_byte(victim: Victim) -> None:
    """Sends all of the true content but its last byte and falls silent."""
    await victim.send((await victim.read_content())[:-1])
    await victim.hold()


@attack("silence/unclosed", against="downloader", breaks="silence_check, silence_is_end", expect="survived", within=30)
async def never_close(victim: Victim) -> None:
    """Sends all of the true content and does not close, as 18 of 43 programs of 2007 did: nothing says that this was
    all."""
    await victim.send(await victim.read_content())
    await victim.hold()
