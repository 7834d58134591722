"""Wrong: a body of a plausible form that is not the file."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

BREAKS = "a holder sends the file that it claims to hold"


@attack("wrong/size-kept", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_noise_of_right_size(victim: Victim) -> None:
    """Sends random bytes, as many as the file has, and closes."""
    await victim.send(victim.rng.randbytes(len(await victim.read_content())))


@attack("wrong/bit", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def flip_a_bit(victim: Victim) -> None:
    """Sends the true content with one bit flipped somewhere, and closes."""
    content = bytearray(await victim.read_content())
    content[victim.rng.randrange(len(content))] ^= 1 << victim.rng.randrange(8)
    await victim.send(bytes(content))


@attack("wrong/turned", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def turn_round(victim: Victim) -> None:
    """Sends the true content from its middle on, and then what was before: every byte is there."""
    content = await victim.read_content()
    middle = len(content) // 2
    await victim.send(content[middle:] + content[:middle])


@attack("wrong/file", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_another_file(victim: Victim) -> None:
    """Sends the true content of another file under this one's name."""
    await victim.read_name()
    await victim.send(victim.other_content())


@attack("wrong/longer", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def append_a_byte(victim: Victim) -> None:
    """Sends the true content and one byte more."""
    await victim.send(await victim.read_content() + victim.rng.randbytes(1))


@attack("wrong/sometimes", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def lie_sometimes(victim: Victim) -> None:
    """Serves every other request rightly, and the others with one byte changed: a record of good service proves
    nothing."""
    content = bytearray(await victim.read_content())
    if victim.rng.random() < 0.5:
        content[victim.rng.randrange(len(content))] ^= 255
    await victim.send(bytes(content))


@attack(
    "wrong/changing",
    against="downloader",
    breaks="a file is the same from its beginning to its end",
    expect="survived",
    within=30,
)
async def change_in_the_middle(victim: Victim) -> None:
    """Sends the first half of the true content and goes on with the second half of a new version of the file, as
    somebody who saves a file while it is being served."""
    content = await victim.read_content()
    middle = len(content) // 2
    await victim.send(content[:middle])
    await trio.sleep(0.1)
    await victim.send(bytes(byte ^ 1 for byte in content[middle:]))


@attack(
    "wrong/slowly",
    against="downloader",
    breaks="hedge_after, slow_rate, max_sources_per_file",
    expect="survived",
    within=90,
)
async def lie_slowly(victim: Victim) -> None:
    """Sends the first nine tenths of the true content, slowly enough to keep the downloader and fast enough to be
    kept, and then random bytes: the lie comes when most of the time is spent."""
    content = await victim.read_content()
    right = len(content) * 9 // 10
    for start in range(0, right, max(1, right // 20)):
        await victim.send(content[start : min(right, start + max(1, right // 20))])
        await trio.sleep(0.5)
    await victim.send(victim.rng.randbytes(len(content) - right))
