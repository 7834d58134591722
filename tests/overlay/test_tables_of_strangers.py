"""What strangers can put here: fair tables, peers, items, rates, tokens, votes."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from osp2p.errors import MalformedDatagram
from osp2p.limits import DEFAULT
from osp2p.overlay.fair import FairTable
from osp2p.overlay.item import ImmutableItem, sign_item
from osp2p.overlay.rates import Rates, network_of, owner_of
from osp2p.overlay.stores import ItemStore, PeerStore
from osp2p.overlay.timers import Timers
from osp2p.overlay.tokens import Tokens
from osp2p.overlay.votes import Votes
from osp2p.wire.address import Address

SOMEBODY = Address("20.0.0.1", 5000)
KEY = bytes(20)


# --- fair tables ---


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd"), st.integers(0, 3)), max_size=120))
def test_a_fair_table_is_bounded_and_consistent(steps: list[tuple[int, str, int]]) -> None:
    table = FairTable[int, int](10, 6, 20.0)
    now = 0.0
    model: dict[int, tuple[str, float]] = {}
    for key, owner, pause in steps:
        now += pause
        for lost in table.expire(now):
            assert model.pop(lost)[1] <= now
        lost_keys = table.put(key, key, owner, now)
        if lost_keys is None:
            model.pop(key, None)
            assert Counter(o for o, _ in model.values())[owner] == 6
        else:
            for lost in lost_keys:
                del model[lost]
            model[key] = (owner, now + 20.0)
        assert set(table) == set(model)
        assert len(table) <= 10
        for name, (its_owner, expires) in model.items():
            assert table.owner(name) == its_owner
            assert (table.get(name, now) is not None) == (expires > now)


def test_who_floods_floods_themselves_out() -> None:
    table = FairTable[str, int](100, 100, 60.0)
    for number in range(20):
        table.put(f"honest{number}", number, f"host{number}", 0.0)
    for number in range(10_000):
        table.put(f"flood{number}", number, f"flooder{number % 3}", 1.0)
    assert len(table) == 100
    assert all(f"honest{number}" in table for number in range(20))


# --- peers ---


def test_peers_are_told_by_family_and_forgotten() -> None:
    store = PeerStore(DEFAULT)
    rng = random.Random(1)
    store.put(KEY, SOMEBODY, 0.0)
    store.put(KEY, Address("2001:db8::1", 7), 0.0)
    assert store.peers(KEY, 1.0, rng, ipv6=False) == [SOMEBODY]
    assert store.peers(KEY, 1.0, rng, ipv6=True) == [Address("2001:db8::1", 7)]
    store.put(KEY, SOMEBODY, DEFAULT.peer_lifetime - 1)
    assert store.peers(KEY, DEFAULT.peer_lifetime + 1, rng, ipv6=False) == [SOMEBODY]
    assert store.peers(KEY, 2 * DEFAULT.peer_lifetime, rng, ipv6=False) == []
    assert (len(store), store.keys) == (0, 0)


def test_an_answer_has_so_many_peers() -> None:
    store = PeerStore(DEFAULT)
    for number in range(120):
        store.put(KEY, Address(f"20.0.1.{number + 1}", 5), 0.0)
    chosen = [tuple(store.peers(KEY, 1.0, random.Random(seed), ipv6=False)) for seed in range(5)]
    assert {len(set(peers)) for peers in chosen} == {DEFAULT.max_values}
    assert len(set(chosen)) == 5


def test_floods_of_announcements_are_bounded() -> None:
    limits = replace(DEFAULT, max_stored_peers=500, max_stored_peers_per_host=100, max_peers_per_key_and_host=4)
    store = PeerStore(limits)
    store.put(KEY, SOMEBODY, 0.0)
    rng = random.Random(1)
    for hosts, kept in ((3, 301), (8, 500)):
        refused = 0
        for number in range(3000):
            try:
                store.put(rng.randbytes(20), Address(f"30.0.0.{number % hosts + 1}", 5), 1.0)
            except MalformedDatagram:
                refused += 1
        assert len(store) == kept
        assert hosts == 8 or refused == 2700
    assert store.peers(KEY, 2.0, rng, ipv6=False) == [SOMEBODY]
    with pytest.raises(MalformedDatagram):
        for port in range(1, 10):
            store.put(KEY, Address("31.0.0.1", port), 2.0)
    assert store.keys == len({key for key, _ in store._kept})


def test_a_key_has_so_many_peers() -> None:
    store = PeerStore(replace(DEFAULT, max_peers_per_key=3))
    for number in range(3):
        store.put(KEY, Address(f"20.0.0.{number + 1}", 5), 0.0)
    with pytest.raises(MalformedDatagram):
        store.put(KEY, Address("20.0.0.9", 5), 0.0)
    store.put(KEY, Address("20.0.0.1", 5), 1.0)


def test_a_host_with_a_whole_ipv6_network_has_no_more_places_of_a_key_than_others() -> None:
    """Else it would fill them all, and nobody else could announce that he has what the key stands for."""
    store = PeerStore(DEFAULT)
    taken = 0
    for number in range(DEFAULT.max_peers_per_key):
        with suppress(MalformedDatagram):
            store.put(KEY, Address(f"2001:db8::{number + 1:x}", 5), 0.0)
            taken += 1
    assert taken == DEFAULT.max_peers_per_key_and_host
    store.put(KEY, Address("2001:db8:0:1::1", 5), 0.0)
    store.put(KEY, SOMEBODY, 0.0)


# --- items ---

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_newer_items_replace_older_ones() -> None:
    store = ItemStore(DEFAULT)
    items = [sign_item(OWNER, b"%d" % sequence, sequence) for sequence in range(3)]
    store.put(items[1], SOMEBODY, 0.0)
    store.put(items[1], SOMEBODY, 1.0)
    for outdated in (items[0], sign_item(OWNER, b"other", 1)):
        with pytest.raises(MalformedDatagram) as caught:
            store.put(outdated, SOMEBODY, 2.0)
        assert caught.value.code == 302
    with pytest.raises(MalformedDatagram) as caught:
        store.put(items[2], SOMEBODY, 2.0, swap=0)
    assert caught.value.code == 301
    store.put(items[2], SOMEBODY, 2.0, swap=1)
    assert store.get(items[1].target, 3.0) == items[2]
    assert store.get(items[1].target, 3.0 + DEFAULT.item_lifetime) is None


def test_items_are_bounded_by_who_put_them_here() -> None:
    store = ItemStore(replace(DEFAULT, max_stored_items=20, max_stored_items_per_host=10))
    precious = ImmutableItem(b"precious")
    store.put(precious, SOMEBODY, 0.0)
    with pytest.raises(MalformedDatagram):
        for number in range(30):
            store.put(ImmutableItem(number), Address("30.0.0.1", 1), 0.0)
    for number in range(100, 160):
        store.put(ImmutableItem(number), Address(f"30.0.{number}.1", 1), 0.0)
    assert len(store) == 20
    store.put(precious, Address("30.0.0.9", 1), 1.0)
    assert store.get(precious.target, 1.0) == precious


# --- rates ---


def test_a_burst_and_then_a_rate() -> None:
    rates = Rates(10.0, 20, 100)
    assert sum(rates.take("a", 0.0) for _ in range(100)) == 20
    assert sum(rates.take("a", second / 100) for second in range(1, 1001)) == 100
    assert rates.take("b", 0.0)


@given(st.lists(st.floats(0, 2), max_size=200), st.floats(1, 50), st.integers(1, 20))
def test_no_ten_seconds_have_more_than_may_be(pauses: list[float], rate: float, burst: int) -> None:
    rates = Rates(rate, burst, 10)
    now, times = 0.0, []
    for pause in pauses:
        now += pause
        times.append(rates.reserve("a", now))
    assert all(at >= 0 for at in times)
    assert times == sorted(times)
    for begin in times:
        assert sum(begin <= at < begin + 10 for at in times) <= burst + 10 * rate + 1


@given(st.floats(1, 50), st.integers(1, 20), st.integers(0, 50))
def test_what_goes_at_once_holds_up_what_may_wait_for_one_burst_at_most(rate: float, burst: int, paced: int) -> None:
    rates = Rates(rate, burst, 10)
    before = [rates.reserve("a", 0.0) for _ in range(paced)]
    for _ in range(1000):
        rates.note("a", 0.0)
    at = rates.reserve("a", 0.0)
    assert at <= max([*before, 0.0]) + (burst + 1) / rate
    assert at >= max([*before, 0.0])


def test_rates_of_so_many_addresses_are_remembered() -> None:
    rates = Rates(1.0, 1, 50)
    for number in range(1000):
        rates.take(str(number), 0.0)
    assert len(rates) == 50


def test_whom_datagrams_count_for() -> None:
    assert owner_of(Address("20.0.0.1", 1)) == owner_of(Address("20.0.0.1", 2))
    assert owner_of(Address("2001:db8::1", 1)) == owner_of(Address("2001:db8::ffff:1", 2))
    assert owner_of(Address("127.0.0.1", 1)) != owner_of(Address("127.0.0.1", 2))
    assert network_of("20.0.0.1") == network_of("20.0.0.255") != network_of("20.0.1.1")
    assert network_of("2001:db8::1") == network_of("2001:db8::2")


# --- tokens ---


def test_a_token_is_for_one_address_and_a_short_time() -> None:
    tokens = Tokens(300.0, random.Random(1), 0.0)
    token = tokens.make(SOMEBODY, 100.0)
    assert tokens.accept(token, SOMEBODY, 100.0)
    assert tokens.accept(token, Address(SOMEBODY.host, 9), 100.0)
    assert not tokens.accept(token, Address("20.0.0.2", SOMEBODY.port), 100.0)
    assert tokens.accept(token, SOMEBODY, 599.0)
    assert not tokens.accept(token, SOMEBODY, 900.0)
    assert not tokens.accept(b"", SOMEBODY, 100.0)


def test_tokens_do_not_outlive_a_pause() -> None:
    tokens = Tokens(300.0, random.Random(1), 0.0)
    token = tokens.make(SOMEBODY, 0.0)
    assert not tokens.accept(token, SOMEBODY, 100_000.0)


# --- votes ---


def test_the_first_vote_counts_and_then_a_majority() -> None:
    votes = Votes(32, 1800.0)
    assert votes.count("a", "20.0.0.1", 0.0)
    assert not votes.count("b", "30.0.0.1", 0.0)
    assert not votes.count("b", "30.0.0.1", 0.0)
    assert votes.winner == "20.0.0.1"
    assert not votes.count("c", "30.0.0.1", 0.0)
    assert votes.count("d", "30.0.0.1", 0.0)
    assert votes.winner == "30.0.0.1"


def test_one_liar_among_many_changes_nothing() -> None:
    votes = Votes(32, 1800.0)
    for number in range(20):
        votes.count(f"host{number}", "20.0.0.1", 0.0)
    for number in range(200):
        assert not votes.count("liar", f"66.0.0.{number}", 0.0)
    assert votes.winner == "20.0.0.1"


def test_private_addresses_win_only_without_others() -> None:
    votes = Votes(32, 1800.0)
    assert votes.count("a", "192.168.1.5", 0.0)
    assert votes.count("b", "20.0.0.1", 0.0)
    assert not votes.count("c", "192.168.1.5", 0.0)
    assert votes.winner == "20.0.0.1"


def test_votes_are_bounded() -> None:
    votes = Votes(8, 1800.0)
    for number in range(1000):
        votes.count(f"host{number}", "20.0.0.1", 0.0)
    assert len(votes._said) == 8


def test_who_has_left_does_not_outvote_who_is_there() -> None:
    """A node that moves, of whose hosts most have gone meanwhile, is where the others see it."""
    votes = Votes(32, 1800.0)
    for number in range(20):
        votes.count(f"gone{number}", "20.0.0.1", 0.0)
    assert not votes.count("a", "30.0.0.1", 1000.0)
    assert not votes.count("b", "30.0.0.1", 1000.0)
    assert not votes.count("c", "30.0.0.1", 1000.0)
    assert votes.count("a", "30.0.0.1", 1801.0)
    assert votes.winner == "30.0.0.1"


def test_one_host_alone_tells_of_a_move_in_time() -> None:
    """In a network of two there is no majority of three; but whoever says something else each time is not followed."""
    votes = Votes(32, 1800.0)
    votes.count("other", "20.0.0.1", 0.0)
    votes.count("other", "20.0.0.1", 900.0)
    assert not votes.count("other", "30.0.0.1", 1000.0)
    assert not votes.count("other", "30.0.0.1", 2600.0)
    assert votes.count("other", "30.0.0.1", 2701.0)
    changes = sum(votes.count("other", f"66.0.0.{number}", 2702.0 + 100 * number) for number in range(180))
    assert changes == 9


def test_an_address_that_is_confirmed_stands() -> None:
    votes = Votes(32, 1800.0)
    votes.count("honest", "20.0.0.1", 0.0)
    for number in range(1, 20):
        votes.count("honest", "20.0.0.1", 900.0 * number)
        assert not votes.count("liar", "66.0.0.1", 900.0 * number + 899)
    assert votes.winner == "20.0.0.1"


# --- timers ---


def test_timers_run_in_order() -> None:
    timers = Timers()
    ran: list[str] = []
    timers.at(2.0, lambda now: ran.append("late"))
    timers.at(1.0, lambda now: ran.append("first"))
    timers.at(1.0, lambda now: ran.append("second"))
    assert timers.next_at == 1.0
    timers.run(1.5)
    assert ran == ["first", "second"]
    timers.run(2.0)
    assert ran == ["first", "second", "late"]
    assert timers.next_at == float("inf")
