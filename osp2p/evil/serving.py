"""A sound holder that speaks OSP2P/2: what evil ones have in common, so that each only says what it does wrong."""

from __future__ import annotations

import trio

from osp2p.evil.bounds import OtherSideLeft
from osp2p.evil.encounter import Victim
from osp2p.evil.words import b3_of, chunk_length, unquote, write_hashes

#: The first serial number of a file's chunks.
SERIAL = 7

#: How long a sound holder holds a STAT at most.
_HELD = 30.0


class SoundHolder:
    """Answers as a sound holder would. An evil one overrides what it lies about.

    Args:
        victim: the connection.

    Attributes:
        name: of the file, raw bytes, once it was asked for.
        content: of the file.
        attributes: those of the request that is being answered.
    """

    def __init__(self, victim: Victim) -> None:
        self.victim = victim
        self.name = b""
        self.content = b""
        self.attributes: dict[bytes, bytes] = {}
        self.b3 = b""
        self._hashes: list[bytes] = []

    async def run(self) -> None:
        """Answer until the other side leaves."""
        line = await self._next_line()
        if not line.upper().startswith(b"HELLO"):
            await self.serve_base(line)
            return
        await self.victim.send(self.hello())
        while True:
            words = (await self._next_line()).split()
            if words:
                await self._answer(words)

    async def _next_line(self) -> bytes:
        line = await self.victim.read_line()
        if line is None:
            raise OtherSideLeft
        return line

    async def _answer(self, words: list[bytes]) -> None:
        verb = words[0].upper()
        plain = [unquote(word) for word in words[1:] if b"=" not in word]
        self.attributes = {
            key: unquote(value) for key, _, value in (word.partition(b"=") for word in words[1:] if b"=" in word)
        }
        if plain:
            self._know(plain[0])
        match verb:
            case b"STAT":
                await self.stat()
            case b"CHUNKS":
                await self.chunks()
            case b"GET":
                await self.get()
            case b"LIST":
                await self.victim.send(b"200 0 files\n")
            case _:
                raise OtherSideLeft

    def _know(self, name: bytes) -> None:
        if name != self.name:
            self.victim.name = self.name = name
            self.content = self.victim.content_of(name)
            self._hashes = write_hashes(self.content)
            self.b3 = b3_of(self.content)

    # --- what it says ---

    @property
    def count(self) -> int:
        """How many chunks the file has."""
        return len(self._hashes)

    @property
    def each(self) -> int:
        """Bytes of a chunk."""
        return chunk_length(len(self.content))

    def hello(self) -> bytes:
        """The reply to HELLO."""
        return b"FEATURE content b3\nFEATURE range\nFEATURE any\nFEATURE held\n200 hello\n"

    async def serve_base(self, line: bytes) -> None:
        """Answer a request of 2007."""
        words = line.split()
        if len(words) == 3 and words[0].upper() == b"GET":
            self._know(unquote(words[1]))
            await self.victim.send(self.content)

    def state(self) -> bytes:
        """Data lines of the answer to STAT."""
        return b"SIZE %d\nB3 %s\nSERIAL %d\n%s" % (len(self.content), self.b3, SERIAL, self.have())

    def have(self) -> bytes:
        """What it says that it has."""
        return b"HAVE all\n"

    async def stat(self) -> None:
        """Answer STAT; a held one as late as was asked for."""
        if b"since" in self.attributes:
            wait = self.attributes.get(b"wait", b"0")
            await trio.sleep(min(_HELD, int(wait) if wait.isdigit() else 0))
        await self.victim.send(self.state() + b"200 so it is\n")

    def hashes(self) -> list[bytes]:
        """The chunk list, in hex digits."""
        return self._hashes

    async def chunks(self) -> None:
        """Answer CHUNKS."""
        lines = b"".join(b"CHUNK %d %s\n" % (index, text) for index, text in enumerate(self.hashes()))
        await self.victim.send(lines + b"200 that is all\n")

    async def get(self) -> None:
        """Answer GET: a range, any of a set, or everything."""
        if b"any" in self.attributes:
            chunk = self.pick(self.attributes[b"any"])
            first, last = chunk * self.each, min((chunk + 1) * self.each, len(self.content)) - 1
            details = b" chunk=%d" % chunk
        else:
            low, _, high = self.attributes.get(b"range", b"0-%d" % (len(self.content) - 1)).partition(b"-")
            first, last, details = int(low), int(high), b""
        await self.send_range(first, last, details)

    def pick(self, ranges: bytes) -> int:
        """One chunk of those that it was asked for."""
        low, _, high = self.victim.rng.choice(ranges.split(b",")).partition(b"-")
        return self.victim.rng.randint(int(low), int(high or low))

    async def send_range(self, first: int, last: int, details: bytes) -> None:
        """Send the bytes from `first` to `last`, both inclusive, behind their head."""
        data = self.body(first, self.content[first : last + 1])
        await self.victim.send(self.head(last + 1 - first, details) + data)

    def head(self, length: int, details: bytes) -> bytes:
        """What stands before the bytes of the file."""
        return b"DATA %d%s\n200 here it comes\n" % (length, details)

    def body(self, first: int, data: bytes) -> bytes:
        """The bytes to be sent, where `data` would be right; they begin at `first` in the file."""
        return data

    def wrong(self, data: bytes) -> bytes:
        """The same bytes with one of them changed."""
        if not data:
            return data
        place = self.victim.rng.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]

    def with_wrong_chunks(self, first: int, data: bytes, chunks: set[int]) -> bytes:
        """The same bytes, with one changed in each of some chunks."""
        parts = []
        for start in range(0, len(data), self.each):
            part = data[start : start + self.each]
            parts.append(self.wrong(part) if (first + start) // self.each in chunks else part)
        return b"".join(parts)
