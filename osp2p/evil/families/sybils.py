"""Sybils: one attacker under many names, who is everywhere a downloader looks; and those who come and go."""

from __future__ import annotations

import contextlib

import trio

from osp2p.evil.bounds import OtherSideLeft, Unsound
from osp2p.evil.encounter import Target, Victim
from osp2p.evil.registry import attack
from osp2p.evil.serving import SoundHolder
from osp2p.evil.words import b3_of, quote, write_checksum


@attack(
    "sybils/liars",
    against="downloader",
    role="holder",
    breaks="max_chunk_sources",
    expect="survived",
    within=90,
    sybils=200,
)
async def lie_under_many_names(victim: Victim) -> None:
    """Registers as two hundred holders that speak OSP2P/2, at two hundred ports, and serves wrong chunks at all of
    them: to be dropped at one is no loss."""

    class Liar(SoundHolder):
        def body(self, first: int, data: bytes) -> bytes:
            return self.wrong(data)

    await Liar(victim).run()


@attack(
    "sybils/old-liars",
    against="downloader",
    breaks="max_sources_per_file, max_source_tries",
    expect="survived",
    within=90,
    sybils=200,
)
async def lie_under_many_old_names(victim: Victim) -> None:
    """Registers as two hundred holders of 2007 and serves wrong bytes of the right size at each of them."""
    content = await victim.read_content()
    await victim.send(victim.rng.randbytes(len(content)))


@attack(
    "sybils/silent",
    against="downloader",
    breaks="max_connecting, connect_stagger, first_byte_timeout",
    expect="survived",
    within=120,
    sybils=200,
)
async def be_silent_under_many_names(victim: Victim) -> None:
    """Registers as two hundred holders of 2007, accepts every connection, and never answers on any of them."""
    await victim.read_name()
    await victim.hold()


@attack(
    "sybils/silent-new",
    against="downloader",
    role="holder",
    breaks="max_chunk_sources, first_byte_timeout",
    expect="survived",
    within=120,
    sybils=200,
)
async def be_silent_under_many_new_names(victim: Victim) -> None:
    """Registers as two hundred holders that speak OSP2P/2, accepts every connection, and never answers HELLO."""
    await victim.peek_hello()
    await victim.hold()


@attack(
    "sybils/just-fast-enough",
    against="downloader",
    role="holder",
    breaks="max_chunk_sources, min_rate, max_slow_loss, slow_loss_share",
    expect="survived",
    within=120,
    sybils=40,
)
async def be_slow_under_many_names(victim: Victim) -> None:
    """Registers as forty holders that serve rightly, each a little faster than the least rate: between them, they have
    been asked for everything, and bring it in hours."""

    class Liar(SoundHolder):
        async def send_range(self, first: int, last: int, details: bytes) -> None:
            await self.victim.send(self.head(last + 1 - first, details))
            for place in range(first, last + 1, 1000):
                await self.victim.send(self.content[place : min(last + 1, place + 1000)])
                await trio.sleep(3)

    await Liar(victim).run()


@attack(
    "sybils/greedy",
    against="downloader",
    role="holder",
    breaks="seed_spared, idle_holder, end_game_after",
    expect="survived",
    within=120,
    sybils=40,
)
async def be_greedy_under_many_names(victim: Victim) -> None:
    """Registers as forty partial holders, which claim all chunks but one, answer the first request for bytes after
    nine tenths of the time for it, and no further one: seeds may be spared for them again and again."""

    class Liar(SoundHolder):
        given = 0

        def have(self) -> bytes:
            return b"HAVE 0-%d\n" % max(0, self.count - 2)

        async def get(self) -> None:
            self.given += 1
            if self.given > 1:
                await self.victim.hold()
            await trio.sleep(0.9 * self.victim.limits.first_byte_timeout)
            await super().get()

    await Liar(victim).run()


async def _claim(target: Target, alias: bytes, port: int) -> None:
    """Register as a holder of everything; a refusal is not what this is about."""
    wire = await target.log_in(alias, port)
    for name in target.names:
        await wire.ask(b"HAVE " + quote(name))


@attack(
    "sybils/nobody",
    against="downloader",
    role="registrant",
    breaks="max_source_tries, max_connecting, connect_timeout",
    expect="survived",
    within=60,
)
async def register_nobody(target: Target) -> None:
    """Registers as two hundred and fifty holders at ports where nobody listens, as the old tracker's fake peers."""
    for number in range(250):
        await _claim(target, b"nobody%d" % number, 1 + number)
    target.begin()
    await trio.sleep_forever()


@attack(
    "sybils/busy-ports",
    against="downloader",
    role="registrant",
    breaks="max_source_tries",
    expect="survived",
    within=60,
)
async def register_others_ports(target: Target) -> None:
    """Registers as holders at ports where something else listens: the tracker's own, port 22, and a port that
    accepts and closes."""
    for number, port in enumerate((target.port, 22, 25, 80)):
        await _claim(target, b"others%d" % number, port)
    target.begin()
    await trio.sleep_forever()


@attack(
    "sybils/churn",
    against="downloader",
    role="registrant",
    breaks="first_refresh, last_refresh, retry_window, retry_pause",
    expect="survived",
    within=60,
)
async def come_and_go(target: Target) -> None:
    """Registers as ten holders and vanishes ten times a second, so that whoever asks the tracker is told of holders
    that are gone before they can be asked."""
    rounds = 0
    while True:
        for number in range(10):
            with contextlib.suppress(OtherSideLeft, Unsound):
                await _claim(target, b"churn%d" % number, 1 + number)
        target.begin()
        await trio.sleep(0.1)
        for wire in target.wires[-10:]:
            wire.reset() if rounds % 2 else wire.close()
        rounds += 1


@attack(
    "sybils/poison",
    against="downloader",
    role="registrant",
    breaks="a checksum binds while its holder lives",
    expect="survived",
    within=60,
)
async def register_wrong_facts(target: Target) -> None:
    """Registers every file with another checksum, size and content, withdraws and registers again, so that whoever
    asks the tracker is told of what is not so."""
    old = await target.log_in(b"poison", 9)
    new = await target.log_in(b"poison2", 10, hello=True)
    for name in target.names:
        word, md5 = quote(name), write_checksum(b"poison")
        for line in (b"HAVE %s %s" % (word, md5), b"DONTHAVE " + word, b"HAVE " + word):
            await old.ask(line)
        for b3 in (b"00" * 32, b"ff" * 32):
            await new.ask(b"HAVE %s size=5 b3=%s" % (word, b3))
            await new.ask(b"HAVE %s size=999999999999 b3=%s part=yes" % (word, b3))
    target.begin()
    await trio.sleep_forever()


@attack(
    "sybils/poison-b3",
    against="downloader",
    role="registrant",
    breaks="what a name means is said by who registered it first",
    expect="survived",
    within=90,
)
async def register_another_content(target: Target) -> None:
    """Registers every file with the checksum that an honest holder of 2007 has registered and with the content id of
    other bytes, which it serves rightly by all that OSP2P/2 proves: who believes the content id of one and the
    checksum of the other takes a lie for verified."""
    contents = {name: target.rng.randbytes(100_000) for name in target.names}

    async def meet(victim: Victim) -> None:
        await SoundHolder(victim).run()

    port, serve = await target.serve(contents, meet)
    wire = await target.log_in(b"poison", port, hello=True)
    for name, lie in contents.items():
        known = (await wire.ask(b"MD5SUM " + quote(name))).data
        words = b" ".join([quote(name), *known[:1]])
        await wire.ask(b"HAVE %s size=%d b3=%s" % (words, len(lie), b3_of(lie)))
    target.begin()
    await serve()


@attack(
    "sybils/leeches",
    against="downloader",
    role="registrant",
    breaks="swarm_from, max_uploads_per_host",
    expect="survived",
    within=60,
)
async def drain_who_fetches(target: Target) -> None:
    """Asks the tracker over and over who is fetching, and asks each of them for everything, chunks that it does not
    have among it, on many connections, without reading any of it: who serves while fetching should not be ended by
    it."""
    asker = await target.greet(hello=True)
    target.begin()
    while True:
        for name in target.names:
            answer = await asker.ask(b"WANT " + quote(name))
            for line in answer.data:
                words = line.split()
                if b"part=yes" in words:
                    host, _, port = words[2].decode().rpartition(":")
                    with contextlib.suppress(OtherSideLeft):
                        wire = await target.connect(to=(host, int(port)))
                        await wire.send(b"HELLO OSP2P/2\n" + b"GET %s OSP2P/2\n" % quote(name) * 50)
        await trio.sleep(0.2)
