"""One node, and whoever sends it datagrams."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha1

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.limits import DEFAULT, Limits
from osp2p.overlay.bencode import Value
from osp2p.overlay.compact import Contact, pack_contacts, unpack_contacts
from osp2p.overlay.engine import Engine
from osp2p.overlay.identifier import id_for
from osp2p.overlay.item import sign_item
from osp2p.overlay.krpc import Arguments, Failure, Message, Query, Response, parse_message, write_message
from osp2p.wire.address import Address

NETWORK = b"network!"
ASKER = Address("20.0.0.1", 5000)
OTHER = Address("20.9.9.9", 5000)
KEY = bytes(range(20))
OWNER = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Bench:
    """A node, and a stranger's view of it.

    Args:
        neighbours: how many nodes it knows from the beginning.
    """

    def __init__(
        self,
        neighbours: int = 0,
        *,
        network: bytes = NETWORK,
        limits: Limits = DEFAULT,
        ipv6: bool = False,
        read_only: bool = False,
    ) -> None:
        self.rng = random.Random(1)
        self.now = 0.0
        self.engine = Engine(network=network, limits=limits, rng=self.rng, now=0.0, ipv6=ipv6, read_only=read_only)
        for number in range(neighbours):
            host = f"30.{number}.0.1"
            self.engine.families[False].table.note_answer(
                Contact(id_for(host, self.rng), Address(host, 1000 + number)), 0.0
            )

    def ask(
        self,
        method: bytes,
        arguments: Arguments,
        source: Address = ASKER,
        *,
        network: bytes | None = None,
        pad: int = 0,
        **more: bool,
    ) -> tuple[list[Message], int]:
        """Ask it something. Returns: all that it sends back to the asker, and how long the question was."""
        if pad:
            arguments = {**arguments, b"pad": bytes(pad)}
        tag = self.engine.network if network is None else network
        query = Query(b"tt", method, id_for(source.host, self.rng), arguments, network=tag, **more)
        data = write_message(query)
        self.engine.receive(data, source, self.now)
        sent = [parse_message(answer) for answer, address in self.sent() if address == source]
        return [message for message in sent if not isinstance(message, Query)], len(data)

    def sent(self) -> list[tuple[bytes, Address]]:
        found = list(self.engine.outgoing)
        self.engine.outgoing.clear()
        return found

    def values(self, method: bytes, arguments: Arguments, source: Address = ASKER) -> Arguments:
        (answer,), _ = self.ask(method, arguments, source, pad=500)
        assert isinstance(answer, Response), answer
        return answer.values

    def code(self, method: bytes, arguments: Arguments, source: Address = ASKER) -> int:
        (answer,), _ = self.ask(method, arguments, source)
        assert isinstance(answer, Failure), answer
        return answer.code

    def token(self, source: Address = ASKER) -> bytes:
        token = self.values(b"get_peers", {b"info_hash": KEY}, source)[b"token"]
        assert isinstance(token, bytes)
        return token


def test_a_ping_is_answered_and_returned() -> None:
    bench = Bench()
    bench.engine.receive(
        write_message(Query(b"tt", b"ping", id_for(ASKER.host, bench.rng), network=NETWORK)), ASKER, 0.0
    )
    answer, ping = (parse_message(data) for data, _ in bench.sent())
    assert isinstance(answer, Response)
    assert answer.claimed_address == ASKER
    assert isinstance(ping, Query)  # it would be a neighbour
    assert ping.method == b"ping"


def test_the_nearest_nodes_are_told() -> None:
    bench = Bench(30)
    nodes = bench.values(b"find_node", {b"target": KEY})[b"nodes"]
    assert isinstance(nodes, bytes)
    assert unpack_contacts(nodes, ipv6=False) == bench.engine.families[False].table.nearest(KEY)


def test_both_families_are_told_of_where_they_are_wanted() -> None:
    bench = Bench(3, ipv6=True)
    assert set(bench.values(b"find_node", {b"target": KEY, b"want": [b"n4", b"n6"]})) == {b"nodes", b"nodes6"}
    assert set(bench.values(b"find_node", {b"target": KEY, b"want": [b"n6"]})) == {b"nodes6"}
    assert set(bench.values(b"find_node", {b"target": KEY, b"want": [5]})) == {b"nodes"}
    assert set(bench.values(b"find_node", {b"target": KEY}, Address("2001:db8::1", 5))) == {b"nodes6"}


def test_announcements_need_the_token_of_their_address() -> None:
    bench = Bench()
    token = bench.token()
    announce: Arguments = {b"info_hash": KEY, b"port": 4000, b"token": token}
    assert bench.code(b"announce_peer", announce, OTHER) == 203  # replayed from elsewhere
    assert bench.code(b"announce_peer", {**announce, b"token": b"x"}) == 203
    assert bench.values(b"announce_peer", announce) == {}
    assert bench.values(b"get_peers", {b"info_hash": KEY})[b"values"] == [b"\x14\x00\x00\x01\x0f\xa0"]
    bench.now = 1000.0
    assert bench.code(b"announce_peer", announce) == 203  # replayed later


def test_the_port_may_be_that_of_the_datagram() -> None:
    bench = Bench()
    bench.values(b"announce_peer", {b"info_hash": KEY, b"implied_port": 1, b"token": bench.token()})
    assert bench.engine.answers.peers.peers(KEY, 0.0, bench.rng, ipv6=False) == [ASKER]


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        (b"find_node", {}, 203),
        (b"find_node", {b"target": b"short"}, 203),
        (b"get_peers", {b"info_hash": 5}, 203),
        (b"announce_peer", {b"info_hash": KEY, b"port": 0, b"token": b"x"}, 203),
        (b"announce_peer", {b"info_hash": KEY, b"port": 70000, b"token": b"x"}, 203),
        (b"announce_peer", {b"info_hash": KEY, b"port": b"5", b"token": b"x"}, 203),
        (b"announce_peer", {b"info_hash": KEY, b"port": 5}, 203),
        (b"put", {}, 203),
        (b"put", {b"v": b"x", b"token": b"wrong"}, 203),
        (b"get", {b"target": KEY[1:]}, 203),
        (b"vote", {b"target": KEY}, 204),
    ],
)
def test_what_is_refused(method: bytes, arguments: Arguments, code: int) -> None:
    assert Bench().code(method, arguments) == code


def put(bench: Bench, value: Value, **more: Value) -> Arguments:
    return {b"v": value, b"token": bench.token(), **{key.encode(): part for key, part in more.items()}}


def test_immutable_items_are_kept() -> None:
    bench = Bench()
    assert bench.values(b"put", put(bench, b"hello")) == {}
    found = bench.values(b"get", {b"target": sha1(b"5:hello").digest()})
    assert found[b"v"] == b"hello"
    assert bench.code(b"put", put(bench, bytes(1000))) == 205


def test_signed_items_are_kept() -> None:
    bench = Bench()
    item = sign_item(OWNER, b"hello", 4, b"salt")
    signed = put(bench, b"hello", k=item.key, seq=4, sig=item.signature, salt=b"salt")
    assert bench.code(b"put", {**signed, b"v": b"other"}) == 206
    assert bench.code(b"put", {**signed, b"salt": bytes(65)}) == 207
    assert bench.values(b"put", signed) == {}
    found = bench.values(b"get", {b"target": item.target})
    assert (found[b"v"], found[b"k"], found[b"seq"], found[b"sig"]) == (b"hello", item.key, 4, item.signature)
    older = bench.values(b"get", {b"target": item.target, b"seq": 4})
    assert b"v" not in older
    assert older[b"seq"] == 4
    low = sign_item(OWNER, b"older", 3, b"salt")
    assert bench.code(b"put", put(bench, b"older", k=low.key, seq=3, sig=low.signature, salt=b"salt")) == 302
    assert bench.code(b"put", {**signed, b"cas": 3}) == 301


def test_a_neighbour_that_went_over_to_another_network_is_none() -> None:
    """It answers each ping with an error: not as who is silent does, but it is of no use here any more."""
    bench = Bench(neighbours=1)
    table = bench.engine.families[False].table
    (neighbour,) = (one.contact for one in table)
    for failures in range(DEFAULT.neighbour_failures):
        assert [one.failures for one in table] == [failures]
        bench.engine.ping(neighbour, bench.now)
        ((data, address),) = bench.sent()
        query = parse_message(data)
        assert isinstance(query, Query)
        refusal = Failure(query.transaction, 203, b"another network", network=b"another!")
        bench.engine.receive(write_message(refusal), address, bench.now)
    assert len(table) == 0


def test_networks_do_not_mix() -> None:
    bench = Bench(5)
    (answer,), size = bench.ask(b"ping", {}, network=b"others!!")
    assert isinstance(answer, Failure)
    assert answer.network == NETWORK
    assert len(write_message(answer)) <= 3 * size
    assert bench.ask(b"find_node", {b"target": KEY}, network=b"")[0] == []  # nobody is shown that there is anybody
    mainline = Bench(5, network=b"")
    assert len(mainline.ask(b"ping", {}, network=b"")[0]) == 1
    assert isinstance(mainline.ask(b"ping", {}, network=NETWORK)[0][0], Failure)


def test_a_node_that_only_asks_answers_nothing() -> None:
    assert Bench(read_only=True).ask(b"ping", {})[0] == []


def test_a_node_that_only_asks_is_no_neighbour() -> None:
    bench = Bench()
    bench.ask(b"ping", {}, read_only=True)
    assert bench.engine.outgoing == type(bench.engine.outgoing)()
    assert len(bench.engine.exchanges) == 0


def test_an_id_that_does_not_fit_its_address_is_no_neighbour() -> None:
    bench = Bench()
    bench.engine.receive(write_message(Query(b"tt", b"ping", bytes(20), network=NETWORK)), ASKER, 0.0)
    assert [type(parse_message(data)) for data, _ in bench.sent()] == [Response]


def lookup_contacts(bench: Bench, answer: Callable[[Query], Message], source: Address = OTHER) -> list[object]:
    """What becomes of a query that is answered so."""
    ended: list[object] = []
    bench.engine.ask(
        OTHER,
        b"ping",
        {},
        0.0,
        lambda result, _now: ended.append(result),
        expected=id_for(OTHER.host, random.Random(3)),
    )
    ((data, _),) = bench.sent()
    query = parse_message(data)
    assert isinstance(query, Query)
    bench.engine.receive(write_message(answer(query)), source, 1.0)
    return ended


def test_answers_count_from_where_and_whom_they_must_come() -> None:
    right = id_for(OTHER.host, random.Random(3))

    def good(query: Query) -> Message:
        return Response(query.transaction, right, network=NETWORK)

    assert isinstance(lookup_contacts(Bench(), good)[0], Response)
    assert lookup_contacts(Bench(), good, Address(OTHER.host, 1)) == []
    assert lookup_contacts(Bench(), good, ASKER) == []
    assert lookup_contacts(Bench(), lambda q: Response(b"guess", right, network=NETWORK)) == []
    assert lookup_contacts(Bench(), lambda q: Response(q.transaction, bytes(20), network=NETWORK)) == [None]
    assert lookup_contacts(Bench(), lambda q: Response(q.transaction, right)) == [None]
    failure = Failure(b"", 201, b"no", network=NETWORK)
    (ended,) = lookup_contacts(Bench(), lambda q: replace(failure, transaction=q.transaction))
    assert isinstance(ended, Failure)


def test_silence_ends_a_query() -> None:
    bench = Bench()
    ended: list[object] = []
    slow: list[float] = []
    bench.engine.ask(OTHER, b"ping", {}, 0.0, lambda result, _now: ended.append(result), slow=slow.append)
    bench.engine.wake(DEFAULT.slow_most)
    assert slow == [DEFAULT.slow_most]
    bench.engine.wake(DEFAULT.query_timeout)
    assert ended == [None]
    assert len(bench.engine.exchanges) == 0


def test_queries_to_one_address_are_paced() -> None:
    limits = replace(DEFAULT, overlay_mainline_rate=4.0, overlay_mainline_burst=8)
    bench = Bench(network=b"", limits=limits)
    for _ in range(60):
        bench.engine.ask(OTHER, b"ping", {}, 0.0, lambda result, _now: None)
    times = []
    now = 0.0
    while now < 20:
        bench.engine.wake(now)
        times += [now] * len(bench.sent())
        now += 0.05
    assert len(times) == 60
    assert max(sum(begin <= at < begin + 10 for at in times) for begin in times) < 50  # what libtorrent bears


@pytest.mark.parametrize("network", [NETWORK, b""])
def test_whoever_asks_without_pause_does_not_hold_up_what_he_is_asked(network: bytes) -> None:
    bench = Bench(network=network)
    for number in range(1000):  # the address may be forged, too: somebody else's, whom we would like to ask
        bench.now = number / 100
        bench.ask(b"ping", {})
    ended: list[object] = []
    bench.engine.ask(ASKER, b"ping", {}, bench.now, lambda result, _now: ended.append(result))
    bench.engine.wake(bench.now + 0.5)
    assert any(isinstance(parse_message(data), Query) for data, address in bench.sent() if address == ASKER)
    bench.engine.wake(bench.now + 0.5 + DEFAULT.query_timeout)
    assert ended == [None]


def test_pending_queries_are_bounded() -> None:
    bench = Bench(limits=replace(DEFAULT, max_pending_queries=10))
    ended: list[object] = []
    for number in range(15):
        bench.engine.ask(Address("20.1.1.1", number + 1), b"ping", {}, 0.0, lambda result, _now: ended.append(result))
    bench.engine.wake(0.0)
    assert ended == [None] * 5


def test_a_flood_from_one_address_is_dropped() -> None:
    bench = Bench(5)
    for _ in range(3000):
        bench.ask(b"ping", {})
    assert bench.engine.counts["queries in"] == DEFAULT.overlay_in_burst
    assert bench.ask(b"ping", {}, OTHER)[0]
    bench.now = 10.0
    assert bench.ask(b"ping", {})[0]


def test_a_flood_from_many_addresses_is_bounded() -> None:
    bench = Bench(5, limits=replace(DEFAULT, overlay_in_total=200.0, max_verifying=10))
    for number in range(1000):
        bench.ask(b"ping", {}, Address(f"40.{number // 250}.{number % 250}.1", 5))
    assert bench.engine.counts["queries in"] == 200
    assert len(bench.engine._verifying) == 10


# --- amplification ---


def full_bench() -> Bench:
    """A node with as much to tell as may be."""
    bench = Bench(40, ipv6=True)
    for number in range(60):
        bench.engine.answers.peers.put(KEY, Address(f"50.0.{number}.1", 5), 0.0)
    item = sign_item(OWNER, bytes(990), 1)
    bench.engine.answers.items.put(item, OTHER, 0.0)
    return bench


@pytest.mark.parametrize("pad", [0, 10, 100, 400, 900])
@pytest.mark.parametrize("method", [b"find_node", b"get_peers", b"get", b"ping", b"announce_peer", b"put", b"nothing"])
def test_answers_to_unproved_addresses_are_not_much_longer_than_queries(method: bytes, pad: int) -> None:
    bench = full_bench()
    target = sign_item(OWNER, b"", 1).target if method == b"get" else KEY
    source = Address("60.0.0.1", 7)
    arguments: Arguments = {b"target": target, b"info_hash": KEY, b"want": [b"n4", b"n6"]}
    query = Query(b"t", method, id_for(source.host, bench.rng), {**arguments, b"pad": bytes(pad)}, network=NETWORK)
    data = write_message(query)
    bench.engine.receive(data, source, 0.0)
    answers = [answer for answer, address in bench.sent() if address == source]
    assert sum(map(len, answers)) <= DEFAULT.unproved_answer_factor * len(data) + 100  # and one ping
    assert all(len(answer) <= DEFAULT.unproved_answer_factor * len(data) for answer in answers)


def test_a_token_proves_an_address() -> None:
    bench = full_bench()
    target = sign_item(OWNER, b"", 1).target
    (first,), _ = bench.ask(b"get", {b"target": target})
    assert isinstance(first, Response)
    assert b"v" not in first.values
    (again,), _ = bench.ask(b"get", {b"target": target, b"token": first.values[b"token"]})
    assert isinstance(again, Response)
    assert again.values[b"v"] == bytes(990)


def test_queries_of_ours_are_long_enough_for_whole_answers() -> None:
    bench, asker = full_bench(), Bench()
    target = sign_item(OWNER, b"", 1).target
    for method, arguments, wanted in (
        (b"find_node", {b"target": KEY}, b"nodes"),
        (b"get_peers", {b"info_hash": KEY}, b"values"),
        (b"get", {b"target": target}, b"v"),
    ):
        asker.engine.ask(OTHER, method, arguments, 0.0, lambda answer, _now: None)  # type: ignore[arg-type]
        ((data, _),) = asker.sent()
        bench.engine.receive(data, ASKER, 0.0)
        answer = next(parse_message(sent) for sent, address in bench.sent() if address == ASKER)
        assert isinstance(answer, Response)
        assert wanted in answer.values
        nodes = answer.values[b"nodes"]
        assert isinstance(nodes, bytes)
        assert len(nodes) == 8 * 26
        peers = answer.values.get(b"values", [])
        assert isinstance(peers, list)
        assert len(peers) == (50 if wanted == b"values" else 0)


# --- what comes from other families and machines ---


def test_nodes_on_loopback_are_told_others_at_our_own_address() -> None:
    bench = Bench()
    family = bench.engine.families[False]
    family.table.note_answer(Contact(bytes(20), Address("127.0.0.1", 7000)), 0.0)
    assert bench.values(b"find_node", {b"target": KEY})[b"nodes"] == b""
    family.note_vote("somebody", "20.7.7.7", 0.0)
    nodes = bench.values(b"find_node", {b"target": KEY})[b"nodes"]
    assert nodes == pack_contacts([Contact(bytes(20), Address("20.7.7.7", 7000))])
    local = bench.values(b"find_node", {b"target": KEY}, Address("127.0.0.1", 9))[b"nodes"]
    assert local == pack_contacts([Contact(bytes(20), Address("127.0.0.1", 7000))])


def test_what_we_announce_ourselves_is_told() -> None:
    bench = Bench()
    bench.engine.announced[KEY] = 4000
    assert bench.values(b"get_peers", {b"info_hash": KEY})[b"own"] == 4000
    mainline = Bench(network=b"")
    mainline.engine.announced[KEY] = 4000
    assert b"own" not in mainline.values(b"get_peers", {b"info_hash": KEY})
    mainline.engine.families[False].note_vote("somebody", "20.7.7.7", 0.0)
    assert mainline.values(b"get_peers", {b"info_hash": KEY})[b"values"] == [b"\x14\x07\x07\x07\x0f\xa0"]


# --- garbage ---


@settings(max_examples=300)
@given(st.data())
def test_garbage_is_dropped(data: st.DataObject) -> None:
    bench = full_bench()
    method = data.draw(st.sampled_from([b"ping", b"find_node", b"get_peers", b"announce_peer", b"get", b"put"]))
    arguments: Arguments = {b"target": KEY, b"info_hash": KEY, b"port": 5, b"token": b"12345678", b"v": [b"x", 5]}
    raw = bytearray(write_message(Query(b"tt", method, bytes(20), arguments, network=NETWORK)))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        raw = raw or bytearray(b"d")
    before = len(bench.engine.answers.peers)
    bench.engine.receive(bytes(raw), ASKER, 0.0)
    bench.engine.wake(100.0)
    assert len(bench.engine.answers.peers) <= before + 1


def test_impossible_sources_are_dropped() -> None:
    bench = Bench()
    data = write_message(Query(b"tt", b"ping", bytes(20), network=NETWORK))
    for source in (Address("224.0.0.1", 5), Address("0.0.0.0", 5), Address("2001:db8::1", 5)):
        bench.engine.receive(data, source, 0.0)
    bench.engine.receive(bytes(5000), ASKER, 0.0)
    assert bench.engine.counts["malformed"] == 4
    assert bench.sent() == []
