"""Neighbours: nodes of an overlay that lie to whoever joins through them, or is led to them by his own lookups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import trio

from osp2p.evil.datagrams import Value, pack
from osp2p.evil.league import League, Lie, Member, Question, id_near
from osp2p.evil.registry import attack

#: How many of us there are where many are needed.
_CROWD = 24

#: How many of us stand in a row: as many as one lookup asks.
_ROW = 200

#: How many of us come at a time to whoever joins, so that most of those who come are ours.
_RUSH = 96


def _name_ourselves(league: League, member: Member, question: Question) -> Mapping[bytes, Value]:
    """Nobody has announced anything, and nobody is nearer to it than we."""
    return {b"nodes": league.name_each_other(question), b"token": b"t"}


async def _settle(league: League, lie: Lie, members: int) -> None:
    """Be so many, at sixteen addresses, and answer so from now on."""
    league.lie = lie
    await league.add(members, sources=16)
    league.begin()


@attack(
    "neighbours/sybils",
    role="neighbour",
    against="node",
    breaks="max_lookup_same_network, lookup_witnesses",
    expect="survived",
    within=30,
)
async def settle_around_every_key(league: League) -> None:
    """Is two dozen nodes at addresses of one network of 24 bits, each with an id next to whatever is looked for, as far
    as its address allows; they name nobody but each other, and know of nobody who announced anything."""
    await _settle(league, partial(_name_ourselves, league), _CROWD)
    await trio.sleep_forever()


@attack(
    "neighbours/eclipse",
    role="neighbour",
    against="node",
    breaks="max_bucket_same_network, max_saved_contacts",
    expect="survived",
    within=60,
)
async def close_in_who_joins(league: League) -> None:
    """Is what a joining node is told to join through, beside an honest node, and names a hundred of its kind as next to
    whatever it looks for, its own place among them; all of them come to it by themselves, too. Who lets one network
    fill his table sees nobody else any more."""
    known: set[tuple[str, bytes]] = set()

    def lie(member: Member, question: Question) -> Mapping[bytes, Value]:
        # Whoever joins has another id as soon as he has been told his address.
        newcomer = (question.source.host, question.sender)
        if newcomer not in known and question.target == question.sender:
            known.add(newcomer)
            league.knock(question)
        return _name_ourselves(league, member, question)

    await _settle(league, lie, _RUSH)
    await trio.sleep_forever()


@attack(
    "neighbours/dawdle",
    role="neighbour",
    against="node",
    breaks="query_timeout",
    expect="survived",
    within=60,
)
async def answer_as_late_as_one_may(league: League) -> None:
    """Answers each question just before it counts as unanswered, with nodes that are nearer still, and answer as late:
    a lookup that waits for them all has no end."""
    league.delay = 0.9 * league.limits.query_timeout
    await _settle(league, partial(_name_ourselves, league), _CROWD)
    await trio.sleep_forever()


@attack(
    "neighbours/descent",
    role="neighbour",
    against="node",
    breaks="lookup_timeout, find_timeout",
    expect="survived",
    within=90,
)
async def lead_ever_nearer(league: League) -> None:
    """Is two hundred nodes in a row before whatever is looked for. Each answers just before it would count as slow, and
    names one that is a little nearer: who looks on while he comes nearer is led on for minutes."""
    told: Counter[tuple[str, bytes]] = Counter()
    searches: dict[tuple[str, bytes], tuple[float, float]] = {}

    def lie(member: Member, question: Question) -> Mapping[bytes, Value]:
        now = trio.current_time()
        search = (question.source.host, question.target)
        if question.method == b"get_peers":
            began, last = searches.get(search, (now, now))
            is_same = now - last < league.limits.query_timeout  # so long a pause is the end of one
            searches[search] = (began if is_same else now, now)
        elif question.method == b"announce_peer":
            searches.pop(search, None)
        told[search] += 1
        return {b"nodes": league.name_in_row(question, told[search] - 1), b"token": b"t"}

    league.delay = 0.95 * league.limits.slow_most
    await _settle(league, lie, _ROW)
    most = league.limits.lookup_timeout + league.limits.query_timeout  # what waits for its turn comes a little later
    while True:
        await trio.sleep(1)
        longest = max((last - began for began, last in searches.values()), default=0.0)
        league.check(longest <= most, f"looks for one thing for {longest:.0f} s")


async def _reflect(league: League, rate: float, burst: int) -> None:
    """Name ports of one address, without end, and count what comes there."""

    def lie(member: Member, question: Question) -> Mapping[bytes, Value]:
        named = b"".join(
            id_near(question.target, victim.host, league.rng.getrandbits(20)) + pack(victim.host, victim.port)
            for _ in range(16)
        )
        return {b"nodes": named, b"token": b"t"} if member is not victim else {b"nodes": b""}

    league.lie = lie
    await league.add(9, sources=9)
    victim = league.members[-1]
    league.begin()
    before: Counter[tuple[str, str]] = Counter()
    while True:
        await trio.sleep(1)
        for (_, to), came in (league.came - before).items():
            league.check(
                to != victim.host or came <= 1.2 * (burst + rate) + 10,
                f"sends {came} questions within a second to one address",
            )
        before = league.came.copy()


@attack(
    "neighbours/reflect",
    role="neighbour",
    against="node",
    breaks="overlay_out_rate, overlay_out_burst",
    expect="survived",
    within=60,
)
async def have_others_flooded(league: League) -> None:
    """Names hundreds of nodes, all of them at one address, in answer to every question: a node that asks them all as
    fast as it is told of them floods somebody who has asked nobody for anything."""
    await _reflect(league, league.limits.overlay_out_rate, league.limits.overlay_out_burst)


@attack(
    "neighbours/reflect-mainline",
    role="neighbour",
    against="node",
    breaks="overlay_mainline_rate, overlay_mainline_burst",
    expect="survived",
    within=60,
)
async def have_others_flooded_in_mainline(league: League) -> None:
    """Does the same to nodes of BitTorrent's network, where an address that sends more than five packets a second is
    blocked for it."""
    await _reflect(league, league.limits.overlay_mainline_rate, league.limits.overlay_mainline_burst)


@attack(
    "neighbours/silent-join",
    role="neighbour",
    against="node",
    breaks="join_first, join_most, join_patience",
    expect="refused",
    within=25,
)
async def let_nobody_join(league: League) -> None:
    """Is the one node that somebody is told to join through, and never answers; it must be asked less and less often,
    and nothing may hang meanwhile."""
    await league.add(1)
    league.begin()
    while True:
        await trio.sleep(1)
        seconds = trio.current_time() - (trio.current_time() if league.began is None else league.began)
        pauses = 4 + seconds / (league.limits.join_first + league.limits.query_timeout) * 2
        for (source, _), came in league.came.items():
            league.check(came <= pauses, f"{source} asks {came} times within {seconds:.0f} s, and nobody answers")


@attack(
    "neighbours/many-peers",
    role="neighbour",
    against="node",
    breaks="max_found_peers, max_asked_peers, find_again, find_linger",
    expect="survived",
    within=90,
)
async def name_peers_without_end(league: League) -> None:
    """Names a hundred and fifty peers of whatever is looked for, others with every answer, all of them ports of its own
    that take a connection and say nothing: they are to be asked some at a time, and not all of them."""

    def lie(member: Member, question: Question) -> Mapping[bytes, Value]:
        if question.method == b"get_peers":
            return {b"values": list(league.rng.sample(peers, 150)), b"token": b"t"}
        return _name_ourselves(league, member, question)

    league.lie = lie
    await league.add(8)
    peers: list[Value] = list(await league.open_doors(500))
    league.begin()
    while True:
        await trio.sleep(0.1)
        most = league.limits.max_asked_peers + 5
        league.check(league.most_inside <= most, f"asks {league.most_inside} peers at a time that nobody has proved")
