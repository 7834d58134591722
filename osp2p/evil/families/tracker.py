"""Tracker: the tracker itself is evil. Whoever asks it must not wait for ever, nor keep what is wrong."""

from __future__ import annotations

from itertools import count
from math import inf

import trio

from osp2p.evil.bounds import OtherSideLeft, Unsound
from osp2p.evil.encounter import Caller, Fact
from osp2p.evil.lying import SoundTracker
from osp2p.evil.registry import attack

#: PEER lines that nobody can parse.
_UNPARSABLE = b"\n".join(
    (
        *(b"PEER", b"PEER x", b"PEERx 1.2.3.4:9", b"PEER %s 1.2.3.4:9" % (b"a" * 4000), b"\0", b"\xff\xfe"),
        *(b"PEER x " + end for end in b"1.2.3.4 1.2.3.4:0 1.2.3.4:99999 host:9 1.2.3:9 300.1.1.1:9 [::1:9".split()),
        *(b"PEER x " + end for end in (b"y z 1.2.3.4:9", b"0.0.0.0:9", b"255.255.255.255:9")),
        *(b"PEER x 1.2.3.4:9 " + end for end in (b"v=2 v=2", b"=", b"size=-1")),
        b"",
    )
)


#: What is asked of a holder of whom nobody knows what it speaks.
_PROBE = [b"HELLO", b"STAT"]


def _check_taken(caller: Caller) -> None:
    """Say when somebody takes much more of one reply than his limits allow."""
    if caller.sent > 2 * caller.limits.max_reply_bytes:
        raise Unsound(f"takes {caller.sent} bytes of one reply")


@attack(
    "tracker/endless-greeting",
    against="downloader",
    role="tracker",
    breaks="greeting_timeout, max_reply_bytes",
    expect="refused",
    within=30,
)
async def greet_for_ever(caller: Caller) -> None:
    """Greets with context lines without end."""
    while True:
        await caller.send(b"200-and another thing:\n" * 1000)
        _check_taken(caller)
        await trio.sleep(0.01)


@attack(
    "tracker/drip-greeting",
    against="downloader",
    role="tracker",
    breaks="greeting_timeout, connect_timeout",
    expect="refused",
    within=30,
)
async def greet_slowly(caller: Caller) -> None:
    """Greets a byte a second, as long as anybody listens."""
    while True:
        await caller.send(b"2")
        await trio.sleep(1)


@attack(
    "tracker/silent",
    against="downloader",
    role="tracker",
    breaks="greeting_timeout, connect_timeout",
    expect="refused",
    within=30,
)
async def say_nothing(caller: Caller) -> None:
    """Accepts, and says nothing at all."""
    await caller.hold()


@attack(
    "tracker/closes",
    against="downloader",
    role="tracker",
    breaks="reconnect_first, reconnect_most",
    expect="refused",
    within=30,
)
async def hang_up(caller: Caller) -> None:
    """Greets well and hangs up at the first command, whenever one comes back."""
    await caller.send(b"200 welcome\n")
    await caller.read_line()


@attack(
    "tracker/deaf-to-hello", against="downloader", role="tracker", breaks="hello_timeout", expect="survived", within=30
)
async def ignore_hello(caller: Caller) -> None:
    """Never answers HELLO, on no connection, and everything else well, as in 2007."""

    class Liar(SoundTracker):
        async def answer(self, verb: bytes, words: list[bytes]) -> None:
            if verb == b"HELLO":
                await self.caller.hold()
            await super().answer(verb, words)

    await Liar(caller).run()


@attack(
    "tracker/deaf",
    against="downloader",
    role="tracker",
    breaks="answer_timeout, tracker_patience, source_patience",
    expect="refused",
    within=90,
)
async def answer_nothing(caller: Caller) -> None:
    """Answers HELLO, and no question after it."""

    class Liar(SoundTracker):
        async def answer(self, verb: bytes, words: list[bytes]) -> None:
            if verb != b"HELLO":
                await self.caller.hold()
            await super().answer(verb, words)

    await Liar(caller).run()


@attack("tracker/drip", against="downloader", role="tracker", breaks="reply_timeout", expect="refused", within=120)
async def answer_slowly(caller: Caller) -> None:
    """Answers each question rightly, a byte a second."""

    class Liar(SoundTracker):
        async def answer(self, verb: bytes, words: list[bytes]) -> None:
            if verb == b"HELLO":
                await super().answer(verb, words)
                return
            for value in self.reply(verb, words):
                await self.caller.send(bytes([value]))
                await trio.sleep(1)

    await Liar(caller).run()


@attack(
    "tracker/deaf-to-quit", against="downloader", role="tracker", breaks="quit_timeout", expect="survived", within=30
)
async def ignore_quit(caller: Caller) -> None:
    """Answers everything well but QUIT, which it does not answer, nor does it close."""

    class Liar(SoundTracker):
        async def answer(self, verb: bytes, words: list[bytes]) -> None:
            if verb in (b"Q", b"QUIT"):
                await self.caller.hold()
            await super().answer(verb, words)

    await Liar(caller).run()


class _Endless(SoundTracker):
    """Answers WANT and WHO with pieces without end."""

    def piece(self, number: int) -> bytes:
        """The next one, behind so many others."""
        raise NotImplementedError

    async def answer(self, verb: bytes, words: list[bytes]) -> None:
        if verb not in (b"WANT", b"WHO"):
            await super().answer(verb, words)
            return
        for number in count():
            await self.caller.send(self.piece(number))
            self.check_taken()
            await trio.sleep(0.01)

    def check_taken(self) -> None:
        """Say when somebody takes much more than his limits allow."""
        _check_taken(self.caller)


@attack(
    "tracker/endless-peers",
    against="downloader",
    role="tracker",
    breaks="max_holders, max_reply_bytes",
    expect="refused",
    within=120,
)
async def name_peers_for_ever(caller: Caller) -> None:
    """Answers WANT with PEER lines without end, each of them well-formed."""

    class Liar(_Endless):
        def piece(self, number: int) -> bytes:
            places = range(1000 * number, 1000 * (number + 1))
            return b"".join(b"PEER p%d 127.9.%d.%d:9\n" % (at, at % 250, 1 + at // 250 % 4) for at in places)

    await Liar(caller).run()


@attack(
    "tracker/blank-reply",
    against="downloader",
    role="tracker",
    breaks="max_reply_lines",
    expect="refused",
    within=120,
)
async def answer_with_blank_lines(caller: Caller) -> None:
    """Answers WANT with blank lines without end: they say nothing, and no byte stands in them."""

    class Liar(_Endless):
        def piece(self, number: int) -> bytes:
            return b"\n" * 65536

        def check_taken(self) -> None:
            if self.caller.sent > 2 * self.caller.limits.max_reply_lines + self.caller.bounds.buffer_bytes:
                raise Unsound(f"takes {self.caller.sent} lines of one reply")

    await Liar(caller).run()


@attack(
    "tracker/many-peers",
    against="downloader",
    role="tracker",
    breaks="max_holders, max_source_tries, retry_window",
    expect="survived",
    within=120,
)
async def name_many_peers(caller: Caller) -> None:
    """Names two hundred holders that are not there before the honest ones."""

    class Liar(SoundTracker):
        def holders(self, name: bytes) -> list[bytes]:
            honest = super().holders(name)
            return [*(b"127.9.9.%d:%d" % (1 + number, 9 + number) for number in range(200)), *honest] if honest else []

    await Liar(caller).run()


@attack(
    "tracker/itself",
    against="downloader",
    role="tracker",
    breaks="who is asked for a file is a peer",
    expect="survived",
    within=60,
)
async def name_itself(caller: Caller) -> None:
    """Names itself as every holder: who asks it for a file gets a greeting, which is a text, and no file."""

    class Liar(SoundTracker):
        def holders(self, name: bytes) -> list[bytes]:
            truth = self.caller.truth
            own = b"%s:%d" % (truth.host.encode(), truth.port)
            return [own, *super().holders(name), own] if super().holders(name) else []

    await Liar(caller).run()


@attack(
    "tracker/victim-itself",
    against="downloader",
    role="tracker",
    breaks="who is asked for a file is somebody else",
    expect="survived",
    within=60,
)
async def name_the_asker(caller: Caller) -> None:
    """Names the one who asks as the holder of what it asks for, at the ports where peers listen."""

    class Liar(SoundTracker):
        def holders(self, name: bytes) -> list[bytes]:
            honest = super().holders(name)
            own = [b"%s:%d" % (self.caller.host.encode(), port) for port in (11112, 11113, 11111)]
            return [*own, *honest] if honest else []

    await Liar(caller).run()


@attack(
    "tracker/unparsable",
    against="downloader",
    role="tracker",
    breaks="PEER lines can be parsed",
    expect="survived",
    within=60,
)
async def name_the_unparsable(caller: Caller) -> None:
    """Puts PEER lines between the right ones that nobody can parse: without address, with port 0 or 99999, with names
    in place of addresses, with attributes that are none, of four thousand bytes."""

    class Liar(SoundTracker):
        def peers(self, name: bytes) -> bytes:
            right = super().peers(name)
            return _UNPARSABLE + right + _UNPARSABLE if right else b""

    await Liar(caller).run()


@attack(
    "tracker/port-22",
    against="downloader",
    role="tracker",
    breaks="a tracker cannot point its users at others",
    expect="survived",
    within=60,
)
async def point_at_others(caller: Caller) -> None:
    """Names holders at port 22, 25 and 80 of loopback addresses, of broadcast and multicast ones, and of the asker:
    its users would knock there in its stead."""

    class Liar(SoundTracker):
        def holders(self, name: bytes) -> list[bytes]:
            honest = super().holders(name)
            hosts = (b"127.0.0.1", b"127.255.255.254", b"224.0.0.1", b"255.255.255.255", self.caller.host.encode())
            return [*(b"%s:%d" % (host, port) for host in hosts for port in (22, 25, 80)), *honest] if honest else []

    await Liar(caller).run()


@attack(
    "tracker/injection",
    against="downloader",
    role="tracker",
    breaks="what strangers send is not shown as it came",
    expect="survived",
    within=60,
)
async def send_control_bytes(caller: Caller) -> None:
    """Puts bytes that clear a terminal into aliases, names, and the texts of its replies."""
    evil = b"\x1bc\x1b[2J\x1b]0;owned\x07"

    class Liar(SoundTracker):
        def greeting(self) -> bytes:
            return b"200-%s\n200 %s\n" % (evil, evil)

        def peer(self, number: int, address: bytes, fact: Fact) -> bytes:
            return super().peer(number, address, fact).replace(b"PEER peer", b"PEER %1B%5B2J" + evil)

        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            reply = super().reply(verb, words)
            return reply[:-1] + evil + b"\n"

    await Liar(caller).run()


@attack(
    "tracker/unasked", against="downloader", role="tracker", breaks="one answer a command", expect="refused", within=60
)
async def talk_without_being_asked(caller: Caller) -> None:
    """Answers every command twice, the second time with nothing: answers belong to other questions from then on."""

    class Liar(SoundTracker):
        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            return super().reply(verb, words) + b"300 and another answer\n"

    await Liar(caller).run()


@attack(
    "tracker/forgetful",
    against="downloader",
    role="tracker",
    breaks="register_patience, keepalive_interval",
    expect="survived",
    within=60,
)
async def register_nothing(caller: Caller) -> None:
    """Says that everything is registered, and never lists any of it: who waits to be listed waits."""

    class Liar(SoundTracker):
        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            return b"200 registered\n" if verb in (b"ADDR", b"HAVE") else super().reply(verb, words)

    await Liar(caller).run()


@attack(
    "tracker/chatter", against="downloader", role="tracker", breaks="max_unasked_lines", expect="survived", within=60
)
async def chatter(caller: Caller) -> None:
    """Answers everything well, and talks on without being asked, twenty thousand lines of a kilobyte, once whoever has
    registered files has nothing more to ask."""

    class Liar(SoundTracker):
        async def run(self) -> None:
            await self.caller.send(self.greeting())
            while True:
                with trio.move_on_after(2 if b"HAVE" in self.caller.asked else inf) as quiet:
                    line = await self.caller.read_line()
                if quiet.cancelled_caught:
                    await self.talk()
                if line is None:
                    raise OtherSideLeft
                await self.take(line)

        async def talk(self) -> None:
            before = self.caller.sent
            while self.caller.sent - before < 20_000_000:
                await self.caller.send((b"by the way" + b", and another thing" * 52 + b"\n") * 100)
                await trio.sleep(0.01)
            raise Unsound("listens to twenty thousand lines that it has not asked for")

    await Liar(caller).run()


@attack(
    "tracker/answers-blanks", against="downloader", role="tracker", breaks="unasked_wait", expect="survived", within=60
)
async def answer_blank_lines(caller: Caller) -> None:
    """Speaks as in 2007 and answers blank lines too, as some old ones do, a little late: each answer stands where the
    next question's is expected."""

    class Liar(SoundTracker):
        async def run(self) -> None:
            await self.caller.send(self.greeting())
            while (line := await self.caller.read_line()) is not None:
                if not line.strip():
                    await trio.sleep(0.2)
                    await self.caller.send(b"500 that is no command\n")
                elif line[:5].upper() == b"HELLO":
                    await self.caller.send(b"500 that is no command\n")
                else:
                    await self.take(line)

    await Liar(caller).run()


@attack("tracker/remarks", against="downloader", role="tracker", breaks="max_remarks", expect="survived", within=60)
async def remark_on_everything(caller: Caller) -> None:
    """Answers ADDR and HAVE with a thousand remarks each."""

    class Liar(SoundTracker):
        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            remarks = b"".join(b"220-remark %d\n" % number for number in range(1000))
            return remarks + b"220 noted\n" if verb in (b"ADDR", b"HAVE") else super().reply(verb, words)

    await Liar(caller).run()


@attack(
    "tracker/old-and-deaf",
    against="downloader",
    role="tracker",
    breaks="probe_timeout, probe_again, max_probed",
    expect="survived",
    within=60,
)
async def name_deaf_holders(caller: Caller) -> None:
    """Speaks as in 2007, so that nobody knows who speaks OSP2P/2, and names itself sixty times as a holder, at its own
    port and at others, beside the honest ones: it takes every connection and answers nothing. Who has been told nothing
    once is not to be asked the same again and again."""

    class Liar(SoundTracker):
        async def run(self) -> None:
            with trio.move_on_after(0.2):  # who takes us for a holder speaks first
                for _ in range(2):
                    self.caller.asked += (await self.caller.read_line() or b"").split()[:1]
                if self.caller.asked == _PROBE:
                    _check_asked_once(self.caller)
                await self.caller.hold()
                return
            if self.caller.asked:
                await self.caller.hold()
            await super().run()

        def reply(self, verb: bytes, words: list[bytes]) -> bytes:
            return b"500 that is no command\n" if verb == b"HELLO" else super().reply(verb, words)

        def holders(self, name: bytes) -> list[bytes]:
            honest, truth = super().holders(name), self.caller.truth
            own = [b"%s:%d" % (truth.host.encode(), truth.port + number) for number in range(60)]
            return [*own[:30], *honest, *own[30:]] if honest else []

    await Liar(caller).run()


def _check_asked_once(caller: Caller) -> None:
    """Say when somebody asks a holder what it speaks that has just been silent to the same question.

    There may be several downloaders at one address. Each asks a tracker before it asks holders.
    """
    same = [one for one in caller.latest if one.host == caller.host and one is not caller]
    asked = [one for one in same if one.asked == _PROBE and caller.began - one.began < caller.limits.probe_again / 2]
    for one in asked:
        if not any(b"WANT" in other.asked and other.began > one.began for other in same):
            raise Unsound(f"asks a silent holder again after {caller.began - one.began:.1f} s")
