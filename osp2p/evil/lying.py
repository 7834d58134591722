"""A sound tracker, and one that lies: what evil trackers have in common, so that each only says what it does wrong."""

from __future__ import annotations

from osp2p.evil.bounds import OtherSideLeft
from osp2p.evil.encounter import Caller, Fact
from osp2p.evil.words import quote, unquote


class SoundTracker:
    """Answers as a sound tracker would, for somebody who only asks. An evil one overrides what it lies about.

    Args:
        caller: the connection.
    """

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.hello = False

    async def run(self) -> None:
        """Greet and answer until the other side leaves."""
        await self.caller.send(self.greeting())
        while True:
            line = await self.caller.read_line()
            if line is None:
                raise OtherSideLeft
            await self.take(line)

    async def take(self, line: bytes) -> None:
        """Take note of one line, and answer it; a blank one has no answer."""
        if words := line.split():
            self.caller.asked.append(words[0].upper())
            await self.answer(words[0].upper(), [unquote(word) for word in words[1:]])

    async def answer(self, verb: bytes, words: list[bytes]) -> None:
        """Answer one command."""
        await self.caller.send(self.reply(verb, words))
        if verb in (b"Q", b"QUIT"):
            raise OtherSideLeft

    def reply(self, verb: bytes, words: list[bytes]) -> bytes:
        """The whole reply to one command."""
        name = words[0] if words else b""
        match verb:
            case b"HELLO":
                self.hello = True
                return b"FEATURE b3\nFEATURE stat\nFEATURE pages 100000\nFEATURE local\n200 hello\n"
            case b"WANT":
                peers = self.peers(name)
                return peers + b"200 these have it\n" if peers else b"300 nobody has it\n"
            case b"STAT":
                return self.stat(self.fact(name))
            case b"MD5SUM":
                fact = self.fact(name)
                return fact.md5 + b"\n200 so it is\n" if fact.md5 else b"300 no checksum of it is known\n"
            case b"LIST":
                return self.listing(words) + b"200 that is all\n"
            case b"WHO":
                peers = b"".join(self.peers(name) for name in self.names())
                return (
                    b"\n".join(sorted({b" ".join(line.split()[:3]) for line in peers.splitlines()})) + b"\n200 they\n"
                )
            case _:
                return b"200 as you like\n"

    def greeting(self) -> bytes:
        """What it says first."""
        return b"200-a tracker\n200 go on\n"

    def names(self) -> list[bytes]:
        """What it lists."""
        return sorted(self.caller.truth.facts)

    def fact(self, name: bytes) -> Fact:
        """What it knows of a name."""
        return self.caller.fact(name)

    def holders(self, name: bytes) -> list[bytes]:
        """The addresses that it names for a name."""
        return list(self.fact(name).holders)

    def peers(self, name: bytes) -> bytes:
        """The PEER lines of a name, each with its LF."""
        fact = self.fact(name)
        return b"".join(self.peer(number, address, fact) for number, address in enumerate(self.holders(name)))

    def peer(self, number: int, address: bytes, fact: Fact) -> bytes:
        """One PEER line with its LF."""
        line = b"PEER peer%d %s" % (number, address)
        if self.hello and fact.b3:
            line += b" v=2 size=%d b3=%s" % (fact.size, fact.b3)
        return line + b"\n"

    def stat(self, fact: Fact) -> bytes:
        """The answer to STAT."""
        if not fact.holders:
            return b"300 nobody has it\n"
        b3 = b"B3 %s\n" % fact.b3 if fact.b3 else b""
        md5 = b"MD5 %s\n" % fact.md5 if fact.md5 else b""
        return b"SIZE %d\n%s%sPEERS %d\nPARTIAL 0\n200 so it is\n" % (fact.size, b3, md5, len(fact.holders))

    def listing(self, words: list[bytes]) -> bytes:
        """The FILE lines of one page, each with its LF."""
        said = {key: value for key, _, value in (word.partition(b"=") for word in words)}
        after, prefix = said.get(b"after", b""), said.get(b"prefix", b"")
        names = [name for name in self.names() if name > after and name.startswith(prefix)]
        most = int(said[b"max"]) if said.get(b"max", b"").isdigit() else len(names)
        return b"".join(self.file(name) for name in names[:most])

    def file(self, name: bytes) -> bytes:
        """One FILE line with its LF."""
        fact = self.fact(name)
        facts = b" size=%d b3=%s" % (fact.size, fact.b3) if self.hello and fact.b3 else b""
        return b"FILE %s%s\n" % (quote(name), facts)
