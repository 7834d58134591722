"""Listing: a tracker that lists what there is not, what cannot be, and what never ends."""

from __future__ import annotations

import trio

from osp2p.evil.bounds import Unsound
from osp2p.evil.encounter import Caller, Fact
from osp2p.evil.families.malformed import ESCAPES
from osp2p.evil.lying import SoundTracker
from osp2p.evil.registry import attack
from osp2p.evil.words import b3_of, write_checksum

_MORE_ESCAPES = (
    b"%2E%2E%2F%2E%2E%2Fescaped",
    b"a%2F..%2F..%2F..%2Fescaped",
    b"..%2Fescaped",
    b".profile",
    b".ssh%2Fauthorized_keys",
)


@attack(
    "listing/escapes",
    against="downloader",
    role="tracker",
    breaks="a name stays inside a directory",
    expect="refused",
    within=60,
)
async def list_escapes(caller: Caller) -> None:
    """Lists names that lead out of a directory, absolute ones and dotfiles, for those who fetch everything there is;
    it names itself as the holder of each, and serves each."""

    bait = b"escaped"

    class Liar(SoundTracker):
        async def run(self) -> None:
            with trio.move_on_after(0.2):  # who takes us for a holder speaks first
                await self.caller.read_line()
                await self.caller.send(bait)
                return
            await super().run()

        def listing(self, words: list[bytes]) -> bytes:
            if any(word.startswith(b"after=") for word in words):
                return b""
            return b"".join(b"FILE %s\n" % name for name in (*ESCAPES, *_MORE_ESCAPES) if b"%00" not in name)

        def fact(self, name: bytes) -> Fact:
            if name in self.caller.truth.facts:
                return super().fact(name)
            own = b"%s:%d" % (self.caller.truth.host.encode(), self.caller.truth.port)
            return Fact(len(bait), b"", write_checksum(bait), (own,))

    await Liar(caller).run()


@attack(
    "listing/file-and-directory",
    against="downloader",
    role="tracker",
    breaks="a name is a file's",
    expect="survived",
    within=60,
)
async def list_a_file_as_a_directory(caller: Caller) -> None:
    """Lists, beside each right name, that name with one and two components more, so that it would have to be a file
    and a directory."""

    class Liar(SoundTracker):
        def names(self) -> list[bytes]:
            right = super().names()
            return sorted([*right, *(name + b"/x" for name in right), *(name + b"/x/y" for name in right)])

        def fact(self, name: bytes) -> Fact:
            return super().fact(name.partition(b"/")[0])

    await Liar(caller).run()


@attack(
    "listing/many-names",
    against="downloader",
    role="tracker",
    breaks="max_parallel_files",
    expect="survived",
    within=120,
)
async def list_many_names(caller: Caller) -> None:
    """Lists three hundred names that nobody holds, and the right ones among them, for those who fetch everything."""

    class Liar(SoundTracker):
        def names(self) -> list[bytes]:
            return sorted([*super().names(), *(b"nobody-%03d" % number for number in range(300))])

    await Liar(caller).run()


@attack(
    "listing/endless",
    against="downloader",
    role="tracker",
    breaks="max_listed_files, max_listed_bytes",
    expect="refused",
    within=400,
)
async def list_for_ever(caller: Caller) -> None:
    """Lists two thousand new names on each page, and there is always a next one."""

    class Liar(SoundTracker):
        page = 0

        def listing(self, words: list[bytes]) -> bytes:
            self.page += 1
            start = self.page * 2000
            if start > 4 * self.caller.limits.max_listed_files:
                raise Unsound(f"takes {start} names and asks for more")
            return b"".join(b"FILE n%012d\n" % number for number in range(start, start + 2000))

    await Liar(caller).run()


@attack("listing/slow", against="downloader", role="tracker", breaks="listing_timeout", expect="refused", within=400)
async def list_slowly(caller: Caller) -> None:
    """Lists one new name on each page, four seconds after it is asked for, and there is always a next one."""

    class Liar(SoundTracker):
        page = 0

        def listing(self, words: list[bytes]) -> bytes:
            self.page += 1
            return b"FILE n%012d\n" % self.page

        async def answer(self, verb: bytes, words: list[bytes]) -> None:
            if verb == b"LIST":
                await trio.sleep(4)
            await super().answer(verb, words)

    await Liar(caller).run()


@attack(
    "listing/same-page",
    against="downloader",
    role="tracker",
    breaks="pages come to an end",
    expect="survived",
    within=60,
)
async def list_the_same_page(caller: Caller) -> None:
    """Answers a request for any page with the first one."""

    class Liar(SoundTracker):
        def listing(self, words: list[bytes]) -> bytes:
            return super().listing([])

    await Liar(caller).run()


@attack("listing/many-holders", against="downloader", role="tracker", breaks="max_lanes", expect="survived", within=120)
async def list_many_holders(caller: Caller) -> None:
    """Lists three hundred small files, each of them in other hands, none of which is there: whoever asks every holder
    at a time has three hundred connections to open."""

    class Liar(SoundTracker):
        def names(self) -> list[bytes]:
            return sorted([*super().names(), *(b"small-%03d" % number for number in range(300))])

        def fact(self, name: bytes) -> Fact:
            if not name.startswith(b"small-"):
                return super().fact(name)
            number = int(name[6:]) if name[6:].isdigit() else 0
            host = b"127.9.%d.%d" % (1 + number // 100, 1 + number % 100)
            return Fact(1000, b3_of(name), b"", (host + b":9",))

    await Liar(caller).run()
