"""A node of the overlay without any socket or clock: datagrams and times in, datagrams out.

The caller hands in what arrives (`receive`), calls `wake` when `next_wake` says so, and sends what `outgoing` holds.
What a node does of its own accord (joining, looking after its neighbours) is in `maintenance`; what users ask of it is
in `searches`.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping

from osp2p.errors import MalformedDatagram
from osp2p.limits import Limits
from osp2p.overlay.answers import Answers, shorten
from osp2p.overlay.compact import Contact, is_reachable, unpack_contacts
from osp2p.overlay.exchanges import Ended, Exchange, Exchanges
from osp2p.overlay.family import Family
from osp2p.overlay.identifier import fits
from osp2p.overlay.krpc import PROTOCOL_ERROR, Arguments, Failure, Query, Response, parse_message, write_message
from osp2p.overlay.rates import Rates, owner_of
from osp2p.overlay.timers import Timers
from osp2p.wire.address import Address

#: What makes queries of our own network so long that answers of a few times that length hold what they should: eight
#: nodes of both families; fifty peers; an item.
_PADDING = {b"find_node": bytes(30), b"get_peers": bytes(160), b"get": bytes(400)}


class Engine:
    """One node.

    Args:
        network: eight bytes that name the network; empty for BitTorrent's own.
        own: ids of an earlier run; `False` for IPv4, `True` for IPv6.
        ipv6: whether the node has IPv6 beside IPv4.
        read_only: whether it only asks, and is no part of the network (BEP 43).
        rng: one that nobody can foresee, outside of tests.
        now: any clock's seconds, the same clock in every call.
    """

    def __init__(
        self,
        *,
        network: bytes,
        limits: Limits,
        rng: random.Random,
        now: float,
        own: Mapping[bool, bytes] | None = None,
        ipv6: bool = False,
        read_only: bool = False,
    ) -> None:
        own = own or {}
        self.limits = limits
        self.rng = rng
        self.network = network
        self.read_only = read_only
        #: Whether ids must fit public addresses: all of our network do, only most of BitTorrent's.
        self.enforce = bool(network)
        #: Where nodes are, as the user says, and where they were: whoever is there may have any id. The first node of a
        #: network has one that does not fit, as nobody has told it its address.
        self.named: set[Address] = set()
        self.families = {
            six: Family(ipv6=six, own=own.get(six), limits=limits, rng=rng)
            for six in ((False, True) if ipv6 else (False,))
        }
        #: What this node itself announces: key to port.
        self.announced: dict[bytes, int] = {}
        self.answers = Answers(self.families, self.announced, limits, rng, now, tells_own=bool(network))
        self.timers = Timers()
        #: What is to be sent: datagrams and where to. The caller empties it.
        self.outgoing: deque[tuple[bytes, Address]] = deque()
        #: How often what happened.
        self.counts: Counter[str] = Counter()
        #: Called with a family when it has another id.
        self.on_new_id: Callable[[Family, float], None] | None = None
        #: Called when a neighbour has answered.
        self.on_neighbour: Callable[[float], None] | None = None
        #: Called with a neighbour that is one no more, since it is silent.
        self.on_lost: Callable[[Contact], None] | None = None
        rate, burst = limits.overlay_out_rate, limits.overlay_out_burst
        if not network:
            rate, burst = limits.overlay_mainline_rate, limits.overlay_mainline_burst
        self._out = Rates(rate, burst, limits.max_rated_hosts)
        self._in = Rates(limits.overlay_in_rate, limits.overlay_in_burst, limits.max_rated_hosts)
        self._in_total = Rates(limits.overlay_in_total, int(limits.overlay_in_total), 1)
        self.exchanges = Exchanges(limits, self.timers, rng, self._out, self._send)
        self._proved: OrderedDict[Address, None] = OrderedDict()
        self._verifying: set[Address] = set()

    # --- in and out ---

    @property
    def next_wake(self) -> float:
        """When `wake` is to be called; infinity if there is nothing to do."""
        return self.timers.next_at

    def wake(self, now: float) -> None:
        """Do what is due."""
        self.timers.run(now)

    def _send(self, data: bytes, address: Address) -> None:
        self.counts["packets out"] += 1
        self.outgoing.append((data, address))

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram. Nothing that it holds raises an error."""
        self.counts["packets in"] += 1
        if len(data) > self.limits.max_datagram or source.is_ipv6 not in self.families or not is_reachable(source):
            self.counts["malformed"] += 1
            return
        if not self._in.take(owner_of(source), now):
            self.counts["too many"] += 1
            return
        try:
            message = parse_message(data)
        except MalformedDatagram:
            self.counts["malformed"] += 1
            return
        if isinstance(message, Query):
            self._take_query(message, source, len(data), now)
        else:
            self._take_answer(message, source, now)

    # --- queries of others ---

    def _take_query(self, query: Query, source: Address, size: int, now: float) -> None:
        if query.network != self.network:
            self.counts["other networks"] += 1
            if query.network:  # to others it is better not to show that there is anybody
                refusal = Failure(query.transaction, PROTOCOL_ERROR, b"another network", network=self.network)
                self._reply(refusal, source, size, now)
            return
        if self.read_only:
            return
        if not self._in_total.take("", now):
            self.counts["too many"] += 1
            return
        self.counts["queries in"] += 1
        family = self.families[source.is_ipv6]
        if self.answers.proves(query, source, now):
            self._prove(source)
        answer: Response | Failure
        try:
            values = self.answers.answer(query, source, now)
            answer = Response(query.transaction, family.own, values, source, self.network)
        except MalformedDatagram as error:
            answer = Failure(query.transaction, error.code, str(error).encode(), source, self.network)
        self._reply(answer, source, size, now)
        if not query.read_only:
            self._meet(family, Contact(query.sender, source), now)

    def _reply(self, answer: Response | Failure, source: Address, size: int, now: float) -> None:
        """Send an answer; to an address that may be forged, one that is not much longer than the query."""
        data = write_message(answer)
        room = self.limits.max_datagram
        if source not in self._proved:
            room = int(self.limits.unproved_answer_factor * size)
        while len(data) > room and isinstance(answer, Response) and shorten(answer.values, len(data) - room):
            data = write_message(answer)
        if len(data) <= room:
            self._out.note(owner_of(source), now)
            self._send(data, source)

    def _prove(self, source: Address) -> None:
        self._proved[source] = None
        self._proved.move_to_end(source)
        if len(self._proved) > self.limits.max_proved:
            self._proved.popitem(last=False)

    def _meet(self, family: Family, contact: Contact, now: float) -> None:
        """Ping a node that has queried us, where it would be a neighbour: a query may come from anywhere."""
        if (
            family.table.has_room(contact)
            and self.may_be(contact)
            and contact.address not in self._verifying
            and len(self._verifying) < self.limits.max_verifying
        ):
            self._verifying.add(contact.address)
            self.ping(contact, now, lambda _answer, _now: self._verifying.discard(contact.address))

    def is_fit(self, contact: Contact) -> bool:
        """Whether a node's id fits its address, where that is demanded."""
        return not self.enforce or fits(contact.id, contact.address.host)

    def may_be(self, contact: Contact) -> bool:
        """Whether a node may have this id at this address."""
        return self.is_fit(contact) or contact.address in self.named

    # --- queries of ours ---

    def ask(
        self,
        address: Address,
        method: bytes,
        arguments: Arguments,
        now: float,
        ended: Ended,
        *,
        expected: bytes | None = None,
        slow: Callable[[float], None] | None = None,
    ) -> None:
        """Ask a node.

        Args:
            ended: called once: with a response, with a failure, or with None for silence or an answer that does not
                count.
            expected: the id that it must answer with.
            slow: called at most once before that, when the answer takes longer than is usual.
        """
        family = self.families.get(address.is_ipv6)
        if family is None:
            self.timers.at(now, lambda then: ended(None, then))
            return
        if self.network and method in _PADDING:
            arguments = {**arguments, b"pad": _PADDING[method]}

        def write(transaction: bytes) -> bytes:
            return write_message(Query(transaction, method, family.own, arguments, self.read_only, self.network))

        def end(answer: Response | Failure | None, then: float) -> None:
            if expected is not None and (answer is None or answer.network != self.network):
                self._note_silence(family, Contact(expected, address))
            ended(answer, then)

        self.counts["queries out"] += 1
        self.exchanges.ask(write, Exchange(address, expected, end, slow), now)

    def _note_silence(self, family: Family, contact: Contact) -> None:
        if family.table.note_silence(contact) and self.on_lost is not None:
            self.on_lost(contact)

    def ping(self, contact: Contact, now: float, ended: Ended | None = None) -> None:
        """Ping a node; the routing table takes note of what comes of it."""
        self.ask(contact.address, b"ping", {}, now, ended or _ignore, expected=contact.id)

    def _take_answer(self, answer: Response | Failure, source: Address, now: float) -> None:
        exchange = self.exchanges.match(answer.transaction, source)
        if exchange is None:
            self.counts["unexpected"] += 1
            return
        assert exchange.sent is not None
        if answer.network != self.network:
            self.counts["other networks"] += 1
            exchange.ended(answer if isinstance(answer, Failure) else None, now)
            return
        self.exchanges.round_trips.note(now - exchange.sent)
        self._prove(source)
        family = self.families[source.is_ipv6]
        if answer.claimed_address is not None and is_reachable(answer.claimed_address):
            another_id = family.note_vote(owner_of(source), answer.claimed_address.host, now)
            if another_id and self.on_new_id is not None:
                self.on_new_id(family, now)
        if isinstance(answer, Response):
            if exchange.expected not in (None, answer.sender):
                exchange.ended(None, now)
                return
            contact = Contact(answer.sender, source)
            if self.may_be(contact):
                questionable = family.table.note_answer(contact, now)
                if questionable is not None:
                    self.ping(questionable.contact, now)
                if self.on_neighbour is not None:
                    self.on_neighbour(now)
        exchange.ended(answer, now)

    def contacts_of(self, answer: Response, source: Address, *, ipv6: bool | None = None) -> list[Contact]:
        """The nodes that an answer names.

        Args:
            ipv6: of which family; None: of the one that it came over.

        Raises:
            MalformedDatagram: they cannot be read.
        """
        six = source.is_ipv6 if ipv6 is None else ipv6
        packed = answer.values.get(b"nodes6" if six else b"nodes", b"")
        if not isinstance(packed, bytes):
            raise MalformedDatagram("nodes are bytes")
        found = unpack_contacts(packed, ipv6=six)
        if source.is_loopback:
            return found
        return [contact for contact in found if not contact.address.is_loopback]


def _ignore(answer: Response | Failure | None, now: float) -> None:
    """What a ping ends with where only the routing table is concerned."""
