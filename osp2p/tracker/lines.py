"""PEER lines, and which of them an answer has room for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from operator import itemgetter
from typing import Any, TypeVar

from osp2p.limits import Limits
from osp2p.tracker.holdings import Content, Peer
from osp2p.wire.address import Address
from osp2p.wire.word import quote, unquote

Item = TypeVar("Item")

#: No PEER line with its LF is shorter than this one.
_SHORTEST_LINE = len(b"PEER a 1.1.1.1:1\n")

#: How much of an old client's buffer is kept for the terminator with its two numbers.
TERMINATOR_ROOM = 64

#: Up to so many holders, nothing needs to be left out of an answer to WANT, unless `Limits` are very narrow.
MOST_FEW = 10

#: What stands for the rest of an alias that is too long.
_CUT = b"..."


def how_few(limits: Limits) -> int:
    """How many holders an answer to WANT has room for, however long their lines are; at most `MOST_FEW`."""
    lines = (limits.max_base_reply - TERMINATOR_ROOM) // (limits.max_base_peer_line + len(b"\n"))
    return max(0, min(MOST_FEW, limits.max_want_peers, lines))


def shorten_alias(alias: bytes, room: int) -> bytes:
    """The alias, or as much of its beginning as fits `room` bytes when quoted, with three dots behind it."""
    quoted = quote(alias)
    if len(quoted) <= room:
        return alias
    kept = quoted[: room - len(_CUT)]
    escape = kept.rfind(b"%", -2)
    return unquote(kept if escape < 0 else kept[:escape]) + _CUT


def write_base_line(alias: bytes, address: Address, limits: Limits) -> bytes:
    """Write a PEER line with its LF for base clients; b"" for an IPv6 address, which they may not see.

    Args:
        limits: `max_base_peer_line` bounds the line without its LF.
    """
    if address.is_ipv6:
        return b""
    return _write_line(alias, address, limits.max_base_peer_line) + b"\n"


def write_hello_line(alias: bytes, address: Address, limits: Limits, *, hello: bool) -> bytes:
    """Write a PEER line with its LF for programs that said HELLO.

    Args:
        limits: `max_hello_peer_line` bounds the line without its LF and without attributes.
        hello: whether that peer said it, too.
    """
    return _write_line(alias, address, limits.max_hello_peer_line) + (b" v=2\n" if hello else b"\n")


def _write_line(alias: bytes, address: Address, most: int) -> bytes:
    where = str(address).encode()
    shown = shorten_alias(alias, most - len(where) - len(b"PEER  "))
    return b"PEER %s %s" % (quote(shown), where)


def shuffle(items: list[Item], rng: random.Random) -> list[Item]:
    """The items in random order; `items` loses its own. `random.shuffle` takes five times as long, ten for few."""
    count = len(items)
    if count < 2:
        return items
    if count == 2:
        return items if rng.random() < 0.5 else items[::-1]
    if 2 < count < len(_ORDERS):
        orders = _ORDERS[count]
        return list(orders[int(rng.random() * len(orders))](items))
    return list(shuffled(items, rng))


#: All orders in which up to five items can come, as functions that bring them into it; by the number of items.
_ORDERS: list[list[Callable[[Sequence[Any]], tuple[Any, ...]]]] = [
    [itemgetter(*order) for order in permutations(range(number))] if number > 2 else [] for number in range(6)
]


def shuffled(items: list[Item], rng: random.Random) -> Iterator[Item]:
    """The items in random order, each drawn when it is asked for; `items` loses its order."""
    draw = rng.random
    for left in range(len(items), 0, -1):
        place = int(draw() * left)
        item = items[place]
        items[place] = items[left - 1]
        yield item


def choose(lists: Sequence[Sequence[Item]], count: int, rng: random.Random) -> list[tuple[int, Item]]:
    """Draw `count` items of several lists at random, in a time that depends on `count` alone.

    Returns: pairs of the list's number and the item, each place drawn at most once, in random order.
    """
    total = sum(map(len, lists))
    if total <= 2 * count:
        pairs = [(number, item) for number, items in enumerate(lists) for item in items]
        drawn = shuffled(pairs, rng)
        return [pair for pair, _ in zip(drawn, range(count), strict=False)]
    places = rng.sample(range(total), count)
    return [_at(lists, place) for place in places]


def _at(lists: Sequence[Sequence[Item]], place: int) -> tuple[int, Item]:
    number = 0
    while place >= len(lists[number]):
        place -= len(lists[number])
        number += 1
    return number, lists[number][place]


def base_candidates(lists: Sequence[Sequence[Peer]], limits: Limits, rng: random.Random) -> tuple[list[Peer], int]:
    """The peers that an answer to a base client may name: all that it may see, or of very many a random part.

    Very many are more than twice what one host may have, so that even a part of them always has others' peers in it.

    Returns: the peers, and how many there are in all.
    """
    total = sum(map(len, lists))
    most = limits.max_peers_per_host
    if total > 2 * most:
        return [peer for _, peer in choose(lists, most // 4, rng) if peer.base_line], total
    visible = [peer for peers in lists for peer in peers if peer.base_line]
    return visible, len(visible)


def fit_base_lines(peers: list[Peer], room: int, share: float, rng: random.Random) -> list[bytes]:
    """Choose PEER lines at random that fit an old client's buffer, whoever would like to fill it alone.

    Args:
        peers: visible to base clients; loses its order.
        room: bytes, line ends included.
        share: the largest part of it for one source address, while there are others to name.
    """
    quota = int(room * share)
    used: dict[str, int] = {}
    chosen: list[bytes] = []
    waiting: list[bytes] = []
    for peer in shuffled(peers, rng):
        line = peer.base_line
        taken = used.get(peer.source, 0) + len(line)
        if taken > quota:
            waiting.append(line)
        elif len(line) <= room:
            used[peer.source] = taken
            room -= len(line)
            chosen.append(line)
        elif room < _SHORTEST_LINE:
            break
    for line in waiting:
        if len(line) <= room:
            room -= len(line)
            chosen.append(line)
    return shuffle(chosen, rng)  # old clients try the last one first


def hello_holders(
    contents: Sequence[Content], most: int, rng: random.Random, *, named: bool = False
) -> tuple[list[bytes], int]:
    """Choose holders for a program that said HELLO.

    Of more than `most`, partial holders get half of the places at most, and whole ones likewise, while there are
    enough of the others: in a swarm the few seeds are not drowned, nor is everybody sent to them.

    Only peers that said HELLO are shown with what is known of the content: the others cannot serve a part of it.

    Of two contents that count as one, each has a place: whoever sees a holder that named no b3 knows that the b3 may
    be another's word.

    Args:
        named: whether each line tells under which name the peer holds the content.

    Returns: PEER lines with their LF, in random order, and how many holders there are.
    """
    names = [b" name=" + quote(content.name) if named else b"" for content in contents]
    facts = [write_facts(content.known_size, content.b3) + name for content, name in zip(contents, names, strict=True)]
    whole = [content.complete for content in contents]
    partial = [content.partial for content in contents]
    wholes, partials = sum(map(len, whole)), sum(map(len, partial))
    take_whole = min(wholes, max(most - partials, (most + 1) // 2))
    chosen = choose(whole, take_whole, rng)
    if len(whole) <= take_whole < wholes and not named:
        shown = {number for number, _ in chosen}
        left_out = [number for number, peers in enumerate(whole) if peers and number not in shown]
        chosen[len(chosen) - len(left_out) :] = [(number, rng.choice(whole[number])) for number in left_out]
    lines = [_extend(peer, (facts if peer.hello else names)[number]) for number, peer in chosen if peer.hello_line]
    if partials:
        chosen = choose(partial, min(partials, most - take_whole), rng)
        lines += [_extend(peer, facts[number] + b" part=yes") for number, peer in chosen if peer.hello_line]
        lines = shuffle(lines, rng)
    return lines, wholes + partials


def _extend(peer: Peer, attributes: bytes) -> bytes:
    return peer.hello_line[:-1] + attributes + b"\n"


def write_facts(size: int | None, b3: bytes | None) -> bytes:
    """Write ``size=`` and ``b3=``, as far as they are known, each with a blank before it."""
    facts = b"" if size is None else b" size=%d" % size
    return facts if b3 is None else facts + b" b3=" + b3.hex().encode()


class Fakes:
    """The 250 peers of a tracker with ``-f``, who are not there.

    They claim to live where asking them bothers no other machine: on the address at which the client reaches the
    tracker, or spread over 127.x if that is loopback; with ports that the kernel gives to nobody.

    Source: the 2007 tracker's option; where its fakes live is ours.
    """

    COUNT = 250

    def __init__(self, rng: random.Random) -> None:
        def number(least: int, most: int) -> int:
            return rng.randrange(least, most)

        self._peers = [
            (
                b"peer%05d" % number(0, 100_000),
                b"127.%d.%d.%d" % (number(1, 255), number(1, 255), number(1, 255)),
                number(61_000, 65_536),
            )
            for _ in range(self.COUNT)
        ]

    def lines(self, host: str | None) -> list[bytes]:
        """Their PEER lines without LF.

        Args:
            host: an IPv4 address, or None for 127.x.
        """
        where = None if host is None else host.encode()
        return [b"PEER %s %s:%d" % (alias, where or loopback, port) for alias, loopback, port in self._peers]
