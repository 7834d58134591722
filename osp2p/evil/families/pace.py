"""Pace: holders that are busy, slow, or fast and then slow."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SoundHolder


@attack(
    "pace/busy",
    against="downloader",
    role="holder",
    breaks="least_busy_retry, busy_retry",
    expect="survived",
    within=60,
)
async def be_busy_for_ever(victim: Victim) -> None:
    """Answers every request for bytes with 303: busy, ask again at once."""

    class Liar(SoundHolder):
        async def get(self) -> None:
            await self.victim.send(b"RETRY 0\n303 too many uploads\n")
            await trio.sleep(0.05)

    await Liar(victim).run()


@attack(
    "pace/busy-throughout",
    against="downloader",
    role="holder",
    breaks="least_busy_retry",
    expect="survived",
    within=60,
    sybils=40,
)
async def be_busy_in_everything(victim: Victim) -> None:
    """Registers as forty holders that answer every question, STAT and CHUNKS too, with 303: busy, ask again at
    once."""

    class Liar(SoundHolder):
        async def refuse(self) -> None:
            await self.victim.send(b"RETRY 0\n303 busy\n")

        stat = chunks = get = refuse

    await Liar(victim).run()


@attack(
    "pace/busy-sybils",
    against="downloader",
    role="holder",
    breaks="least_busy_retry, max_chunk_sources",
    expect="survived",
    within=60,
    sybils=40,
)
async def be_busy_under_many_names(victim: Victim) -> None:
    """Registers as forty holders that have everything and answer every request for it, after a moment, with 303: busy,
    ask again at once: between them, every chunk has always been asked for."""

    class Liar(SoundHolder):
        async def get(self) -> None:
            await trio.sleep(0.1)
            await self.victim.send(b"RETRY 0\n303 too many uploads\n")

    await Liar(victim).run()


@attack(
    "pace/busy-for-hours", against="downloader", role="holder", breaks="max_busy_retry", expect="survived", within=60
)
async def be_busy_for_hours(victim: Victim) -> None:
    """Answers every request for bytes with 303: busy, ask again in a thousand hours."""

    class Liar(SoundHolder):
        async def get(self) -> None:
            await self.victim.send(b"RETRY 3600000000\n303 too many uploads\n")

    await Liar(victim).run()


@attack(
    "pace/fast-then-silent",
    against="downloader",
    role="holder",
    breaks="max_request, request_time, requests_ahead, end_game_after",
    expect="survived",
    within=60,
)
async def be_fast_then_silent(victim: Victim) -> None:
    """Serves the first chunks at once, so that many more are asked for at a time, and then sends one byte of each
    answer and nothing more."""

    class Liar(SoundHolder):
        given = 0

        async def send_range(self, first: int, last: int, details: bytes) -> None:
            self.given += 1
            if self.given <= 4:
                return await super().send_range(first, last, details)
            await self.victim.send(self.head(last + 1 - first, details) + self.content[first : first + 1])
            return await self.victim.hold()

    await Liar(victim).run()


@attack(
    "pace/drip",
    against="downloader",
    role="holder",
    breaks="min_rate, rate_window, end_game_after",
    expect="survived",
    within=90,
)
async def drip_bytes(victim: Victim) -> None:
    """Sends right bytes, one a second, behind a right head: never silent, never wrong, never done."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            await self.victim.send(self.head(last + 1 - first, details))
            for place in range(first, last + 1):
                await self.victim.send(self.content[place : place + 1])
                await trio.sleep(1)

    await Liar(victim).run()


@attack("pace/crumbs", against="downloader", breaks="progress_interval", expect="survived", within=90)
async def send_single_bytes(victim: Victim) -> None:
    """Sends the true content in packets of one byte, as fast as they are taken, and then the rest: each byte is
    progress that somebody may want to be told of."""
    content = await victim.read_content()
    for place in range(min(len(content), 3000)):
        await victim.send(content[place : place + 1])
        await trio.lowlevel.checkpoint()
    await victim.send(content[3000:])


@attack(
    "pace/ninety",
    against="downloader",
    role="holder",
    breaks="end_game_after, stall_timeout",
    expect="survived",
    within=90,
)
async def be_right_for_nine_tenths(victim: Victim) -> None:
    """Serves nine tenths of the chunks rightly, neither fast nor slow, and the others never: it goes silent in the
    middle of them, when the whole seems nearly there."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            await trio.sleep(0.2)
            if first // self.each % 10 == 9 or last // self.each == self.count - 1:
                await self.victim.send(self.head(last + 1 - first, details) + self.content[first : (first + last) // 2])
                await self.victim.hold()
            await super().send_range(first, last, details)

    await Liar(victim).run()


@attack(
    "pace/just-fast-enough",
    against="downloader",
    role="holder",
    breaks="min_rate, first_byte_timeout, stall_timeout",
    expect="survived",
    within=90,
)
async def be_just_fast_enough(victim: Victim) -> None:
    """Stays just inside every limit: answers after nine tenths of the time for it, and sends a little more than the
    least rate, in bits, with silences of nine tenths of what is borne."""

    class Liar(SoundHolder):
        async def stat(self) -> None:
            await trio.sleep(0.9 * self.victim.limits.first_byte_timeout)
            await super().stat()

        async def send_range(self, first: int, last: int, details: bytes) -> None:
            limits = self.victim.limits
            await trio.sleep(0.9 * limits.first_byte_timeout)
            await self.victim.send(self.head(last + 1 - first, details))
            pause = 0.9 * limits.idle_transfer_timeout
            step = int(1.2 * limits.min_rate * pause) + 1
            for place in range(first, last + 1, step):
                await self.victim.send(self.content[place : min(last + 1, place + step)])
                await trio.sleep(pause)

    await Liar(victim).run()
