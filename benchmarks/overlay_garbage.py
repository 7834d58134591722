"""A node of the overlay under a million mutated datagrams: ``python benchmarks/overlay_garbage.py [NUMBER]``.

Nothing may raise an error, what the node sends and keeps must stay bounded, and so must its memory. Ends with 0 only if
all of that holds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from overlay_node import resident

from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact, pack_contacts
from osp2p.overlay.engine import Engine
from osp2p.overlay.identifier import id_for, random_id
from osp2p.overlay.krpc import Arguments, Failure, Query, Response, parse_message, write_message
from osp2p.overlay.maintenance import Maintenance
from osp2p.overlay.searches import Searches
from osp2p.wire.address import Address

_TAG = b"garbage!"

#: Bytes of memory by which the process may grow, once it has seen a tenth of all datagrams.
_MAY_GROW = 64 * 1024 * 1024


class Garbage:
    """Datagrams that are nearly right."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._hosts = [Address(f"40.{self._rng.randrange(256)}.{n % 256}.{n // 256 + 1}", 5 + n) for n in range(600)]
        self._asked: list[tuple[bytes, Address]] = [(b"aaaa", self._hosts[0])]
        self._tokens: list[bytes] = [b"12345678"]

    def listen(self, data: bytes, target: Address) -> None:
        """Learn from what the node says: transactions and tokens that it would take."""
        message = parse_message(data)
        if isinstance(message, Query):
            self._asked = [*self._asked[-100:], (message.transaction, target)]
        elif isinstance(message, Response) and isinstance(token := message.values.get(b"token"), bytes):
            self._tokens = [*self._tokens[-200:], token]

    def next(self) -> tuple[bytes, Address]:
        """A datagram, and where it seems to come from."""
        rng = self._rng
        transaction, source = rng.choice(self._asked)
        if rng.random() < 0.5:
            return self._mutate(self._answer(transaction, source)), source
        source = rng.choice(self._hosts)
        return self._mutate(self._query(source)), source

    def _id(self, source: Address) -> bytes:
        """Always the same one for a host."""
        return id_for(source.host, random.Random(source.host))

    def _answer(self, transaction: bytes, source: Address) -> bytes:
        rng = self._rng
        if rng.random() < 0.1:
            return write_message(Failure(transaction, 201, b"x", network=_TAG))
        hosts = rng.sample(self._hosts, rng.randrange(12))
        nodes = pack_contacts(Contact(self._id(host), host) for host in hosts)
        values: Arguments = {b"nodes": nodes, b"token": b"t", b"values": [rng.randbytes(rng.randrange(20))]}
        return write_message(Response(transaction, self._id(source), values, source, _TAG))

    def _query(self, source: Address) -> bytes:
        rng = self._rng
        key = random_id(rng) if rng.random() < 0.9 else bytes(20)
        arguments: Arguments = {
            b"target": key,
            b"info_hash": key,
            b"port": rng.randrange(-5, 70000),
            b"token": rng.choice(self._tokens),
            b"v": [rng.randbytes(rng.randrange(1200)), rng.randrange(9)],
        }
        if rng.random() < 0.3:
            arguments |= {b"k": rng.randbytes(32), b"sig": rng.randbytes(64), b"seq": rng.randrange(-2, 9)}
        methods = (b"ping", b"find_node", b"get_peers", b"announce_peer", b"get", b"put", b"other")
        return write_message(Query(b"tt", rng.choice(methods), self._id(source), arguments, rng.random() < 0.1, _TAG))

    def _mutate(self, data: bytes) -> bytes:
        rng = self._rng
        raw = bytearray(data)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4, 12))):
            at = rng.randrange(len(raw) + 1)
            match rng.randrange(5):
                case 0:
                    raw[at : at + 1] = rng.randbytes(1)
                case 1:
                    raw[at:at] = rng.choice((b"d", b"l", b"e", b"i0e", b"0:", b"1:a", b"99999999:", rng.randbytes(5)))
                case 2:
                    del raw[at : at + rng.randrange(1, 30)]
                case 3:
                    raw[at:at] = raw[: rng.randrange(40)]
                case _:
                    raw = raw[:at] if rng.random() < 0.2 else raw
        return bytes(raw)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", type=int, nargs="?", default=1_000_000, metavar="NUMBER", help="how many datagrams")
    number: int = parser.parse_args().number
    engine = Engine(network=_TAG, limits=DEFAULT, rng=random.Random(1), now=0.0, ipv6=True)
    searches = Searches(engine)
    Maintenance(engine, searches, lambda: None).start([], [], 0.0)
    garbage = Garbage(2)
    now, begun, baseline, sent = 0.0, time.perf_counter(), 0, 0
    for count in range(number):
        now += 0.002
        engine.receive(*garbage.next(), now)
        engine.wake(now)
        sent += len(engine.outgoing)
        for data, target in engine.outgoing:
            garbage.listen(data, target)
        engine.outgoing.clear()
        if count % 5000 == 0:
            searches.find_nodes(random_id(engine.rng), now, lambda outcome, then: None)
        if count == number // 10:
            baseline = resident()
    grown = resident() - baseline
    print(
        json.dumps(
            {
                "event": "garbage",
                "datagrams": number,
                "sent": sent,
                "seconds": round(time.perf_counter() - begun, 1),
                "grown_bytes": grown,
                "peers": len(engine.answers.peers),
                "items": len(engine.answers.items),
                "neighbours": sum(len(family.table) for family in engine.families.values()),
                **engine.counts,
            }
        )
    )
    return int(grown > _MAY_GROW or len(engine.answers.items) > DEFAULT.max_stored_items)


if __name__ == "__main__":
    sys.exit(main())
