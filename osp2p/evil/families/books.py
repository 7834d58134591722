"""Books: lies and loads in what a tracker keeps: who holds what, and what proves it."""

from __future__ import annotations

import contextlib

import trio

from osp2p.evil.bounds import BoundReached, OtherSideLeft, Unsound
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.words import b3_of, write_checksum

_TRUE, _FALSE = write_checksum(b"true"), write_checksum(b"false")


def _some_name(target: Target) -> bytes:
    return b"%s%08x" % (b"book", target.rng.getrandbits(32))


@attack("books/fake-haves", against="tracker", breaks="max_base_files", expect="refused", within=30)
async def claim_what_is_not_there(target: Target) -> None:
    """Claims a thousand and more files that it does not have; what is beyond the limit must be refused."""
    wire = await target.log_in(b"fake")
    most = target.limits.max_base_files
    answers = await wire.ask_all([b"HAVE fake%d" % number for number in range(most + 10)])
    target.check(all(answer.code == 300 for answer in answers[most:]), f"registers more than {most} files of one peer")


@attack("books/files", against="tracker", breaks="max_files", expect="refused", within=120)
async def claim_a_million(target: Target) -> None:
    """Says HELLO and claims files until the limit of such peers is passed."""
    wire = await target.log_in(b"million", hello=True)
    most = target.limits.max_files
    answers = await wire.ask_all([b"HAVE m%x" % number for number in range(most + 10)], 2000)
    target.check(all(answer.code == 300 for answer in answers[most:]), f"registers more than {most} files of one peer")


@attack("books/full", against="tracker", breaks="max_registrations", expect="refused", within=120)
async def fill_the_books(target: Target) -> None:
    """Claims files from many connections of one address until the tracker takes no more of them, or the attack may
    send no more. Somebody at another address must still be able to register, and who is registered must stay."""
    most = target.limits.max_registrations
    each = min(target.limits.max_files, 20_000)
    wires = 0
    refused = False
    while not refused and wires * each <= min(most, 200_000):
        wire = await target.log_in(b"full%d" % wires, hello=True)
        answers = await wire.ask_all([b"HAVE f%x-%x" % (wires, number) for number in range(each)], 2000)
        refused = answers[-1].code == 300
        wires += 1
    target.check(refused or wires * each <= most, f"keeps more than {most} registrations")
    answer = await (await target.greet()).expect(b"WANT f0-0", 2)
    target.check(len(answer.data) == 1, "forgets who is registered")
    other = await target.log_in(b"other", 1000, 1)
    if other.local_host != wire.local_host:
        await other.expect(b"HAVE other%08x" % target.rng.getrandbits(32), 2)


@attack("books/contents", against="tracker", breaks="max_contents_per_name", expect="refused", within=30)
async def claim_many_contents(target: Target) -> None:
    """Registers one name with one content after another, from one connection each; the default must stay the first
    one's, and what is beyond the limit must be refused."""
    name = _some_name(target)
    first = await target.log_in(b"first", 1000, hello=True)
    b3 = b3_of(b"true")
    await first.expect(b"HAVE %s size=4 b3=%s" % (name, b3), 2, 5)
    most = target.limits.max_contents_per_name
    refused = 0
    for number in range(most + 5):
        wire = await target.log_in(b"rival%d" % number, 1001 + number, hello=True)
        answer = await wire.ask(b"HAVE %s size=4 b3=%s" % (name, b3_of(b"%04d" % number)))
        refused += answer.code >= 300
    stat = await first.ask(b"STAT " + name)
    if stat.code == 200:
        target.check(refused >= 6, f"keeps more than {most} contents of one name")
        target.check(b"B3 " + b3 in stat.data, "lets others change what a name stands for")


@attack(
    "books/poison", against="tracker", breaks="a checksum binds while its holder lives", expect="refused", within=20
)
async def poison_a_checksum(target: Target) -> None:
    """Registers another checksum for a file that somebody else has registered with the true one; before, after and
    between withdrawals, and under a second name. The true one must stay."""
    name = _some_name(target)
    honest = await target.log_in(b"victim", 1000)
    await honest.expect(b"HAVE %s %s" % (name, _TRUE), 2)
    evil = await target.log_in(b"poisoner", 1001)
    for _ in range(3):
        await evil.expect(b"HAVE %s %s" % (name, _FALSE), 5)
        await evil.ask(b"DONTHAVE " + name)
        await evil.ask(b"HAVE " + name)
        await evil.ask(b"HAVE %s %s" % (name, _FALSE))
    answer = await honest.expect(b"MD5SUM " + name, 2)
    target.check(answer.data[:1] == (_TRUE,), "lets a stranger change a file's checksum")


@attack(
    "books/poison-first", against="tracker", breaks="a checksum is bound to live holders", expect="survived", within=20
)
async def poison_and_leave(target: Target) -> None:
    """Registers a wrong checksum for a name before anybody else does, and leaves; the next, honest holder must be
    able to register the true one."""
    name = _some_name(target)
    evil = await target.log_in(b"poisoner", 1001)
    await evil.expect(b"HAVE %s %s" % (name, _FALSE), 2)
    await evil.expect(b"DONTHAVE " + name, 2)
    honest = await target.log_in(b"victim", 1000)
    await honest.expect(b"HAVE %s %s" % (name, _TRUE), 2)
    answer = await honest.expect(b"MD5SUM " + name, 2)
    target.check(answer.data[:1] == (_TRUE,), "keeps a checksum for ever, after its last holder has left")


@attack(
    "books/poison-b3",
    against="tracker",
    breaks="the default content follows who registered first",
    expect="survived",
    within=20,
)
async def poison_a_content(target: Target) -> None:
    """Registers other contents for a name that an honest peer has registered with its own: repeated, as a part, with
    the honest MD5, withdrawn and again. The default must stay the honest one."""
    name = _some_name(target)
    honest = await target.log_in(b"victim", 1000, hello=True)
    true, false = b3_of(b"true"), b3_of(b"false")
    await honest.ask(b"HAVE %s %s size=4 b3=%s" % (name, _TRUE, true))
    evil = await target.log_in(b"poisoner", 1001, hello=True)
    for attributes in (b"size=5 b3=" + false, b"size=5 b3=%s part=yes" % false, b"size=99999999", b"size=5 b3=" + true):
        await evil.ask(b"HAVE %s %s %s" % (name, _TRUE, attributes))
        await evil.ask(b"HAVE %s %s" % (name, attributes))
        stat = await honest.ask(b"STAT " + name)
        if stat.code == 200:
            target.check(b"B3 " + true in stat.data, "lets a stranger change what a name stands for")
        await evil.ask(b"DONTHAVE " + name)


@attack("books/peers", against="tracker", breaks="max_peers_per_host", expect="refused", within=60)
async def register_many_peers(target: Target) -> None:
    """Registers peers of one address until the tracker takes no more of them; one of another address must still be
    taken."""
    most = target.limits.max_peers_per_host
    taken = 0
    with contextlib.suppress(OtherSideLeft, BoundReached, Unsound):
        for number in range(most + 20):
            await target.log_in(b"many%d" % number, 1 + number)
            taken += 1
    target.check(taken <= most, f"registers {taken} peers of one address")
    await target.log_in(b"other", 1000, 1)


@attack("books/spam", against="tracker", breaks="max_base_files", expect="survived", within=30)
async def register_and_withdraw(target: Target) -> None:
    """Registers and withdraws the same ten files five thousand times; afterwards none of them may be left."""
    wire = await target.log_in(b"spam")
    names = [b"spam%d" % number for number in range(10)]
    await wire.ask_all([verb + name for _ in range(500) for name in names for verb in (b"HAVE ", b"DONTHAVE ")], 500)
    for name in names:
        await wire.expect(b"WANT " + name, 3)


@attack("books/crowd", against="tracker", breaks="max_same_host_share", expect="survived", within=30)
async def crowd_out(target: Target) -> None:
    """Registers two hundred peers of one address as holders of a file that another address holds too, and asks as an
    old client: answers have room for some fifty, and the other one must have its place among them."""
    name = _some_name(target)
    other = await target.log_in(b"other" + b"x" * 60, 1000, 1)
    await other.expect(b"HAVE " + name, 2)
    for number in range(200):
        wire = await target.log_in(b"crowd%d" % number + b"x" * 40, 2000 + number)
        await wire.expect(b"HAVE " + name, 2)
    asker = await target.greet()
    honest = b":1000"
    shown = 0
    for _ in range(40):
        answer = await asker.expect(b"WANT " + name, 2)
        shown += any(line.endswith(honest) for line in answer.data)
    same = other.local_host == asker.local_host
    target.check(same or shown == 40, f"names the only other address in {shown} of 40 answers")


@attack(
    "books/churn",
    against="tracker",
    breaks="registrations live as long as their connection",
    expect="survived",
    within=60,
)
async def come_and_go(target: Target) -> None:
    """Registers with ten files and vanishes without a word, three hundred times, every other time by a reset;
    afterwards none of them may be listed."""
    name = _some_name(target)
    for number in range(300):
        wire = await target.log_in(b"churn", 1000 + number)
        await wire.send(b"".join(b"HAVE %s-%d\n" % (name, file) for file in range(10)))
        wire.reset() if number % 2 else wire.close()
    asker = await target.greet()
    left = 0
    for _ in range(50):
        answers = await asker.ask_all([b"WANT %s-%d" % (name, file) for file in range(10)])
        left = sum(answer.code < 300 for answer in answers)
        if not left:
            return
        await trio.sleep(0.1)
    target.check(False, f"still lists {left} files of peers that have left")
