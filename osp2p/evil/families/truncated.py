"""Truncated: the body ends too early, and its end looks like any other."""

from __future__ import annotations

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

BREAKS = "the end of the connection is the end of the file"


@attack("truncated/nothing", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_nothing(victim: Victim) -> None:
    """Closes without a byte, as if the file were empty or not there."""
    await victim.read_name()


@attack("truncated/first", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_first_byte(victim: Victim) -> None:
    """Sends the first byte and closes."""
    await victim.send((await victim.read_content())[:1])


@attack("truncated/half", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_half(victim: Victim) -> None:
    """Sends half of the true content and closes."""
    content = await victim.read_content()
    await victim.send(content[: len(content) // 2])


@attack("truncated/byte", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_all_but_a_byte(victim: Victim) -> None:
    """Sends all of the true content but its last byte and closes."""
    await victim.send((await victim.read_content())[:-1])


@attack("truncated/reset", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_half_and_reset(victim: Victim) -> None:
    """Sends half of the true content and breaks the connection."""
    content = await victim.read_content()
    await victim.send(content[: len(content) // 2])
    victim.reset()


@attack("truncated/half-closed", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_half_and_half_close(victim: Victim) -> None:
    """Sends half of the true content, ends its own direction and keeps the other one open."""
    content = await victim.read_content()
    await victim.send(content[: len(content) // 2])
    await victim.half_close()
    await victim.hold()


@attack(
    "truncated/reset-at-once", against="downloader", breaks="a holder that accepts serves", expect="survived", within=30
)
async def reset_at_once(victim: Victim) -> None:
    """Breaks the connection the moment that it stands, before the request is read."""
    victim.reset()


@attack("truncated/reset-at-end", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def reset_at_the_end(victim: Victim) -> None:
    """Sends all of the true content and breaks the connection instead of closing it: what has not been read is lost."""
    await victim.send(await victim.read_content())
    victim.reset()
