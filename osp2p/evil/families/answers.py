"""Answers: making a tracker say more than its askers can take."""

from __future__ import annotations

from functools import partial

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import Answer, Wire, together

#: The one buffer of an old client.
_OLD_BUFFER = 4096


def _size(answer: Answer) -> int:
    return sum(len(line) + 1 for line in (*answer.data, *answer.context, answer.last))


@attack("answers/base", against="tracker", breaks="max_base_reply", expect="survived", within=30)
async def fill_an_old_clients_buffer(target: Target) -> None:
    """Registers three hundred holders of one file and asks for it, and for everybody, as an old client: the whole
    answer must fit its one buffer, and tell the honest total."""
    name = b"answers%08x" % target.rng.getrandbits(32)
    for number in range(300):
        wire = await target.log_in(b"holder%d" % number, 1000 + number)
        await wire.expect(b"HAVE " + name, 2)
    asker = await target.greet()
    for line in (b"WANT " + name, b"WHO"):
        answer = await asker.expect(line, 2)
        target.check(_size(answer) < _OLD_BUFFER, f"answers an old client with {_size(answer)} bytes")
        target.check(_size(answer) <= target.limits.max_base_reply, f"answers an old client with {_size(answer)} bytes")
        target.check(len(answer.data) > 5, "leaves out more than it must")


@attack("answers/want", against="tracker", breaks="max_want_peers", expect="survived", within=30)
async def ask_for_all_holders(target: Target) -> None:
    """Registers more holders of one file than an answer to WANT should have, and asks for all of them after HELLO."""
    name = b"answers%08x" % target.rng.getrandbits(32)
    most = target.limits.max_want_peers
    for number in range(most + 20):
        wire = await target.log_in(b"holder%d" % number, 1000 + number, hello=True)
        await wire.expect(b"HAVE " + name, 2)
    asker = await target.greet(hello=True)
    for line in (b"WANT " + name, b"WANT %s max=1000000" % name):
        answer = await asker.ask(line)
        target.check(len(answer.data) <= most, f"names {len(answer.data)} holders in one answer")


@attack("answers/who", against="tracker", breaks="max_who_peers, max_answer_bytes", expect="survived", within=60)
async def ask_for_everybody(target: Target) -> None:
    """Registers as many peers as it may, under long aliases, and asks who is there, a hundred times in one packet."""
    count = min(target.bounds.connections - 10, target.limits.max_connections_per_host - 10, 900)
    for number in range(count):
        await target.log_in(b"who%d" % number + b"w" * 400, 1 + number)
    asker = await target.greet(hello=True)
    for answer in await asker.ask_all([b"WHO"] * 100, 100):
        target.check(len(answer.data) <= target.limits.max_who_peers, f"names {len(answer.data)} peers in one answer")
        target.check(
            _size(answer) <= target.limits.max_answer_bytes + 8192, f"says {_size(answer)} bytes in one answer"
        )


@attack("answers/list-base", against="tracker", breaks="max_base_list", expect="survived", within=60)
async def list_too_much_for_old_clients(target: Target) -> None:
    """Registers more files than an answer to an old client should list, from several connections, and asks for the
    list."""
    most, each = target.limits.max_base_list, target.limits.max_base_files
    for start in range(0, most + 20, each):
        wire = await target.log_in(b"lister%d" % start)
        await wire.ask_all([b"HAVE base%06d" % number for number in range(start, min(start + each, most + 20))])
    asker = await target.greet()
    answer = await asker.expect(b"LIST", 2)
    target.check(len(answer.data) <= most, f"lists {len(answer.data)} files in one answer")


@attack("answers/list-page", against="tracker", breaks="max_list_page", expect="survived", within=120)
async def list_too_much_on_a_page(target: Target) -> None:
    """Registers more files than a page should list and asks for the first page, with and without a larger one in
    mind, and for pages that begin anywhere."""
    most = target.limits.max_list_page
    wire = await target.log_in(b"pages", hello=True)
    await wire.ask_all([b"HAVE page%06d" % number for number in range(most + 20)], 2000)
    for line in (b"LIST", b"LIST max=99999999", b"LIST prefix=page", b"LIST after=p", b"LIST prefix=q after=a max=0"):
        answer = await wire.ask(line)
        target.check(len(answer.data) <= most, f"lists {len(answer.data)} files on one page")


@attack("answers/list-bytes", against="tracker", breaks="max_answer_bytes", expect="survived", within=60)
async def list_long_names(target: Target) -> None:
    """Registers files with very long names, quoted to three times their length, and asks for the list eight times in
    one packet."""
    wire = await target.log_in(b"bytes", hello=True)
    name = b"%FF" * 240 + b"/" + b"%FE" * 240 + b"/" + b"%FD" * 240
    count = target.limits.max_answer_bytes // len(name) + 50
    await wire.ask_all([b"HAVE %s%06d" % (name, number) for number in range(count)], 500)
    for answer in await wire.ask_all([b"LIST"] * 8, 8):
        target.check(
            _size(answer) <= target.limits.max_answer_bytes + 8192, f"says {_size(answer)} bytes in one answer"
        )


@attack("answers/unread", against="tracker", breaks="max_unsent_answers, send_timeout", expect="out-waited", within=150)
async def read_no_lists(target: Target) -> None:
    """Registers files with long names, and asks for the list on a hundred connections, over and over, without reading
    any of it: what is put together for those who do not take it must be bounded."""
    wire = await target.log_in(b"unread", hello=True)
    name = b"%FF" * 240 + b"/" + b"%FE" * 240
    count = target.limits.max_answer_bytes // len(name) + 50
    await wire.ask_all([b"HAVE %s%06d" % (name, number) for number in range(count)], 500)
    wires = [await target.greet(hello=True) for _ in range(100)]

    async def ask(slow: Wire) -> None:
        while True:
            await slow.send(b"LIST\n" * 20)

    await together(*(partial(ask, slow) for slow in wires))
