"""Calls: to a node that answers calls of others: forged, replayed, too large, too many, never read, or over HTTP."""

from __future__ import annotations

import contextlib
from functools import partial

import trio

from osp2p.evil.bounds import BoundReached, OtherSideLeft
from osp2p.evil.calling import CallWire, open_calls, write_document
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import together

_LIST = b"system.listMethods"

#: A document that grows to a thousand million times its length where entities are followed.
_LAUGHS = (
    b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'ha'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(9))
    + b"]><methodCall><methodName>&j;</methodName></methodCall>"
)

_NOTHING = b"<value><array><data/></array></value>"

_DOCUMENTS = (
    b"",
    b"x",
    b"<",
    b"<methodCall>",
    b"<methodCall/>",
    b"<methodCall></methodCall>",
    _LAUGHS,
    b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><methodCall><methodName>x.y</methodName></methodCall>",
    b"<a>" * 20_000,
    b"<methodCall><methodName>" + b"x" * 100_000 + b"</methodName></methodCall>",
    write_document(_LIST, b"<param><value>" + b"<array><data><value>" * 3000),
    write_document(_LIST, b"<param><value><int>" + b"9" * 5000 + b"</int></value></param>"),
    write_document(_LIST, b"<param><value><double>nan</double></value></param>"),
    write_document(_LIST, b"<param><value><base64>%%%</base64></value></param>"),
    write_document(_LIST, b"<param><value><dateTime.iso8601>never</dateTime.iso8601></value></param>"),
    write_document(b"system.multicall"),
    write_document(b"nobody.has"),
    b"\0" * 1000,
    b"\xff\xfe" * 1000,
)


@attack("calls/malformed", against="node", breaks="a call has its words", expect="refused", within=60)
async def send_malformed_calls(target: Target) -> None:
    """Sends two dozen CALL lines with words missing, twice, too short, in capitals, negative and of a hundred digits,
    each on a connection of its own; none may be carried out."""
    caller = await open_calls(target)
    right = caller.write(_LIST, b"").rstrip(b"\n")
    words = right.split(b" ")
    lines = [b"CALL", b"CALL x", b"CALL _private.x", b"CALL a.b c.d", b"CALL system.__init__"]
    lines += [b" ".join(words[:number] + words[number + 1 :]) for number in range(2, len(words))]
    lines += [right + b" " + word for word in words[2:5]]
    lines += [right.replace(b"length=0", b"length=" + wrong) for wrong in (b"-1", b"0x0", b"9" * 100, b"")]
    lines += [right.replace(b"timeout=5000", b"timeout=x"), right.upper()]
    lines += [right.replace(word, word + b"0") for word in (b"key=", b"sig=", b"id=", b"from=", b"to=")]
    for line in lines:
        wire = (await open_calls(target, timed=False)).wire
        await wire.send(line + b"\n")
        answer = await wire.read_answer()
        target.check(answer is None or answer.code >= 300, f"carries out {line[:50]!r}")
        wire.close()


@attack("calls/forged", against="node", breaks="a call is signed by its caller", expect="refused", within=30)
async def forge_calls(target: Target) -> None:
    """Makes calls in the name of others: with signatures that are made up, of another document, of another method;
    each must be refused."""
    caller = await open_calls(target)
    document = write_document(_LIST)
    other = caller.write(b"system.listServices", document).split(b"sig=")[1].strip()
    for signature in (bytes(64), caller.wire.rng.randbytes(64), bytes.fromhex(other.decode())):
        fresh = await open_calls(target, timed=False)
        fresh.now = caller.now
        await fresh.wire.send(fresh.write(_LIST, document, signature=signature) + document)
        answer = await fresh.read_result()
        target.check(answer is None or answer.code >= 300, "carries out a call that its caller has not signed")


@attack("calls/replayed", against="node", breaks="a call is carried out once", expect="refused", within=30)
async def replay_a_call(target: Target) -> None:
    """Makes a call, and sends the same bytes again, on the same connection and on others: at most one is carried
    out."""
    caller = await open_calls(target)
    document = write_document(_LIST)
    bytes_of_call = caller.write(_LIST, document) + document
    carried_out = 0
    for again in (caller, *[await open_calls(target, timed=False) for _ in range(3)]):
        await again.wire.send(bytes_of_call)
        answer = await again.read_result()
        carried_out += answer is not None and answer.code < 300
    target.check(carried_out <= 1, f"carries out one call {carried_out} times")


@attack("calls/untimely", against="node", breaks="call_window", expect="refused", within=30)
async def call_from_another_time(target: Target) -> None:
    """Makes calls of long ago and of the future, just outside the window and far from it; each must be refused, or it
    could come again when the first is forgotten."""
    caller = await open_calls(target)
    window = int(1000 * target.limits.call_window)
    document = write_document(_LIST)
    for offset in (-window - 5000, window + 5000, -(10**12), 10**12):
        time = max(0, caller.now + offset)
        await caller.wire.send(caller.write(_LIST, document, time=time) + document)
        answer = await caller.read_result()
        target.check(answer is None or answer.code >= 300, f"takes a call that is {offset} ms away")
        if answer is None:
            caller = await open_calls(target)


@attack("calls/huge", against="node", breaks="max_call_body", expect="refused", within=30)
async def announce_a_huge_document(target: Target) -> None:
    """Announces documents one byte over the limit and far over it; each must be refused before it is read."""
    for length in (target.limits.max_call_body + 1, 10**12, 2**63):
        caller = await open_calls(target)
        await caller.wire.send(caller.write(_LIST, b"", length=length))
        with trio.move_on_after(3) as scope:
            answer = await caller.wire.read_answer()
            target.check(answer is None or answer.code >= 300, f"carries out a call of {length} bytes")
        target.check(not scope.cancelled_caught, f"waits for a document of {length} bytes")


@attack("calls/promised", against="node", breaks="max_call_bytes, call_body_timeout", expect="out-waited", within=60)
async def promise_documents(target: Target) -> None:
    """Sends all but the last byte of documents as large as they may be, on many connections, and waits; then the last
    bytes of half of them. What is kept of all together must be bounded, and nobody waited for for long."""
    length = target.limits.max_call_body
    document = write_document(_LIST).ljust(length)
    most = target.limits.max_call_bytes // length
    first = await open_calls(target)
    callers: list[CallWire] = []
    for _ in range(2 * most + 20):
        caller = await open_calls(target, timed=False)
        caller.now = first.now
        callers.append(caller)

    async def promise(caller: CallWire) -> None:
        await caller.wire.send(caller.write(_LIST, document) + document[:-1])

    await together(*(partial(promise, caller) for caller in callers))
    await trio.sleep(1)
    carried_out = 0
    for caller in callers[::2]:
        with contextlib.suppress(OtherSideLeft):
            await caller.wire.send(document[-1:])
            answer = await caller.read_result()
            carried_out += answer is not None and answer.code < 300
    target.check(carried_out <= most + 1, f"keeps {carried_out} documents of {length} bytes at a time")
    await together(*(caller.wire.hold for caller in callers[1::2]))


@attack("calls/drip", against="node", breaks="call_body_timeout", expect="out-waited", within=30)
async def drip_a_document(target: Target) -> None:
    """Announces a document and sends a byte of it a second."""
    caller = await open_calls(target)
    await caller.wire.send(caller.write(_LIST, b"", length=10_000))
    while True:
        await caller.wire.send(b"<")
        await trio.sleep(1)


@attack("calls/bombs", against="node", breaks="a document has no entities, and an end", expect="survived", within=60)
async def send_bombs(target: Target) -> None:
    """Makes well-signed calls with documents that are none, that name files and entities, that grow a thousand million
    times, that are nested twenty thousand deep; each gets a fault or a refusal."""
    caller = await open_calls(target)
    for document in _DOCUMENTS:
        with contextlib.suppress(OtherSideLeft):
            answer = await caller.call(_LIST, document)
            if answer is not None and answer.code < 400:
                continue
        fresh = await open_calls(target, timed=False)
        fresh.now = caller.now
        caller = fresh


@attack("calls/multicall", against="node", breaks="max_multicall", expect="survived", within=60)
async def call_many_in_one(target: Target) -> None:
    """Puts more calls into one than it may hold, and calls of many calls into them."""
    members = (b"<member><name>methodName</name><value>%s</value></member>", b"<member><name>params</name>", _NOTHING)
    one = b"<value><struct>" + b"".join(members) + b"</member></struct></value>"
    caller = await open_calls(target)
    for method, count in ((_LIST, target.limits.max_multicall + 1), (b"system.multicall", 100)):
        param = b"<param><value><array><data>" + one % method * count + b"</data></array></value></param>"
        with contextlib.suppress(OtherSideLeft):
            await caller.call(b"system.multicall", write_document(b"system.multicall", param))
        caller = await open_calls(target)
    answer = await caller.call(_LIST)
    target.check(answer is not None and answer.code < 300, "carries out no honest call any more")


@attack(
    "calls/flood",
    against="node",
    breaks="max_calls, max_calls_per_host, max_call_threads, max_call_threads_per_host",
    expect="survived",
    within=60,
)
async def make_many_calls(target: Target) -> None:
    """Makes fifty calls on each of sixty connections, as fast as they are taken; each is carried out or told to
    come again, and somebody at another address is answered meanwhile."""
    first = await open_calls(target)
    document = write_document(_LIST)

    async def call(caller: CallWire) -> None:
        for _ in range(5):
            await caller.wire.send(b"".join(caller.write(_LIST, document) + document for _ in range(10)))
            for _ in range(10):
                if await caller.read_result() is None:
                    return

    callers: list[CallWire] = []
    with contextlib.suppress(BoundReached, OtherSideLeft):
        for _ in range(60):
            caller = await open_calls(target, timed=False)
            caller.now = first.now
            callers.append(caller)
    other = await open_calls(target, 1)

    async def ask_elsewhere() -> None:
        answer = await other.call(_LIST)
        target.check(answer is not None and answer.code in (200, 303), "has no time for others")

    await together(ask_elsewhere, *(partial(call, caller) for caller in callers))


@attack(
    "calls/remembered",
    against="node",
    breaks="max_remembered_calls, max_remembered_share",
    expect="survived",
    within=120,
)
async def fill_its_memory(target: Target) -> None:
    """Makes as many calls as a node remembers, or as it may, from one address; somebody at another address must still
    be answered."""
    caller = await open_calls(target)
    document = write_document(_LIST)
    for _ in range(min(5000, target.limits.max_remembered_calls) // 50 + 1):
        await caller.wire.send(b"".join(caller.write(_LIST, document) + document for _ in range(50)))
        for _ in range(50):
            if await caller.read_result() is None:
                return
    other = await open_calls(target, 1)
    answer = await other.call(_LIST)
    same = other.wire.local_host == caller.wire.local_host
    target.check(same or (answer is not None and answer.code < 300), "remembers no call of others any more")


@attack("calls/withdrawn", against="node", breaks="call_attention, max_call_time", expect="survived", within=60)
async def call_and_leave(target: Target) -> None:
    """Makes calls that it would wait for for a million years, and leaves before they are answered, three hundred times,
    half of them by a reset."""
    first = await open_calls(target)
    document = write_document(_LIST)
    for number in range(300):
        caller = await open_calls(target, timed=False)
        caller.now = first.now
        with contextlib.suppress(OtherSideLeft):
            await caller.wire.send(caller.write(_LIST, document, timeout=2**50) + document)
        caller.wire.reset() if number % 2 else caller.wire.close()


@attack("calls/unread", against="node", breaks="send_timeout, max_unsent", expect="out-waited", within=150)
async def never_read_results(target: Target) -> None:
    """Makes calls as fast as they are taken, and reads none of the results."""
    caller = await open_calls(target)
    document = write_document(_LIST)
    while True:
        await caller.wire.send(b"".join(caller.write(_LIST, document) + document for _ in range(20)))


# --- over HTTP ---

_POST = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"


async def _refuses(target: Target, request: bytes) -> None:
    """Send a request that must not be answered with 200."""
    wire = await target.connect()
    with contextlib.suppress(OtherSideLeft):
        await wire.send(request)
        await wire.half_close()
    line = await wire.read_line()
    target.check(line is None or b" 200" not in line, f"answers {request[:60]!r} with {line!r}")
    wire.close()


@attack(
    "calls/http", against="node", breaks="only programs of this machine call in its name", expect="refused", within=60
)
async def call_over_http(target: Target) -> None:
    """Posts calls as a web page's visitor would, with an Origin, under other hosts' names, of other types, compressed,
    with two lengths, a negative one and one of twenty digits, in chunks that never end; none may be carried out."""
    body = write_document(_LIST)
    length = b"Content-Length: %d\r\n" % len(body)
    for head in (
        _POST + b"Origin: http://example.com\r\n" + length,
        _POST + b"Sec-Fetch-Site: cross-site\r\n" + length,
        _POST.replace(b"localhost", b"example.com") + length,
        _POST.replace(b"text/xml", b"text/plain") + length,
        _POST.replace(b"Host: localhost\r\n", b"") + length,
        _POST + b"Content-Encoding: gzip\r\n" + length,
        _POST + length + b"Content-Length: 5\r\n",
        _POST + b"Content-Length: -1\r\n",
        _POST + b"Content-Length: 99999999999999999999\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n" + length,
        b"OPTIONS /RPC2 HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /RPC2 HTTP/1.1\r\nHost: localhost\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n",
        b"POST /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n" + length,
        b"POST /RPC2 HTTP/9.9\r\n" + length,
    ):
        await _refuses(target, head + b"\r\n" + body)


@attack("calls/http-head", against="node", breaks="max_http_head", expect="closed", within=30)
async def send_a_head_without_end(target: Target) -> None:
    """Posts with headers without end."""
    wire = await target.connect()
    await wire.send(_POST)
    most = 10 * target.limits.max_http_head + target.bounds.buffer_bytes
    while True:
        await wire.send(b"X-More: and another thing\r\n" * 100)
        target.check(wire.sent <= most, "reads a head that has no end")


@attack("calls/http-drip", against="node", breaks="request_timeout, call_body_timeout", expect="out-waited", within=90)
async def drip_a_post(target: Target) -> None:
    """Posts a byte a second: on one connection of the head, on another of the document behind a good one."""

    async def drip(said: bytes, drop: bytes) -> None:
        wire = await target.connect()
        await wire.send(said)
        while True:
            await wire.send(drop)
            await trio.sleep(1)

    head, body = b"POST /RPC2 HTTP/1.1\r\nX: ", _POST + b"Content-Length: 9999\r\n\r\n"
    await together(partial(drip, head, b"x"), partial(drip, body, b"<"))
