"""Wrong: a body of a plausible form that is not the file."""

from __future__ import annotations

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

BREAKS = "a holder sends the file that it claims to hold"
EXPECT = "finds that the checksum differs, keeps nothing, and takes the file from another holder"


@attack("wrong/size-kept", against="downloader", breaks=BREAKS, expect=EXPECT, within=30)
async def send_noise_of_right_size(victim: Victim) -> None:
    """Sends random bytes, as many as the file has."""
    await victim.send(victim.rng.randbytes(len(await victim.read_content())))


@attack("wrong/bit", against="downloader", breaks=BREAKS, expect=EXPECT, within=30)
async def flip_a_bit(victim: Victim) -> None:
    """Sends the true content with one bit flipped."""
    content = bytearray(await victim.read_content())
    content[victim.rng.randrange(len(content))] ^= 1 << victim.rng.randrange(8)
    await victim.send(bytes(content))


@attack("wrong/turned", against="downloader", breaks=BREAKS, expect=EXPECT, within=30)
async def turn_round(victim: Victim) -> None:
    """Sends the true content from its middle on, and then what was before: every byte is there."""
    content = await victim.read_content()
    middle = len(content) // 2
    await victim.send(content[middle:] + content[:middle])


@attack("wrong/file", against="downloader", breaks=BREAKS, expect=EXPECT, within=30)
async def send_another_file(victim: Victim) -> None:
    """Sends the true content of another file."""
    await victim.read_name()
    await victim.send(victim.other_content())


@attack("wrong/longer", against="downloader", breaks=BREAKS, expect=EXPECT, within=30)
async def append_a_byte(victim: Victim) -> None:
    """Sends the true content and one byte more."""
    await victim.send(await victim.read_content() + victim.rng.randbytes(1))
