"""Garbage: what comes is no file at all."""

from __future__ import annotations

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack

BREAKS = "what a holder sends is the file, or nothing"


@attack("garbage/noise", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_noise(victim: Victim) -> None:
    """Sends random bytes of a random size, and closes."""
    await victim.read_name()
    await victim.send(victim.rng.randbytes(victim.rng.randint(1, 200_000)))


@attack("garbage/refusal", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_a_refusal(victim: Victim) -> None:
    """Sends a text that refuses, where the protocol has bytes of the file, and closes."""
    await victim.read_name()
    await victim.send(b"500 I have no such file\n")


@attack("garbage/http", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_http(victim: Victim) -> None:
    """Sends the true content behind the header of a web server."""
    content = await victim.read_content()
    header = b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
    await victim.send(header % len(content) + content)


@attack("garbage/reply", against="downloader", breaks=BREAKS, expect="survived", within=30)
async def send_a_reply(victim: Victim) -> None:
    """Sends an answer of OSP2P/2, of an absurd length, to a request of 2007."""
    await victim.read_name()
    await victim.send(b"DATA 99999999999999999999 new=0-4294967295\n200 there it comes\n" + victim.rng.randbytes(5000))


@attack(
    "garbage/terminal",
    against="downloader",
    breaks="what strangers send is not shown as it came",
    expect="survived",
    within=30,
)
async def send_control_bytes(victim: Victim) -> None:
    """Sends bytes that clear a terminal, set its title and never end a line."""
    await victim.read_name()
    await victim.send(b"\x1bc\x1b[2J\x1b]0;owned\x07\x00\r\x9b31m" * 500)
