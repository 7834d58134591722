"""Session: an uploader behind HELLO, asked for ranges, chunks and news that are not there, too many, or never read."""

from __future__ import annotations

from functools import partial

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import Wire, beside, together
from osp2p.evil.words import b3_of, quote

_NO_RANGES = b"1-0 -1 -1-0 0--1 0- - a-b 0-0,2-2 +0-0 0x0-0 0-1e3 %30-%31x 1000000000000000000-1000000000000000000"


def _name(target: Target) -> bytes:
    return quote(target.name or b"nothing")


async def _facts(wire: Wire, target: Target) -> tuple[int, bytes]:
    """The size of the file, and its b3 if that is known yet."""
    answer = await wire.ask(b"STAT " + _name(target))
    facts = {key: value for key, _, value in (line.partition(b" ") for line in answer.data)}
    size = facts.get(b"SIZE", b"")
    return int(size) if size.isdigit() else 0, facts.get(b"B3", b"0" * 64)


@attack(
    "session/malformed", against="uploader", breaks="what is malformed is answered 500", expect="refused", within=30
)
async def send_malformed_requests(target: Target) -> None:
    """Says HELLO and sends two dozen requests that are malformed: unknown verbs, missing words, repeated attributes,
    numbers that are none. Each must be refused, and the connection go on."""
    wire = await target.session()
    name = _name(target)
    for line in (
        b"NONSENSE", b"GET", b"GET " + name, b"GET %s OSP2P" % name, b"GET %s OSP2P/3" % name, b"STAT", b"CHUNKS",
        b"STAT a b", b"LIST a", b"HELLO OSP2P/2", b"STAT %s b3=xyz" % name, b"STAT %s b3=%s" % (name, b"A" * 64),
        b"STAT %s since=x" % name, b"STAT %s since=-1" % name, b"STAT %s since=1 wait=x" % name,
        b"STAT %s since=99999999999999999999" % name, b"STAT %s since=1 wait=99999999999999999999" % name,
        b"CHUNKS %s 0-x" % name, b"CHUNKS %s 5-0" % name, b"CHUNKS %s 0,0" % name, b"CHUNKS %s 99999999" % name,
        b"LIST max=x", b"LIST max=-1", b"LIST max=1 max=1", b"GET %s OSP2P/2 range=0-0 range=0-0" % name,
        b"GET %s OSP2P/2 any=0" % name, b"GET %s OSP2P/2 any=0 range=0-0 b3=%s" % (name, b"0" * 64),
        b"\0", b"\xff" * 50,
    ):  # fmt: skip
        await wire.expect(line, 3, 5)


@attack("session/ranges", against="uploader", breaks="a range lies inside the file", expect="refused", within=30)
async def ask_for_bad_ranges(target: Target) -> None:
    """Asks for ranges that are reversed, pass the end by one byte or by far, are negative, empty, or have a hundred
    digits. Each must be answered 500, without a byte of the file."""
    wire = await target.session()
    size, _ = await _facts(wire, target)
    beyond = [b"0-%d" % size, b"%d-%d" % (size, size), b"%d-%d" % (max(0, size - 1), size), b"0-" + b"9" * 100]
    for words in (*beyond, *_NO_RANGES.split(), b""):
        answer = await wire.expect(b"GET %s OSP2P/2 range=%s" % (_name(target), words), 3, 5)
        target.check(not answer.data or not answer.data[0].startswith(b"DATA"), "sends a range that is none")
    await wire.expect(b"LIST max=1", 2)


@attack("session/any", against="uploader", breaks="max_ranges", expect="refused", within=30)
async def ask_for_any_of_too_many(target: Target) -> None:
    """Asks for any of a set of chunks that is beyond the file, descends, overlaps, or has more ranges than a word may
    hold."""
    wire = await target.session()
    size, b3 = await _facts(wire, target)
    last = max(0, (size - 1) // (256 * 1024))
    many = b",".join(b"%d" % number for number in range(target.limits.max_ranges + 1))
    sets = (b"%d" % (last + 1), b"0-%d" % (last + 1), b"1,0", b"0,0", b"0-0,0", b"3-1", b"", b",", b"0,", many[:3800])
    for words in sets:
        answer = await wire.expect(b"GET %s OSP2P/2 any=%s b3=%s" % (_name(target), words, b3), 3, 5)
        target.check(not answer.data or not answer.data[0].startswith(b"DATA"), "sends a chunk of a set that is none")


@attack("session/other-content", against="uploader", breaks="b3= names one content", expect="refused", within=20)
async def ask_for_other_contents(target: Target) -> None:
    """Asks by a right name for the b3 of another content: nothing may be sent, and 301 says what there is."""
    wire = await target.session()
    other = b3_of(b"another content")
    for line in (b"GET %s OSP2P/2 b3=%s", b"GET %s OSP2P/2 range=0-0 b3=%s", b"STAT %s b3=%s", b"CHUNKS %s b3=%s"):
        await wire.expect(line % (_name(target), other), 3)


@attack("session/held", against="uploader", breaks="max_held_stat", expect="survived", within=90)
async def wait_for_news_for_ever(target: Target) -> None:
    """Asks on fifty connections to be told of news of a file within two billion seconds, of which there will be none;
    an answer must come within the time that an uploader is ready to wait."""
    wires = [await target.session() for _ in range(50)]

    async def wait(wire: Wire) -> None:
        answer = await wire.ask(b"STAT " + _name(target))
        serial = next((line[7:] for line in answer.data if line.startswith(b"SERIAL ")), b"0")
        await wire.send(b"STAT %s since=%s wait=2000000000\n" % (_name(target), serial))
        with trio.move_on_after(target.limits.max_held_stat + 5):
            await wire.read_answer()
            return
        target.check(False, "holds an answer back for longer than it says")

    await together(*(partial(wait, wire) for wire in wires))


@attack("session/watched", against="uploader", breaks="max_watched_offers", expect="survived", within=60)
async def have_everything_watched(target: Target) -> None:
    """Asks for the state of every file there is, ten thousand times in all, on one connection: what the uploader
    remembers of it must be bounded."""
    wire = await target.session()
    listed = await wire.expect(b"LIST max=2000", 2)
    names = [line.split()[1] for line in listed.data if len(line.split()) > 1] or [b"nothing"]
    lines = [b"STAT " + names[number % len(names)] for number in range(10_000)]
    await wire.ask_all(lines, 500)


@attack(
    "session/unread",
    against="uploader",
    breaks="send_timeout, min_upload_rate, max_unsent",
    expect="out-waited",
    within=150,
)
async def ask_for_ever_and_never_read(target: Target) -> None:
    """Asks for lists, states and chunk lists as fast as they are taken, and reads none of the answers."""
    wires = [await target.session() for _ in range(5)]

    async def ask(wire: Wire) -> None:
        name = _name(target)
        while True:
            await wire.send(b"HELP\nLIST\nCHUNKS %s\nSTAT %s\n" % (name, name) * 100)

    await together(*(partial(ask, wire) for wire in wires))


@attack(
    "session/sip",
    against="uploader",
    breaks="min_upload_rate, upload_rate_window, send_timeout",
    expect="out-waited",
    within=200,
)
async def read_a_byte_a_second(target: Target) -> None:
    """Asks for a file's bytes over and over and reads one of them a second."""
    wire = await target.session()
    began = trio.current_time()

    async def sip() -> None:
        seconds = 0
        while await wire.receive(1):
            seconds += 1
            await trio.sleep_until(began + seconds)

    async def ask() -> None:
        while True:
            await wire.send(b"GET %s OSP2P/2\n" % _name(target) * 100)

    await beside(sip, ask)


@attack("session/pipelined", against="uploader", breaks="answers come in order", expect="survived", within=60)
async def ask_for_thousands_of_ranges(target: Target) -> None:
    """Asks for five thousand ranges of one byte in one go; each must come, in order, with its length before it."""
    wire = await target.session()
    size, _ = await _facts(wire, target)
    if not size:
        return
    places = [target.rng.randrange(size) for _ in range(5000)]

    async def ask() -> None:
        for start in range(0, len(places), 500):
            some = places[start : start + 500]
            await wire.send(b"".join(b"GET %s OSP2P/2 range=%d-%d\n" % (_name(target), at, at) for at in some))
        await trio.sleep_forever()

    async def read() -> None:
        told: dict[int, bytes] = {}
        for place in places:
            answer = await wire.read_answer()
            target.check(answer is not None and answer.code == 200, "does not answer one of many requests")
            byte = await wire.receive(1)
            target.check(told.setdefault(place, byte) == byte, "sends other bytes for the same range")

    await beside(ask, read)


@attack("session/all-lists", against="uploader", breaks="max_kept_lists", expect="survived", within=60)
async def ask_for_all_lists(target: Target) -> None:
    """Asks for the chunk list of every file there is, on four connections, over and over: what the uploader keeps in
    memory for it must be bounded, and each list be the same every time."""
    wire = await target.session()
    listed = await wire.expect(b"LIST max=500", 2)
    names = [line.split()[1] for line in listed.data if len(line.split()) > 1]

    async def ask() -> None:
        wire = await target.session()
        known: dict[bytes, tuple[bytes, ...]] = {}
        for name in names * 5:
            answer = await wire.ask(b"CHUNKS " + name)
            if answer.code < 300:
                same = known.setdefault(name, answer.data) == answer.data
                target.check(same, "gives two chunk lists of one file")

    await together(ask, ask, ask, ask)


@attack("session/drip", against="uploader", breaks="line_timeout", expect="out-waited", within=75)
async def drip_a_request(target: Target) -> None:
    """Says HELLO and then sends a request a byte a second, and never ends it."""
    wire = await target.session()
    while True:
        await wire.send(b"S")
        await trio.sleep(1)


@attack("session/idle", against="uploader", breaks="idle_timeout", expect="out-waited", within=630)
async def fall_silent(target: Target) -> None:
    """Says HELLO on ten connections, and nothing after it."""
    wires = [await target.session() for _ in range(10)]
    await together(*(wire.hold for wire in wires))


@attack("session/overlong", against="uploader", breaks="max_line", expect="closed", within=20)
async def send_an_overlong_line(target: Target) -> None:
    """Says HELLO and sends a line of a megabyte; it may be refused, and must be the end."""
    wire = await target.session()
    await wire.send(b"STAT " + b"a" * (1024 * 1024) + b"\nLIST\n")
    answer = await wire.read_answer()
    target.check(answer is None or answer.code >= 300, "takes a line of a megabyte")
    target.check(await wire.read_answer() is None, "goes on behind a line of a megabyte")


@attack(
    "session/half-closed",
    against="uploader",
    breaks="an end of one direction is not the end of the other",
    expect="survived",
    within=20,
)
async def end_our_direction(target: Target) -> None:
    """Sends requests and ends its direction at once; they must be answered all the same."""
    wire = await target.connect()
    await wire.send(b"HELLO OSP2P/2\nLIST max=1\nSTAT %s\n" % _name(target))
    await wire.half_close()
    answers = 0
    while await wire.read_answer() is not None:
        answers += 1
    target.check(answers in (0, 3), f"answers {answers - 1} of 2 requests of one who has ended its direction")


@attack("session/names", against="uploader", breaks="max_name, max_line", expect="refused", within=30)
async def ask_for_odd_names(target: Target) -> None:
    """Says HELLO and asks for names of NULs, of percent signs, of every byte, and as long as a line holds."""
    wire = await target.session()
    long = b"n" * (target.limits.max_line - 30)
    for word in (
        b"\0" * 1000,
        b"%00" * 1000,
        b"%" * 1000,
        b"%FF" * 1000,
        long,
        *(b"no%%%02X" % value for value in range(256)),
    ):
        for verb in (b"STAT %s", b"GET %s OSP2P/2", b"CHUNKS %s"):
            await wire.expect(verb % word, 3, 5)


@attack(
    "session/list-prefix", against="uploader", breaks="max_list_page, max_answer_bytes", expect="survived", within=60
)
async def ask_for_huge_lists(target: Target) -> None:
    """Asks a hundred times in one packet for all that is shared, with prefixes and beginnings of a thousand bytes."""
    wire = await target.session()
    odd = b"%FF" * 1000
    lines = [b"LIST", b"LIST prefix=" + odd, b"LIST after=" + odd, b"LIST max=99999999", b"LIST max=0"] * 20
    for answer in await wire.ask_all(lines, 20):
        target.check(len(answer.data) <= target.limits.max_list_page, f"lists {len(answer.data)} files on one page")
