"""What a node answers to queries: a table of methods, each of which returns values or refuses.

| method | arguments | answer |
|---|---|---|
| ping | | |
| find_node | target, want | nodes, nodes6 |
| get_peers | info_hash, want | token, values, nodes, nodes6, own |
| announce_peer | info_hash, port, token, implied_port | |
| get | target, seq, want | token, nodes, nodes6; v, and k, sig, seq of a signed item |
| put | token, v; k, sig, seq, salt, cas of a signed item | |

``own`` is ours: the port at which the node that answers has itself what the key stands for. So the first two nodes of a
network find each other's files, though nobody has told them their own addresses yet.

Source: BEP 5, 32 (want), 44.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TypeAlias

from osp2p.errors import MalformedDatagram
from osp2p.limits import Limits
from osp2p.overlay.compact import pack_address, pack_contacts
from osp2p.overlay.family import Family
from osp2p.overlay.item import MutableItem, read_immutable, read_mutable
from osp2p.overlay.krpc import METHOD_UNKNOWN, PROTOCOL_ERROR, Arguments, Query, bytes_of, id_of, int_of
from osp2p.overlay.stores import ItemStore, PeerStore
from osp2p.overlay.tokens import Tokens
from osp2p.wire.address import Address

_Answer: TypeAlias = Callable[[Arguments, Address, float], Arguments]


class Answers:
    """Answers queries.

    Args:
        families: of this node; `False` for IPv4, `True` for IPv6.
        announced: what this node itself announces: key to port.
        tells_own: whether ``own`` is understood: not in BitTorrent's network.
    """

    def __init__(
        self,
        families: Mapping[bool, Family],
        announced: Mapping[bytes, int],
        limits: Limits,
        rng: random.Random,
        now: float,
        *,
        tells_own: bool,
    ) -> None:
        self._families = families
        self._announced = announced
        self._tells_own = tells_own
        self._rng = rng
        self._tokens = Tokens(limits.token_lifetime, rng, now)
        self.peers = PeerStore(limits)
        self.items = ItemStore(limits)
        self._methods: dict[bytes, _Answer] = {
            b"ping": self._ping,
            b"find_node": self._find_node,
            b"get_peers": self._get_peers,
            b"announce_peer": self._announce_peer,
            b"get": self._get,
            b"put": self._put,
        }

    def answer(self, query: Query, source: Address, now: float) -> Arguments:
        """Answer a query.

        Returns: the values, without our id.

        Raises:
            MalformedDatagram: the query is refused, with the code that fits.
        """
        method = self._methods.get(query.method)
        if method is None:
            raise MalformedDatagram("there is no such method", METHOD_UNKNOWN)
        return method(query.arguments, source, now)

    def proves(self, query: Query, source: Address, now: float) -> bool:
        """Whether a query shows that its sender receives what we send there."""
        token = query.arguments.get(b"token")
        return isinstance(token, bytes) and self._tokens.accept(token, source, now)

    def _ping(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        return {}

    def _find_node(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        return self._nodes(id_of(arguments, b"target"), arguments, source)

    def _nodes(self, target: bytes, arguments: Arguments, source: Address) -> Arguments:
        """The nodes nearest to a target, of the families that are wanted; of the query's own if it does not say."""
        want = arguments.get(b"want")
        wanted = {source.is_ipv6}
        if isinstance(want, list):
            wanted = {ipv6 for name, ipv6 in ((b"n4", False), (b"n6", True)) if name in want} or wanted
        values: Arguments = {}
        for ipv6 in sorted(wanted):
            family = self._families.get(ipv6)
            nearest = family.nearest_for(source, target) if family is not None else []
            values[b"nodes6" if ipv6 else b"nodes"] = pack_contacts(nearest)
        return values

    def _get_peers(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        key = id_of(arguments, b"info_hash")
        values = self._nodes(key, arguments, source)
        values[b"token"] = self._tokens.make(source, now)
        if self._tells_own and key in self._announced:
            values[b"own"] = self._announced[key]
        peers = self._peers_for(key, source, now)
        if peers:
            values[b"values"] = [pack_address(peer) for peer in peers]
        return values

    def _peers_for(self, key: bytes, source: Address, now: float) -> list[Address]:
        """Who announced a key, as the asker can use it; this node itself first, if it knows its address."""
        family = self._families[source.is_ipv6]
        found = self.peers.peers(key, now, self._rng, ipv6=source.is_ipv6)
        port = self._announced.get(key)
        if port is not None and family.host is not None:
            found.insert(0, Address(family.host, port))
        shown = (family.shown_to(source, peer) for peer in found)
        return list(dict.fromkeys(peer for peer in shown if peer is not None))

    def _check_token(self, arguments: Arguments, source: Address, now: float) -> None:
        if not self._tokens.accept(bytes_of(arguments, b"token"), source, now):
            raise MalformedDatagram("the token is not the one that this address was given last", PROTOCOL_ERROR)

    def _announce_peer(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        key = id_of(arguments, b"info_hash")
        implied = int_of(arguments, b"implied_port", 0) != 0
        port = source.port if implied else int_of(arguments, b"port")
        if not 0 < port < 65536:
            raise MalformedDatagram("a port is a number from 1 to 65535")
        self._check_token(arguments, source, now)
        self.peers.put(key, Address(source.host, port), now)
        return {}

    def _get(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        target = id_of(arguments, b"target")
        values = self._nodes(target, arguments, source)
        values[b"token"] = self._tokens.make(source, now)
        item = self.items.get(target, now)
        if isinstance(item, MutableItem):
            values[b"seq"] = item.sequence
            if item.sequence > int_of(arguments, b"seq", -1):
                values |= {b"k": item.key, b"sig": item.signature, b"v": item.value}
        elif item is not None:
            values[b"v"] = item.value
        return values

    def _put(self, arguments: Arguments, source: Address, now: float) -> Arguments:
        if b"v" not in arguments:
            raise MalformedDatagram("v is missing")
        self._check_token(arguments, source, now)
        value = arguments[b"v"]
        if b"k" not in arguments:
            self.items.put(read_immutable(value), source, now)
            return {}
        salt = bytes_of(arguments, b"salt") if b"salt" in arguments else b""
        key, signature = bytes_of(arguments, b"k"), bytes_of(arguments, b"sig")
        item = read_mutable(key, salt, int_of(arguments, b"seq"), value, signature)
        swap = int_of(arguments, b"cas") if b"cas" in arguments else None
        self.items.put(item, source, now, swap)
        return {}


def shorten(values: Arguments, excess: int) -> bool:
    """Make an answer shorter: items go first, then peers, then nodes, the farthest first.

    Args:
        excess: bytes that it is too long.

    Returns: False if nothing is left that could go.
    """
    if values.pop(b"v", None) is not None:
        values.pop(b"k", None)
        values.pop(b"sig", None)
        return True
    peers = values.get(b"values")
    if isinstance(peers, list) and peers:
        del peers[max(0, len(peers) - 1 - excess // 8) :]
        if not peers:
            del values[b"values"]
        return True
    for name, size in ((b"nodes6", 38), (b"nodes", 26)):
        nodes = values.get(name)
        if isinstance(nodes, bytes) and nodes:
            values[name] = nodes[: max(0, len(nodes) // size - 1 - excess // size) * size]
            return True
    return False
