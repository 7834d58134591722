"""Callees: nodes that lie to whoever calls them, or asks whether they have a service."""

from __future__ import annotations

import trio

from osp2p.evil.callee import LIE, RIGHT, Called, serve_rightly
from osp2p.evil.registry import attack


@attack(
    "callees/forged",
    role="callee",
    against="node",
    breaks="a result is signed by the node that was called",
    expect="refused",
    within=30,
)
async def forge_results(called: Called) -> None:
    """Answers calls with results whose signatures are made up, of another document, of another call or of another node,
    one after the other; none may be given to who made the call."""
    await called.greet()
    asked = await called.read_call()
    forgeries = [
        lambda: called.answer(asked, LIE, signature=bytes(64)),
        lambda: called.answer(asked, LIE, signature=called.sign(asked, RIGHT, called.key)),
        lambda: called.answer(asked, LIE, called.other),
        lambda: called.answer(asked, LIE, signature=called.sign(asked, LIE, called.other)),
        lambda: called.send(b"RESULT 0\n200 done\n"),
        lambda: called.send(b"200 done\n"),
    ]
    await forgeries[called.number % len(forgeries)]()
    await called.hold()


@attack(
    "callees/early",
    role="callee",
    against="node",
    breaks="a result belongs to its call",
    expect="refused",
    within=30,
)
async def answer_before_the_call(called: Called) -> None:
    """Answers the first call rightly, and at once a second time, well signed but with a lie, before anybody has made a
    second call over the same connection."""
    await called.greet()
    asked = await called.read_call()
    await called.answer(asked, RIGHT)
    await called.answer(asked, LIE)
    await called.hold()


@attack("callees/huge", role="callee", against="node", breaks="max_call_body", expect="refused", within=30)
async def send_a_huge_result(called: Called) -> None:
    """Announces a result that is a hundred times too large, and sends as much of it as is taken."""
    await called.greet()
    await called.answer(await called.read_call(), b"", length=100 * called.limits.max_call_body)
    most = called.limits.max_call_body + called.bounds.buffer_bytes
    while True:
        await called.send(bytes(65536))
        called.check(called.sent <= most, f"takes {called.sent} bytes of a result")


@attack("callees/endless", role="callee", against="node", breaks="an answer has an end", expect="refused", within=30)
async def answer_without_end(called: Called) -> None:
    """Answers a call with remarks, and remarks, and no result."""
    await called.greet()
    await called.read_call()
    while True:
        await called.send(b"200-still at it\nNOTE and another thing\n" * 1000)
        called.check(called.sent <= called.bounds.buffer_bytes, "reads an answer that has no end")


@attack(
    "callees/bombs", role="callee", against="node", breaks="a document has no entities, and an end", expect="refused",
    within=30,
)  # fmt: skip
async def send_bombs(called: Called) -> None:
    """Answers with well-signed documents that grow a thousand million times, that are nested twenty thousand deep, that
    are none, and that are calls."""
    laughs = b"".join(b"<!ENTITY %c '%s'>" % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(9))
    bombs = (
        b"<!DOCTYPE l [<!ENTITY a 'ha'>" + laughs + b"]>" + LIE.replace(b"a lie", b"&j;"),
        b"<a>" * 20_000,
        LIE.replace(b"a lie", b"<array><data><value>" * 20_000),
        b"",
        b"\xff" * 1000,
        b"<methodCall><methodName>files.list</methodName></methodCall>",
        LIE.replace(b"a lie", b"<int>" + b"9" * 5000 + b"</int>"),
    )
    await called.greet()
    await called.answer(await called.read_call(), bombs[called.number % len(bombs)])
    await called.hold()


@attack(
    "callees/silent", role="callee", against="node", breaks="connect_timeout, provider_timeout, provider_patience",
    expect="refused", within=60, sybils=20,
)  # fmt: skip
async def say_nothing(called: Called) -> None:
    """Takes connections and says nothing to some; to others says HELLO a byte a second; lets others call, and is silent
    then. Who asks twenty of these who has a service must still find the one that has it."""
    if called.number % 3 == 0:
        await called.hold()
    elif called.number % 3 == 1:
        while True:
            await called.send(b"F")
            await trio.sleep(1)
    await called.greet()
    await called.read_call()
    await called.hold()


@attack("callees/slow", role="callee", against="node", breaks="max_call_connections", expect="refused", within=60)
async def answer_late(called: Called) -> None:
    """Answers no call at all, whose callers go on to make more of them: only so many are to be under way at a time."""
    await called.greet()
    most = called.limits.max_call_connections + 10
    called.check(called.visits.open <= most, f"has {called.visits.open} calls under way at one node")
    await called.read_call()
    await called.hold()


@attack(
    "callees/hoard", role="callee", against="node", breaks="max_idle_calls, max_contacts", expect="survived",
    within=60, sybils=60,
)  # fmt: skip
async def keep_connections(called: Called) -> None:
    """Is sixty nodes, and another one each time that it is connected to; answers calls rightly, and closes nothing:
    whoever keeps a connection to every node that he has met runs out of them, and who remembers each of them, of
    memory."""
    most = called.limits.max_idle_calls + called.limits.max_providers + 10
    called.check(called.visits.open <= most, f"keeps {called.visits.open} connections for calls to come")
    await serve_rightly(called, called.other)


@attack("callees/rested", role="callee", against="node", breaks="call_idle", expect="survived", within=200)
async def wait_for_the_next_call(called: Called) -> None:
    """Answers calls rightly, and keeps each connection open as long as nobody closes it: a call that comes over one
    that has rested for too long may meet somebody else by then, or nobody, and wait for him in vain."""
    await called.greet()
    await called.answer(await called.read_call(), RIGHT)
    while True:
        rested_from = trio.current_time()
        asked = await called.read_call()
        rested = trio.current_time() - rested_from
        called.check(
            rested < called.limits.call_idle + 1, f"calls over a connection that has rested for {rested:.0f} s"
        )
        await called.answer(asked, RIGHT)


@attack("callees/crowd", role="callee", against="node", breaks="max_providers", expect="refused", within=60, sybils=100)
async def be_a_crowd(called: Called) -> None:
    """Is a hundred nodes that say to have a service, takes all connections, and says nothing: who asks everybody that
    is named has as many connections open as others like."""
    most = called.limits.max_providers + 10
    called.check(called.visits.open <= most, f"asks {called.visits.open} nodes at a time whether they have a service")
    await called.hold()


@attack(
    "callees/impostors", role="callee", against="node", breaks="max_contact_addresses, contact_stagger",
    expect="refused", within=60, sybils=40,
)  # fmt: skip
async def be_somebody_else(called: Called) -> None:
    """Signs a contact record with forty addresses, at each of which another node answers than is looked for: who tries
    them all connects to whomever a record names."""
    await serve_rightly(called, called.other)
