"""Lists: chunk lists that are wrong, too short, too long, or never there."""

from __future__ import annotations

import trio

from osp2p.evil.bounds import Unsound
from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SoundHolder

BREAKS = "the content id proves the chunk list"


class _Lister(SoundHolder):
    """Sends another chunk list."""

    async def send_list(self, lines: list[bytes]) -> None:
        """Answer CHUNKS with these lines."""
        await self.victim.send(b"".join(line + b"\n" for line in lines) + b"200 that is all\n")

    def lines(self) -> list[bytes]:
        """The true lines."""
        return [b"CHUNK %d %s" % (index, text) for index, text in enumerate(self.hashes())]


@attack("lists/wrong", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def list_random_hashes(victim: Victim) -> None:
    """Sends a chunk list of random hashes, and chunks that have none of them."""

    class Liar(_Lister):
        def hashes(self) -> list[bytes]:
            return [self.victim.rng.randbytes(32).hex().encode() for _ in range(self.count)]

        def body(self, first: int, data: bytes) -> bytes:
            return self.wrong(data)

    await Liar(victim).run()


@attack("lists/one-wrong", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def list_one_wrong_hash(victim: Victim) -> None:
    """Sends the right chunk list but for one hash, that of the wrong chunk which it serves in its place."""

    class Liar(_Lister):
        def hashes(self) -> list[bytes]:
            right = super().hashes()
            return [*right[:-1], self.victim.rng.randbytes(32).hex().encode()]

    await Liar(victim).run()


@attack("lists/short", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def leave_out_the_last(victim: Victim) -> None:
    """Sends the right chunk list without its last line, or none of it."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            await self.send_list(self.victim.rng.choice([self.lines()[:-1], []]))

    await Liar(victim).run()


@attack("lists/long", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def append_a_line(victim: Victim) -> None:
    """Sends the right chunk list and the hash of one chunk more."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            await self.send_list([*self.lines(), b"CHUNK %d %s" % (self.count, b"ab" * 32)])

    await Liar(victim).run()


@attack("lists/disorder", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def list_in_disorder(victim: Victim) -> None:
    """Sends the lines of the right chunk list in another order, each of them true."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            lines = self.lines()
            self.victim.rng.shuffle(lines)
            await self.send_list(lines)

    await Liar(victim).run()


@attack("lists/malformed", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def list_no_hashes(victim: Victim) -> None:
    """Sends lines that are no CHUNK lines: hashes in capitals, too short, of other letters, without numbers."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            text = self.victim.rng.choice([b"AB" * 32, b"ab" * 31, b"zz" * 32, b"", b"ab" * 3200, b"ab" * 32 + b" x"])
            await self.send_list([b"CHUNK %d %s" % (index, text) for index in range(self.count)])

    await Liar(victim).run()


@attack(
    "lists/endless",
    against="downloader",
    role="holder",
    breaks="max_peer_reply_lines, max_peer_reply_bytes, reply_timeout",
    expect="survived",
    within=90,
)
async def list_without_end(victim: Victim) -> None:
    """Sends the lines of the chunk list, and then further ones without end."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            index = 0
            while True:
                some = range(index, index + 1000)
                await self.victim.send(b"".join(b"CHUNK %d %s\n" % (number, b"ab" * 32) for number in some))
                index += 1000
                if self.victim.sent > 2 * self.victim.limits.max_peer_reply_bytes + 300_000:
                    raise Unsound(f"takes {self.victim.sent} bytes of one chunk list")
                await trio.sleep(0.01)

    await Liar(victim).run()


@attack(
    "lists/drip", against="downloader", role="holder", breaks="reply_timeout, hedge_after", expect="survived", within=90
)
async def drip_a_list(victim: Victim) -> None:
    """Sends the right chunk list a byte every half second, so that something always comes."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            for line in self.lines():
                for value in line + b"\n":
                    await self.victim.send(bytes([value]))
                    await trio.sleep(0.5)

    await Liar(victim).run()


@attack(
    "lists/never",
    against="downloader",
    role="holder",
    breaks="max_busy_retry, idle_holder",
    expect="survived",
    within=60,
)
async def be_hashing_for_ever(victim: Victim) -> None:
    """Says for ever that its chunks are still being hashed, and that one should ask again in a thousand hours."""

    class Liar(_Lister):
        async def chunks(self) -> None:
            await self.victim.send(b"RETRY 3600000000\n303 its chunks are being hashed\n")

    await Liar(victim).run()


@attack(
    "lists/right-then-wrong",
    against="downloader",
    role="holder",
    breaks="a right list proves its sender's chunks no more than others'",
    expect="survived",
    within=30,
)
async def win_trust_first(victim: Victim) -> None:
    """Is the first to send the right chunk list, and then only wrong chunks."""

    class Liar(_Lister):
        def body(self, first: int, data: bytes) -> bytes:
            return self.wrong(data)

    await Liar(victim).run()
