"""Overlay: datagrams to a node: what is none, too many of them, lies, and more than a node should keep for others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial

import trio

from osp2p.evil.datagrams import Port, Value, encode, pack, refused, returned
from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.wire import beside

#: What no message is.
_NO_MESSAGES = (
    b"",
    b"d",
    b"e",
    b"i",
    b"ie",
    b"i-0e",
    b"i" + b"9" * 1500 + b"e",
    b"d1:ad2:id20:" + b"a" * 20,
    b"l" * 1500,
    b"d" * 1500,
    b"d1:a" * 400,
    b"99999999999999999999:a",
    b"-1:a",
    b"0:0:0:",
    b"d1:t2:aa1:y1:qe",
    b"d1:t2:aa1:y1:q1:q4:ping1:ade",
    b"d1:t2:aa1:y1:re",
    b"d1:t2:aa1:y1:e1:eli201ee",
    b"d1:t2:aa1:y1:z",
    b"d1:y1:q1:q4:ping1:t2:aae",
    b"\0" * 1000,
    b"\xff" * 1000,
    b"GET / HTTP/1.1\r\n\r\n",
)


@attack(
    "overlay/no-messages", against="node", breaks="a message is one bencoded dictionary", expect="survived", within=30
)
async def send_no_messages(target: Target) -> None:
    """Sends datagrams that are no messages: cut off, nested a thousand deep, with numbers of a thousand digits and
    lengths beyond the end, and random bytes. None may be answered, and the node must go on."""
    port = await target.enter()
    for data in _NO_MESSAGES:
        await port.send(data)
        await port.send(data + port.rng.randbytes(20))
    for _ in range(100):
        await port.send(port.rng.randbytes(port.rng.randrange(1, 1400)))
    target.check(bool(returned(await port.ask(b"ping"))), "does not answer a ping any more")


@attack("overlay/oversized", against="node", breaks="max_datagram", expect="survived", within=30)
async def send_large_datagrams(target: Target) -> None:
    """Sends well-formed queries of two to sixty thousand bytes; a node need not look at them."""
    port = await target.enter()
    for size in (target.limits.max_datagram, 4000, 9000, 30_000, 60_000):
        await port.send(port.write_query(b"ping", {b"pad": bytes(size)}, b"big!"))
    while (message := await port.receive(1)) is not None:
        target.check(message.get(b"t") != b"big!", "looks at a datagram that is over its limit")


@attack("overlay/malformed", against="node", breaks="a query has its arguments", expect="refused", within=60)
async def send_malformed_queries(target: Target) -> None:
    """Sends two dozen queries with arguments missing, of the wrong type and length, and of unknown methods; each is
    refused, or not answered."""
    port = await target.enter()
    key = bytes(20)
    queries: list[tuple[bytes, dict[bytes, Value]]] = [
        (b"nonsense", {}),
        (b"", {}),
        (b"find_node", {}),
        (b"find_node", {b"target": b"short"}),
        (b"find_node", {b"target": 5}),
        (b"find_node", {b"target": [key]}),
        (b"get_peers", {}),
        (b"get_peers", {b"info_hash": key + b"x"}),
        (b"announce_peer", {b"info_hash": key}),
        (b"announce_peer", {b"info_hash": key, b"port": 1, b"token": b""}),
        (b"announce_peer", {b"info_hash": key, b"port": -1, b"token": b"x"}),
        (b"announce_peer", {b"info_hash": key, b"port": 65536, b"token": b"x"}),
        (b"announce_peer", {b"info_hash": key, b"port": b"1", b"token": b"x"}),
        (b"get", {}),
        (b"get", {b"target": 1}),
        (b"put", {}),
        (b"put", {b"v": b"x"}),
        (b"put", {b"v": b"x", b"token": b"y"}),
        (b"put", {b"v": b"x", b"token": b"y", b"k": b"short", b"sig": b"short", b"seq": 1}),
    ]
    for method, arguments in queries:
        answer = await port.ask(method, arguments, 0.5)
        target.check(not returned(answer), f"takes a malformed {method!r}")
    target.check(bool(returned(await port.ask(b"ping"))), "does not answer a ping any more")


@attack("overlay/other-network", against="node", breaks="two networks stay two", expect="refused", within=30)
async def come_from_elsewhere(target: Target) -> None:
    """Asks in the name of another network, and of none: nobody of the node's network may be named, and nothing kept."""
    port = await target.enter()
    for network in (b"another!", b"x" * 32):
        port.network = network
        for method in (b"find_node", b"get_peers"):
            key = b"target" if method == b"find_node" else b"info_hash"
            answer = returned(await port.ask(method, {key: bytes(20), b"pad": bytes(200)}, 0.5))
            target.check(not answer.get(b"nodes") and b"token" not in answer, "tells another network of its own")


@attack("overlay/flood", against="node", breaks="overlay_in_rate, overlay_in_burst", expect="survived", within=60)
async def send_many(target: Target) -> None:
    """Sends five thousand pings from one address within a few seconds; what is beyond its share is dropped."""
    port = await target.enter()
    began = trio.current_time()
    most = target.limits.overlay_in_burst

    async def read() -> None:
        while await port.receive(2) is not None:
            pass

    async def send() -> None:
        for number in range(10 * most):
            await port.send(port.write_query(b"ping", {}, b"%d" % number))
            if number % 50 == 49:
                await trio.sleep(0.02)
        await trio.sleep(2)

    await beside(read, send)
    seconds = trio.current_time() - began
    allowed = 1.2 * (most + seconds * target.limits.overlay_in_rate) + 10
    # On loopback every port counts by itself, and the kernel's queue drops what is too fast.
    target.check(len(port.received) <= allowed, f"answers {len(port.received)} of one address within {seconds:.0f} s")


@attack(
    "overlay/crowd",
    against="node",
    breaks="overlay_in_total, max_rated_hosts, max_verifying",
    expect="survived",
    within=60,
)
async def come_as_many(target: Target) -> None:
    """Asks from two hundred ports of sixteen addresses, each a node of its own; the node asks back, before it counts
    them as neighbours, and only so many at a time."""
    first = await target.enter()
    ports = [first]
    for number in range(1, 200):
        port = await target.open_udp(number)
        port.network = first.network
        ports.append(port)
    for port in ports:
        await port.send(port.write_query(b"find_node", {b"target": bytes(20), b"pad": bytes(300)}, b"find"))
    await trio.sleep(0.5)
    pings = 0
    for port in ports:
        while (message := await port.receive(0.01)) is not None:
            pings += message.get(b"y") == b"q"
    target.check(pings <= target.limits.max_verifying, f"pings {pings} strangers at a time")


@attack(
    "overlay/amplify",
    against="node",
    breaks="unproved_answer_factor, max_values, max_proved",
    expect="survived",
    within=60,
)
async def ask_for_much_with_little(target: Target) -> None:
    """Announces a hundred peers of one key and then asks for them, from an address that has proved nothing, with the
    shortest queries there are: an answer that is many times as long would hit whoever the sender claims to be."""
    port = await target.enter()
    key = port.rng.randbytes(20)
    token = returned(await port.ask(b"get_peers", {b"info_hash": key, b"pad": bytes(200)})).get(b"token", b"")
    for number in range(100):
        await port.ask(b"announce_peer", {b"info_hash": key, b"port": 1000 + number, b"token": token}, 0.2)
    stranger = await target.open_udp(1)
    stranger.network = port.network
    for method, arguments in (
        (b"get_peers", {b"info_hash": key}),
        (b"find_node", {b"target": key}),
        (b"get", {b"target": key}),
    ):
        before, asked = stranger.received_bytes, stranger.sent
        await stranger.send(stranger.write_query(method, dict[bytes, Value](arguments), b"t"))
        await stranger.receive(1)
        factor = (stranger.received_bytes - before) / (stranger.sent - asked)
        most = target.limits.unproved_answer_factor
        target.check(factor <= most, f"answers {factor:.1f} times as much as a stranger says")


async def _announce(port: Port, key: bytes, number: int, token: Value) -> int:
    """Announce a port under a key. Returns: 0, or the code of the refusal; -1 for silence."""
    answer = await port.ask(b"announce_peer", {b"info_hash": key, b"port": number, b"token": token}, 0.5)
    return refused(answer) if answer is not None else -1


@attack(
    "overlay/announce-keys",
    against="node",
    breaks="max_stored_peers_per_host, max_stored_peers",
    expect="refused",
    within=300,
)
async def announce_many_keys(target: Target) -> None:
    """Announces itself under one key after the other, more of them than a node keeps for one address; the later ones
    must be refused, and somebody at another address must still be able to announce."""
    port = await target.enter()
    most = target.limits.max_stored_peers_per_host
    token = returned(await port.ask(b"get_peers", {b"info_hash": bytes(20), b"pad": bytes(200)})).get(b"token", b"")
    taken = 0
    for _ in range(min(most, 5000) + 20):
        taken += await _announce(port, port.rng.randbytes(20), 9, token) == 0
        await trio.sleep(1.1 / target.limits.overlay_in_rate)
    target.check(taken <= most, f"keeps {taken} announcements of one address")
    other = await target.open_udp(1)
    other.network = port.network
    key = other.rng.randbytes(20)
    token = returned(await other.ask(b"get_peers", {b"info_hash": key, b"pad": bytes(200)})).get(b"token", b"")
    if token:
        target.check(await _announce(other, key, 9, token) == 0, "keeps nothing for others any more")


@attack(
    "overlay/announce-one-key",
    against="node",
    breaks="max_peers_per_key, max_peers_per_key_and_host",
    expect="refused",
    within=120,
)
async def announce_one_key(target: Target) -> None:
    """Announces a hundred ports of one address under the same key, so that whoever asks for it finds nobody else; from
    then on they must be refused."""
    port = await target.enter()
    key = port.rng.randbytes(20)
    token = returned(await port.ask(b"get_peers", {b"info_hash": key, b"pad": bytes(200)})).get(b"token", b"")
    taken = 0
    for number in range(100):
        taken += await _announce(port, key, 1000 + number, token) == 0
    most = target.limits.max_peers_per_key_and_host
    target.check(taken <= most, f"keeps {taken} peers of one key at one address")


@attack("overlay/tokens", against="node", breaks="token_lifetime", expect="refused", within=900)
async def use_others_tokens(target: Target) -> None:
    """Announces with tokens that were given to another address, that were made up, that are empty, and that were given
    long ago; all must be refused."""
    port = await target.enter()
    other = await target.open_udp(1)
    other.network = port.network
    key = port.rng.randbytes(20)
    token = returned(await port.ask(b"get_peers", {b"info_hash": key, b"pad": bytes(200)})).get(b"token", b"")
    elsewhere = other.place.host != port.place.host
    for wrong in (b"", b"x" * 8, port.rng.randbytes(8), b"x" * 200):
        target.check(await _announce(port, key, 9, wrong) != 0, "takes an announcement with a token that it never gave")
    target.check(not elsewhere or await _announce(other, key, 9, token) != 0, "takes a token that it gave to another")
    await trio.sleep(2.1 * target.limits.token_lifetime)
    target.check(await _announce(port, key, 9, token) != 0, "takes a token of long ago")


@attack(
    "overlay/items", against="node", breaks="max_stored_items, max_stored_items_per_host", expect="refused", within=120
)
async def put_many_items(target: Target) -> None:
    """Puts one item after the other, more than a node keeps for one address, and some that are longer than an item may
    be."""
    port = await target.enter()
    most = target.limits.max_stored_items_per_host
    taken = 0
    for number in range(most + 20):
        taken += not refused(await _put(port, b"item %d" % number)) and bool(port.received)
        await trio.sleep(1.1 / target.limits.overlay_in_rate)
    target.check(taken <= most + 1, f"keeps {taken} items of one address")
    answer = await _put(port, bytes(1001))
    target.check(not returned(answer), "keeps an item of more than a thousand bytes")


async def _put(port: Port, value: Value, more: Mapping[bytes, Value] | None = None) -> dict[bytes, Value] | None:
    key = hashlib.sha1(encode(value), usedforsecurity=False).digest()
    answer = returned(await port.ask(b"get", {b"target": key, b"pad": bytes(400)}, 0.5))
    arguments: dict[bytes, Value] = {b"v": value, b"token": answer.get(b"token", b""), **(more or {})}
    return await port.ask(b"put", arguments, 0.5)


@attack("overlay/forged-items", against="node", breaks="a signed item is its signer's", expect="refused", within=60)
async def put_forged_items(target: Target) -> None:
    """Puts signed items whose signatures are made up, of the wrong length, or of another key: nobody may be made to
    say what he has not said."""
    port = await target.enter()
    for signature in (bytes(64), port.rng.randbytes(64), b"", bytes(63), bytes(65)):
        more: dict[bytes, Value] = {b"k": port.rng.randbytes(32), b"sig": signature, b"seq": 1, b"salt": b"osp2p"}
        target.check(not returned(await _put(port, b"forged", more)), "keeps an item that nobody has signed")


class _Liar:
    """A neighbour that answers pings rightly, so that it is taken for one, and other questions in its own way.

    Args:
        lie: makes the values of an answer; None: nothing is answered.
    """

    def __init__(self, target: Target, port: Port, lie: Mapping[bytes, Value] | None) -> None:
        self._target = target
        self._port = port
        self._lie = lie
        self.asked = 0

    async def serve(self) -> None:
        """Ask now and then, to be known, and answer."""
        port = self._port
        while True:
            await port.send(port.write_query(b"find_node", {b"target": port.id, b"pad": bytes(300)}, b"hi"))
            until = trio.current_time() + 5
            while (message := await port.receive(until - trio.current_time())) is not None:
                if message.get(b"q") == b"ping":
                    await port.answer(message)
                elif message.get(b"y") == b"q":
                    self.asked += 1
                    if self._lie is not None:
                        await port.answer(message, self._lie)


async def _lie(target: Target, lie: Mapping[bytes, Value] | None, seconds: float) -> int:
    """Be a lying neighbour for some time. Returns: how often it was asked for something."""
    port = await target.enter()
    liar = _Liar(target, port, lie)
    await beside(liar.serve, partial(trio.sleep, seconds))
    return liar.asked


def _nodes(port: Port, count: int, host: str) -> bytes:
    """So many nodes that are not there, at neighbouring ports of one host."""
    return b"".join(port.rng.randbytes(20) + pack(host, 20_000 + number) for number in range(count))


@attack(
    "overlay/many-nodes",
    against="node",
    breaks="max_lookup_candidates, max_lookup_queries, max_namer_failures, query_timeout",
    expect="survived",
    within=120,
)
async def name_nodes_that_are_not_there(target: Target) -> None:
    """Answers each question with as many nodes as a datagram holds, none of which is there, at its own address: a node
    that asks them all does nothing else, and does it to somebody."""
    port = await target.enter()
    await _lie(target, {b"nodes": _nodes(port, 60, port.place.host), b"token": b"t"}, 60)


@attack("overlay/malformed-nodes", against="node", breaks="what is named can be read", expect="survived", within=120)
async def answer_with_what_cannot_be_read(target: Target) -> None:
    """Answers questions with lists of nodes and peers that cannot be read: cut off, numbers in place of bytes, port 0,
    addresses of nobody, of everybody and of groups."""
    port = await target.enter()
    bad = b"".join(
        port.rng.randbytes(20) + pack(host, at)
        for host, at in (("0.0.0.0", 1), ("255.255.255.255", 9), ("224.0.0.1", 9), ("127.0.0.1", 22))
    )
    lies: tuple[dict[bytes, Value], ...] = (
        {b"nodes": b"x" * 25},
        {b"nodes": 5},
        {b"nodes": bad, b"values": [b"", b"12345", bytes(6), 7, b"x" * 500]},
        {b"nodes": bad + bytes(26), b"token": [b"x"], b"v": {b"x": 1}},
    )
    for lie in lies:
        await _lie(target, lie, 8)


@attack(
    "overlay/silent-neighbour",
    against="node",
    breaks="neighbour_failures, neighbour_quiet, slow_least, slow_most",
    expect="survived",
    within=300,
)
async def be_a_silent_neighbour(target: Target) -> None:
    """Answers pings, so that it is taken for a neighbour, and no other question."""
    await _lie(target, None, 120)


@attack("overlay/votes", against="node", breaks="max_voters", expect="survived", within=120)
async def lie_about_its_address(target: Target) -> None:
    """Tells a node, from two hundred ports, that it is at two hundred different addresses, in answer to its pings: who
    believes the majority of whoever comes changes his id without end."""
    first = await target.enter()
    for number in range(200):
        port = await target.open_udp(number)
        port.network = first.network
        await port.send(port.write_query(b"find_node", {b"target": port.id, b"pad": bytes(300)}, b"hi"))
        while (message := await port.receive(0.05)) is not None:
            transaction = message.get(b"t")
            if message.get(b"q") == b"ping" and isinstance(transaction, bytes):
                top: dict[bytes, Value] = {b"t": transaction, b"y": b"r", b"r": {b"id": port.id}, b"net": port.network}
                await port.send(encode(top | {b"ip": pack(f"198.51.100.{number}", 9)}))


@attack("overlay/answers-unasked", against="node", breaks="max_pending_queries", expect="survived", within=60)
async def answer_unasked(target: Target) -> None:
    """Sends a thousand answers to questions that nobody asked, with all short transactions in turn, and errors."""
    port = await target.enter()
    for number in range(1000):
        transaction = number.to_bytes(2, "big")
        top: dict[bytes, Value] = {b"t": transaction, b"y": b"r", b"net": port.network}
        await port.send(encode(top | {b"r": {b"id": port.id, b"nodes": _nodes(port, 8, port.place.host)}}))
        await port.send(encode(top | {b"y": b"e", b"e": [201, b"no"]}))
        await trio.sleep(3 / target.limits.overlay_in_rate)
    target.check(bool(returned(await port.ask(b"ping"))), "does not answer a ping any more")
