"""Facts: a tracker that tells who holds a file, and lies about what the file is."""

from __future__ import annotations

from dataclasses import replace

from osp2p.evil.encounter import Caller, Fact
from osp2p.evil.lying import SoundTracker
from osp2p.evil.registry import attack
from osp2p.evil.words import b3_of, write_checksum


class _Misinformed(SoundTracker):
    """Knows something else of every name."""

    def lie(self, fact: Fact) -> Fact:
        """What it says instead."""
        return fact

    def fact(self, name: bytes) -> Fact:
        fact = super().fact(name)
        return self.lie(fact) if fact.holders else fact


@attack(
    "facts/wrong-b3",
    against="downloader",
    role="tracker",
    breaks="nothing is kept that its content id does not prove",
    expect="refused",
    within=90,
)
async def name_a_wrong_b3(caller: Caller) -> None:
    """Names the content id of another file: nobody can have it."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, b3=b3_of(b"another file"), md5=b"")

    await Liar(caller).run()


@attack(
    "facts/wrong-md5",
    against="downloader",
    role="tracker",
    breaks="nothing is kept that its checksum does not prove",
    expect="refused",
    within=90,
)
async def name_a_wrong_md5(caller: Caller) -> None:
    """Says that it speaks no OSP2P/2, and names the checksum of another file."""

    class Liar(_Misinformed):
        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            return b"500 what is that?\n" if verb == b"HELLO" else super().reply(verb, words)

        def lie(self, fact: Fact) -> Fact:
            return replace(fact, md5=write_checksum(b"another file"))

    await Liar(caller).run()


@attack(
    "facts/contradiction",
    against="downloader",
    role="tracker",
    breaks="what proves a file is one thing",
    expect="survived",
    within=90,
)
async def contradict_itself(caller: Caller) -> None:
    """Names the right content id with another file's checksum, and another size in each PEER line."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, md5=write_checksum(b"another file"))

        def peer(self, number: int, address: bytes, fact: Fact) -> bytes:
            return super().peer(number, address, replace(fact, size=fact.size + number))

    await Liar(caller).run()


@attack(
    "facts/huge", against="downloader", role="tracker", breaks="max_size, disk_reserve", expect="refused", within=90
)
async def name_a_huge_size(caller: Caller) -> None:
    """Says of each file that it has 2^62 bytes: whoever makes room for it has none left."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, size=2**62, md5=b"")

    await Liar(caller).run()


@attack(
    "facts/small",
    against="downloader",
    role="tracker",
    breaks="a claimed size is proved before it counts",
    expect="refused",
    within=90,
)
async def name_a_small_size(caller: Caller) -> None:
    """Says of each file that it has one byte less than it has: what comes is cut off, or too long."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, size=max(1, fact.size - 1), md5=b"")

    await Liar(caller).run()


@attack(
    "facts/undecided",
    against="downloader",
    role="tracker",
    breaks="digest_patience, digest_recheck",
    expect="survived",
    within=60,
)
async def know_nothing_that_proves(caller: Caller) -> None:
    """Names holders that speak OSP2P/2 and never anything that proves the file: whoever waits for it waits."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, b3=b"", md5=b"")

        def stat(self, fact: Fact) -> bytes:
            return b"PEERS 1\nPARTIAL 0\n200 more is not known\n" if fact.holders else super().stat(fact)

        def peer(self, number: int, address: bytes, fact: Fact) -> bytes:
            return b"PEER peer%d %s%s\n" % (number, address, b" v=2" if self.hello else b"")

    await Liar(caller).run()


@attack(
    "facts/changing",
    against="downloader",
    role="tracker",
    breaks="a name stands for one content while it is fetched",
    expect="survived",
    within=90,
)
async def change_its_mind(caller: Caller) -> None:
    """Names the right content id every other time, and a new one each time between."""

    class Liar(_Misinformed):
        asked = 0

        def lie(self, fact: Fact) -> Fact:
            self.asked += 1
            return fact if self.asked % 4 < 2 else replace(fact, b3=b3_of(b"%d" % self.asked), md5=b"")

    await Liar(caller).run()


@attack(
    "facts/many-contents",
    against="downloader",
    role="tracker",
    breaks="max_claimed_contents",
    expect="refused",
    within=90,
)
async def name_many_contents(caller: Caller) -> None:
    """Says of each file that it has a content id that nobody has, and names holders that claim thirty others, each of
    another size, before it names the honest one with the right one."""

    class Liar(_Misinformed):
        def lie(self, fact: Fact) -> Fact:
            return replace(fact, b3=b3_of(b"nobody has it"), md5=b"")

        def peers(self, name: bytes) -> bytes:
            right, truth = self.caller.fact(name), self.caller.truth
            own = b"%s:%d" % (truth.host.encode(), truth.port)
            liars = [replace(right, size=right.size + number, b3=b3_of(b"%d" % number)) for number in range(1, 31)]
            lines = [self.peer(number, own, liar) for number, liar in enumerate(liars)] if right.holders else []
            return b"".join([*lines, *(self.peer(99, address, right) for address in right.holders)])

    await Liar(caller).run()
