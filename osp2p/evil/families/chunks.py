"""Chunks: right chunk lists and wrong chunks, all of them or one, always or now and then."""

from __future__ import annotations

import trio

from osp2p.evil.bounds import Unsound
from osp2p.evil.encounter import Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SoundHolder
from osp2p.evil.words import unquote

BREAKS = "the chunk list proves each chunk"


@attack("chunks/all-wrong", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def lie_always(victim: Victim) -> None:
    """Serves the right chunk list, and every chunk with one byte changed; who goes on asking for more behind a dozen
    wrong ones does not look at them."""

    class Liar(SoundHolder):
        asked = 0

        async def get(self) -> None:
            self.asked += 1
            if self.asked > 12 and self.victim.sent > 12 * self.each:
                raise Unsound("goes on asking one whose chunks were all wrong")
            await super().get()

        def body(self, first: int, data: bytes) -> bytes:
            return self.with_wrong_chunks(first, data, set(range(self.count)))

    await Liar(victim).run()


@attack("chunks/one-wrong", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def lie_once(victim: Victim) -> None:
    """Serves the right chunk list and all chunks rightly, but for one, chosen at random, that is always wrong."""

    class Liar(SoundHolder):
        chosen = -1

        def body(self, first: int, data: bytes) -> bytes:
            if self.chosen < 0:
                self.chosen = self.victim.rng.randrange(max(1, self.count))
            return self.with_wrong_chunks(first, data, {self.chosen})

    await Liar(victim).run()


@attack("chunks/last-wrong", against="downloader", role="holder", breaks="thread_batch", expect="survived", within=30)
async def lie_at_the_end(victim: Victim) -> None:
    """Serves everything rightly but the last chunk of each request, so that a long run of right ones comes first."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            return self.with_wrong_chunks(first, data, {(first + len(data) - 1) // self.each})

    await Liar(victim).run()


@attack("chunks/sometimes", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def lie_sometimes(victim: Victim) -> None:
    """Serves each chunk rightly nine times of ten, by chance: a right one says nothing of the next."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            return self.wrong(data) if self.victim.rng.random() < 0.1 else data

    await Liar(victim).run()


@attack("chunks/other-range", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def send_another_range(victim: Victim) -> None:
    """Answers each request with as many bytes as were asked for, right ones of another place in the file."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            turned = self.content[first // 2 :] + self.content
            return turned[7 : 7 + len(data)]

    await Liar(victim).run()


@attack("chunks/other-file", against="downloader", role="holder", breaks=BREAKS, expect="survived", within=30)
async def send_another_file(victim: Victim) -> None:
    """Answers each request with bytes of another file, or with noise where there is none."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            other = self.victim.other_content()
            return (other * (1 + len(data) // len(other)))[: len(data)]

    await Liar(victim).run()


@attack(
    "chunks/changing", against="downloader", role="holder", breaks="b3= names one content", expect="survived", within=30
)
async def change_in_the_middle(victim: Victim) -> None:
    """Serves the file for a while and then a new version of it under the old content id, as a holder that does not
    notice that its file is being saved."""

    class Liar(SoundHolder):
        given = 0

        def body(self, first: int, data: bytes) -> bytes:
            self.given += len(data)
            return data if self.given <= len(self.content) // 3 else bytes(byte ^ 1 for byte in data)

    await Liar(victim).run()


@attack(
    "chunks/changed", against="downloader", role="holder", breaks="b3= names one content", expect="survived", within=30
)
async def have_changed(victim: Victim) -> None:
    """Answers the first requests, and from then on says of every one that the name has another content now."""

    class Liar(SoundHolder):
        given = 0

        async def get(self) -> None:
            self.given += 1
            if self.given <= 1:
                await super().get()
            else:
                await self.victim.send(b"B3 %s\n301 that name has another content here\n" % (b"ab" * 32))

    await Liar(victim).run()


@attack(
    "chunks/wrong-choice",
    against="downloader",
    role="holder",
    breaks="any= takes one of the set that was asked for",
    expect="survived",
    within=30,
)
async def choose_what_was_not_asked_for(victim: Victim) -> None:
    """Asked for any of a set of chunks, sends one that is not in it, or one beyond the end of the file."""

    class Liar(SoundHolder):
        async def get(self) -> None:
            if b"any" not in self.attributes:
                return await super().get()
            chunk = self.victim.rng.choice([self.count, self.count + 10**9, 0, self.count - 1])
            data = self.content[: self.each]
            return await self.victim.send(b"DATA %d chunk=%d\n200 here\n" % (len(data), chunk) + data)

    await Liar(victim).run()


@attack(
    "chunks/half-and-reset",
    against="downloader",
    role="holder",
    breaks="a transfer that began goes on",
    expect="survived",
    within=30,
)
async def break_in_the_middle(victim: Victim) -> None:
    """Breaks the connection in the middle of every chunk."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            data = self.content[first : last + 1]
            await self.victim.send(self.head(len(data), details) + data[: len(data) // 2])
            await trio.sleep(0.05)
            self.victim.reset()

    await Liar(victim).run()


@attack(
    "chunks/base-lies",
    against="downloader",
    role="holder",
    breaks="what is known of a file proves every copy of it",
    expect="survived",
    within=30,
)
async def serve_new_and_old_otherwise(victim: Victim) -> None:
    """Says HELLO to nobody, though the tracker says that it does, and serves wrong bytes to whoever asks as in 2007."""

    class Liar(SoundHolder):
        def hello(self) -> bytes:
            return b"500 what is that?\n"

        async def serve_base(self, line: bytes) -> None:
            words = line.split()
            if len(words) == 3 and words[0].upper() == b"GET":
                self._know(unquote(words[1]))
                await self.victim.send(self.wrong(self.content))

    await Liar(victim).run()
