"""Lengths: heads of answers whose numbers are lies."""

from __future__ import annotations

import trio

from osp2p.evil.bounds import Unsound
from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SoundHolder

BREAKS = "DATA says how many bytes follow, as many as were asked for"


class _Head(SoundHolder):
    """Writes another head."""

    line = b""

    def head(self, length: int, details: bytes) -> bytes:
        return self.line.replace(b"LENGTH", b"%d" % length) + details + b"\n200 here it comes\n"


async def _say(victim: Victim, line: bytes) -> None:
    holder = _Head(victim)
    holder.line = line
    await holder.run()


@attack("lengths/longer", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_more(victim: Victim) -> None:
    """Announces one byte more than was asked for, and sends it."""

    class Liar(SoundHolder):
        def head(self, length: int, details: bytes) -> bytes:
            return super().head(length + 1, details)

        def body(self, first: int, data: bytes) -> bytes:
            return data + b"x"

    await Liar(victim).run()


@attack("lengths/shorter", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_less(victim: Victim) -> None:
    """Announces one byte less than was asked for, and sends one less."""

    class Liar(SoundHolder):
        def head(self, length: int, details: bytes) -> bytes:
            return super().head(length - 1, details)

        def body(self, first: int, data: bytes) -> bytes:
            return data[:-1]

    await Liar(victim).run()


@attack("lengths/more-bytes", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def send_more_than_said(victim: Victim) -> None:
    """Announces the right length and sends a hundred bytes more, which stand where the next answer should begin."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            return data + b"DATA 5\n200 ok\n" * 7

    await Liar(victim).run()


@attack(
    "lengths/fewer-bytes",
    against="downloader",
    role="holder",
    breaks="idle_transfer_timeout",
    expect="survived",
    within=60,
)
async def send_less_than_said(victim: Victim) -> None:
    """Announces the right length, keeps the last byte of each answer, and waits."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            return data[:-1]

    await Liar(victim).run()


@attack("lengths/huge", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_a_huge_number(victim: Victim) -> None:
    """Announces 99,999,999,999,999,999,999 bytes for every request, more than anything would hold."""
    await _say(victim, b"DATA 99999999999999999999")


@attack("lengths/negative", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_a_negative_number(victim: Victim) -> None:
    """Announces minus as many bytes as were asked for."""
    await _say(victim, b"DATA -LENGTH")


@attack("lengths/zero", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_nothing(victim: Victim) -> None:
    """Announces no bytes, and sends none, as often as it is asked: progress without an end."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            await self.victim.send(self.head(0, details))

    await Liar(victim).run()


@attack("lengths/words", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def say_words(victim: Victim) -> None:
    """Announces its lengths as words, in hexadecimal, with signs, and with digits of other scripts."""
    choices = (
        b"DATA many",
        b"DATA 0xLENGTH",
        b"DATA +LENGTH",
        b"DATA",
        b"DATA \xd9\xa1",
        b"DATE LENGTH",
        b"DATA LENGTH LENGTH=",
    )
    await _say(victim, victim.rng.choice(choices))


@attack("lengths/no-head", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def send_bytes_alone(victim: Victim) -> None:
    """Sends the bytes that were asked for without anything before them, as in 2007."""

    class Liar(SoundHolder):
        def head(self, length: int, details: bytes) -> bytes:
            return b""

    await Liar(victim).run()


@attack(
    "lengths/endless-head",
    against="downloader",
    role="holder",
    breaks="max_line, first_byte_timeout",
    expect="survived",
    within=60,
)
async def never_end_the_head(victim: Victim) -> None:
    """Begins an answer and never ends its first line."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            await self.victim.send(b"DATA 1 ")
            while True:
                await self.victim.send(b"x" * 65536)
                await trio.sleep(0.05)

    await Liar(victim).run()


@attack(
    "lengths/drip-head",
    against="downloader",
    role="holder",
    breaks="first_byte_timeout",
    expect="out-waited",
    within=60,
)
async def drip_the_head(victim: Victim) -> None:
    """Sends the first line of every answer a byte a second, as long as a line may be."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            for value in b"DATA 1" + b" a=b" * 900:
                await self.victim.send(bytes([value]))
                await trio.sleep(1)

    await Liar(victim).run()


class _Endless(SoundHolder):
    """Answers STAT with pieces without end."""

    piece = b""

    async def stat(self) -> None:
        limits, before = self.victim.limits, self.victim.sent
        most = 2 * max(limits.max_peer_reply_bytes, limits.max_peer_reply_lines) + self.victim.bounds.buffer_bytes
        while True:
            await self.victim.send(self.piece)
            if self.victim.sent - before > most:
                raise Unsound(f"takes {self.victim.sent - before} bytes of one reply")
            await trio.sleep(0.01)


@attack(
    "lengths/endless-reply",
    against="downloader",
    role="holder",
    breaks="max_peer_reply_bytes",
    expect="survived",
    within=90,
)
async def never_end_the_reply(victim: Victim) -> None:
    """Answers the first question with lines without end, each of them well-formed, and nearly too long."""

    class Liar(_Endless):
        piece = (b"HAVE-NOT" + b" 1" * 1900 + b"\n") * 16

    await Liar(victim).run()


@attack(
    "lengths/blank-reply",
    against="downloader",
    role="holder",
    breaks="max_peer_reply_lines",
    expect="survived",
    within=90,
)
async def answer_with_blank_lines(victim: Victim) -> None:
    """Answers the first question with blank lines without end: they say nothing, and no byte stands in them."""

    class Liar(_Endless):
        piece = b"\n" * 65536

    await Liar(victim).run()
