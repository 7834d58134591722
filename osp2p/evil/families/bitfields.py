"""Bitfields: lies about which chunks there are."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SERIAL, SoundHolder

BREAKS = "HAVE says which chunks there are"


@attack("bitfields/all-but-none", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=60)
async def have_nothing_of_all(victim: Victim) -> None:
    """Says that it has everything, and of each chunk that is asked for that it is not here."""

    class Liar(SoundHolder):
        async def get(self) -> None:
            await self.victim.send(b"302 that chunk is not here\n")

    await Liar(victim).run()


@attack("bitfields/beyond", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def have_what_is_beyond(victim: Victim) -> None:
    """Says that it has chunks beyond the end of the file: the next one, and the four-thousand-millionth."""

    class Liar(SoundHolder):
        def have(self) -> bytes:
            return b"HAVE 0-%d\n" % self.victim.rng.choice([self.count, 2**32, 10**30])

    await Liar(victim).run()


@attack("bitfields/disorder", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def have_things_in_disorder(victim: Victim) -> None:
    """Says what it has in ranges that descend, overlap, are reversed, empty, or no numbers."""

    class Liar(SoundHolder):
        def have(self) -> bytes:
            return b"HAVE %s\n" % self.victim.rng.choice(
                [b"1,0", b"0,0", b"1-0", b"0-0,0-1", b"x", b"0-", b"-1", b",", b"0--1"]
            )

    await Liar(victim).run()


@attack(
    "bitfields/many",
    against="downloader",
    role="holder",
    breaks="max_peer_reply_lines, max_peer_reply_bytes",
    expect="survived",
    within=60,
)
async def have_the_same_many_times(victim: Victim) -> None:
    """Says what it has in a hundred thousand lines, each of which is right by itself."""

    class Liar(SoundHolder):
        async def stat(self) -> None:
            await self.victim.send(b"SIZE %d\nB3 %s\nSERIAL 1\n" % (len(self.content), self.b3))
            for _ in range(100):
                await self.victim.send(b"HAVE 0\n" * 1000)
            await self.victim.send(b"200 so it is\n")

    await Liar(victim).run()


@attack(
    "bitfields/nothing",
    against="downloader",
    role="holder",
    breaks="idle_holder, idle_recheck",
    expect="survived",
    within=60,
    sybils=40,
)
async def have_nothing_for_ever(victim: Victim) -> None:
    """Registers as forty holders that say that they have nothing yet, answer every question, and keep their places
    for ever."""

    class Liar(SoundHolder):
        def have(self) -> bytes:
            return b""

    await Liar(victim).run()


@attack(
    "bitfields/greedy",
    against="downloader",
    role="holder",
    breaks="seed_spared, end_game_after",
    expect="survived",
    within=90,
)
async def have_it_and_keep_it(victim: Victim) -> None:
    """Says that it has a part of the file, all but one chunk, so that seeds may be spared for it; and answers no
    request for any of it."""

    class Liar(SoundHolder):
        def have(self) -> bytes:
            return b"HAVE 0-%d\n" % max(0, self.count - 2)

        async def get(self) -> None:
            await self.victim.hold()

    await Liar(victim).run()


@attack(
    "bitfields/restless",
    against="downloader",
    role="holder",
    breaks="watch_pause, max_held_stat",
    expect="survived",
    within=60,
)
async def have_news_all_the_time(victim: Victim) -> None:
    """Says that it has one chunk, and answers each held STAT at once with a new serial number and nothing gained:
    whoever asks again at once never does anything else."""

    class Liar(SoundHolder):
        serial = SERIAL

        def state(self) -> bytes:
            self.serial += 1
            return b"SIZE %d\nB3 %s\nSERIAL %d\nHAVE 0\n" % (len(self.content), self.b3, self.serial)

        async def stat(self) -> None:
            await self.victim.send(self.state() + b"200 news\n")

    await Liar(victim).run()


@attack(
    "bitfields/held-for-ever",
    against="downloader",
    role="holder",
    breaks="max_held_stat, first_byte_timeout",
    expect="survived",
    within=90,
)
async def hold_for_ever(victim: Victim) -> None:
    """Says that it has one chunk, serves it, and never answers a held STAT, far beyond the time that was asked for."""

    class Liar(SoundHolder):
        def have(self) -> bytes:
            return b"HAVE 0\n"

        async def stat(self) -> None:
            if b"since" in self.attributes:
                await self.victim.hold()
            await super().stat()

    await Liar(victim).run()


@attack("bitfields/flapping", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=60)
async def gain_and_lose(victim: Victim) -> None:
    """Tells with each chunk that it has gained others, beyond the end and in disorder among them, and refuses those
    when they are asked for."""

    class Liar(SoundHolder):
        given = 0

        def have(self) -> bytes:
            return b"HAVE 0\n"

        def head(self, length: int, details: bytes) -> bytes:
            self.given += 1
            return super().head(length, details + b" new=0-%d" % (self.count - 1))

        async def get(self) -> None:
            if self.given:
                await self.victim.send(b"302 that chunk is not here\n")
            else:
                await super().get()

    await Liar(victim).run()


@attack(
    "bitfields/other-size",
    against="downloader",
    role="holder",
    breaks="the content id proves the size",
    expect="survived",
    within=30,
)
async def have_another_size(victim: Victim) -> None:
    """Says of the same content id that it has twice as many bytes, none, or more than any disk."""

    class Liar(SoundHolder):
        def state(self) -> bytes:
            size = self.victim.rng.choice([2 * len(self.content), 0, 2**63 - 1, len(self.content) - 1])
            return b"SIZE %d\nB3 %s\nSERIAL 1\nHAVE all\n" % (size, self.b3)

    await Liar(victim).run()


@attack(
    "bitfields/silent", against="downloader", role="holder", breaks="first_byte_timeout", expect="out-waited", within=60
)
async def say_hello_and_nothing_else(victim: Victim) -> None:
    """Answers HELLO, and no question after it."""

    class Liar(SoundHolder):
        async def stat(self) -> None:
            await self.victim.hold()

    await Liar(victim).run()


@attack(
    "bitfields/closed",
    against="downloader",
    role="holder",
    breaks="who is listed with v=2 speaks OSP2P/2",
    expect="survived",
    within=30,
)
async def close_at_hello(victim: Victim) -> None:
    """Closes at HELLO, though the tracker says that it speaks OSP2P/2; reconnecting brings the same."""
    await victim.peek_hello()
    await trio.lowlevel.checkpoint()
