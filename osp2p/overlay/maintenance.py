"""What a node does of its own accord: join, look for neighbours, see who of them is still there.

A node that knows nobody asks the addresses that it was given, and those of neighbours that it had, in this run or an
earlier one, again and again with growing pauses: where all fell silent, it may have been its own network. Once somebody
has answered it looks its own id up, then an id in each part of the space of which it knows too little. After that it
looks, every few seconds, whether there is anybody to ping or any part to refresh. With growing pauses it looks its own
id up again, and asks the addresses that it was given: where many nodes start at a time, or networks meet, each knows
few others at first. Now and then it asks a few of those who fell silent, as the network may have fallen into parts. A
node of both families that knows nobody in one of them asks in the other for nodes of that one.

Source: BEP 5; BEP 32; Maymounkov and Mazières, 2002, section 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from osp2p.errors import MalformedDatagram
from osp2p.overlay.compact import Contact
from osp2p.overlay.engine import Engine
from osp2p.overlay.family import Family
from osp2p.overlay.krpc import Arguments, Failure, Response
from osp2p.overlay.searches import Outcome, Searches
from osp2p.overlay.table import K
from osp2p.wire.address import Address

#: How often a node looks after its neighbours, give or take a half: at first, and then.
_FIRST_ROUND, _ROUND = 2.0, 10.0

#: First pause before a node looks its own id up again; it doubles.
_FIRST_PAUSE = 3.0


class Maintenance:
    """Keeps one node in its network.

    Args:
        changed: called when the node has come to know its first neighbour, or has lost its last one.
        looked: called with the number of neighbours whenever the node has looked after them.
    """

    def __init__(
        self,
        engine: Engine,
        searches: Searches,
        changed: Callable[[], None],
        looked: Callable[[int, float], None] = lambda size, now: None,
    ) -> None:
        self._engine = engine
        self._searches = searches
        self._changed = changed
        self._looked = looked
        self._round_pause = _FIRST_ROUND
        #: Where there should be nodes, and whether one with a fitting id has answered there.
        self.joins: dict[Address, bool] = {}
        #: Neighbours of earlier runs that have not answered in this one, and those of this one that fell silent.
        self._earlier: dict[Address, Contact] = {}
        self._lost: dict[Address, Contact] = {}
        self._pause = engine.limits.join_first
        self._asking = 0
        self._filling = False
        self._own_pause = _FIRST_PAUSE
        self._own_again = float("-inf")
        self._earlier_again = float("inf")
        #: Whether the node knows anybody.
        self.connected = False
        #: Whether it has found its place: the first lookups are through.
        self.settled = False
        #: What a node of another network answered to us, if one did.
        self.other_network: Address | None = None
        engine.on_new_id = self._on_new_id
        engine.on_neighbour = self._note_connection
        engine.on_lost = self._note_loss

    def start(self, joins: Sequence[Address], saved: Sequence[Contact], now: float) -> None:
        """Begin.

        Args:
            joins: where there should be nodes.
            saved: neighbours of an earlier run, those that answered last first; each must answer to be one again.
        """
        self._earlier.update((contact.address, contact) for contact in saved)
        self._engine.named.update(self._earlier)
        self.add_joins(joins, now)
        self._round(now)

    def add_joins(self, joins: Iterable[Address], now: float) -> None:
        """Take in more addresses at which there should be nodes."""
        for address in joins:
            if address not in self.joins:
                self.joins[address] = False
                self._engine.named.add(address)
                self._ask(address, now)

    # --- joining ---

    def _ask(self, address: Address, now: float) -> None:
        """Ask a node that we know only by its address for those near us."""
        family = self._engine.families.get(address.is_ipv6)
        if family is None:
            return
        self._asking += 1

        arguments: Arguments = {b"target": family.own}
        other = self._engine.families.get(not address.is_ipv6)
        if other is not None and not len(other.table):
            arguments[b"want"] = [b"n4", b"n6"]

        def ended(answer: Response | Failure | None, then: float) -> None:
            self._asking -= 1
            if isinstance(answer, Response):
                self._note_answer(answer, address, then)
            elif isinstance(answer, Failure) and answer.network not in (b"", self._engine.network):
                self.other_network = address
                self._changed()

        self._engine.ask(address, b"find_node", arguments, now, ended)

    def _note_answer(self, answer: Response, address: Address, now: float) -> None:
        """Take note of somebody at an address that was given, or that somebody had whom we knew, or that was named."""
        is_back = self._earlier.pop(address, None) is not None
        is_back = self._lost.pop(address, None) is not None or is_back
        if address in self.joins:
            is_fit = self._engine.is_fit(Contact(answer.sender, address))
            is_back = is_back or (is_fit and not self.joins[address])
            self.joins[address] = is_fit
        if is_back and self.connected:
            self._fill(now)  # there may be a whole network behind it
        if is_back or address in self.joins:
            self._go_over(answer, address, now)

    def _go_over(self, answer: Response, source: Address, now: float) -> None:
        """Ask the nodes of the other family that an answer names, as long as we know nobody there (BEP 32)."""
        other = self._engine.families.get(not source.is_ipv6)
        if other is None or len(other.table):
            return
        try:
            named = self._engine.contacts_of(answer, source, ipv6=not source.is_ipv6)
        except MalformedDatagram:
            return
        for contact in named[:K]:
            self._ask(contact.address, now)

    def _try_to_join(self, now: float) -> None:
        for address in self.joins:
            self._ask(address, now)
        for address in self._once_known():
            self._ask(address, now)

    def _note_connection(self, now: float) -> None:
        if not self.connected and any(len(family.table) for family in self._engine.families.values()):
            self.connected = True
            self._pause = self._engine.limits.join_first
            self._earlier_again = now + self._engine.limits.neighbour_quiet
            self._fill(now)
            self._changed()

    def _note_loss(self, contact: Contact) -> None:
        self._lost.pop(contact.address, None)
        self._lost[contact.address] = contact
        if len(self._lost) > self._engine.limits.max_saved_contacts:
            del self._lost[next(iter(self._lost))]

    def _once_known(self) -> list[Address]:
        """Where neighbours were that are none now, beside the addresses that were given."""
        return [address for address in {**self._earlier, **self._lost} if address not in self.joins]

    def _on_new_id(self, family: Family, now: float) -> None:
        self._engine.counts["new ids"] += 1
        self._engine.timers.at(now, self._introduce)

    def _introduce(self, now: float) -> None:
        """Make ourselves known under another id."""
        for address in self.joins:
            self._ask(address, now)
        if self.connected:
            self._fill(now)

    def _fill(self, now: float) -> None:
        """Look up our own id, then ids in parts of the space of which we know little, one after the other."""
        if self._filling:
            return
        self._filling = True
        own = [family.own for family in self._engine.families.values() if len(family.table)]
        todo = list(own)
        thin_done = False

        def proceed(_outcome: Outcome | None, then: float) -> None:
            nonlocal thin_done
            if not todo and not thin_done:
                thin_done = True
                for family in self._engine.families.values():
                    todo.extend(family.table.thin_targets(self._engine.rng))
            if todo:
                self._searches.find_nodes(todo.pop(0), then, proceed)
                return
            self._filling = False
            self._own_pause = _FIRST_PAUSE
            self._own_again = then + self._own_pause
            self._engine.timers.at(self._own_again, self._look_again)
            ids = [family.own for family in self._engine.families.values() if len(family.table)]
            if ids != own:  # others have told our address meanwhile, and with it came another id
                self._fill(then)
                return
            if not self.settled:
                self.settled = True
                self._changed()

        proceed(None, now)

    def _look_again(self, now: float) -> None:
        """Look our own id up again, later and later, until the usual refreshing takes over."""
        if now < self._own_again or self._own_pause > self._engine.limits.neighbour_quiet:
            return
        for family in self._engine.families.values():
            self._searches.find_nodes(family.own, now, _ignore, from_outside=True)
        for address in self.joins:
            self._ask(address, now)
        self._own_pause *= 2
        self._own_again = now + self._own_pause
        self._engine.timers.at(self._own_again, self._look_again)

    # --- looking after neighbours ---

    def contacts_to_save(self) -> list[Contact]:
        """Who is worth remembering for the next start: neighbours, those that answered last first; then who was one.

        While our own network is down they all fall silent, one after the other, and are no neighbours any more. Who did
        not answer in all of this run is forgotten, unless nobody did.
        """
        families = self._engine.families.values()
        found = [neighbour for family in families for neighbour in family.table if not neighbour.failures]
        found.sort(key=lambda neighbour: neighbour.heard, reverse=True)
        contacts = {neighbour.contact.address: neighbour.contact for neighbour in found}
        for contact in reversed(self._lost.values()):
            contacts.setdefault(contact.address, contact)
        contacts = contacts or self._earlier
        return list(contacts.values())[: self._engine.limits.max_saved_contacts]

    def _round(self, now: float) -> None:
        engine = self._engine
        known = sum(len(family.table) for family in engine.families.values())
        if known == 0:
            if self.connected:
                self.connected = self.settled = False
                self._changed()
            if not self._asking:
                self._try_to_join(now)
        elif now >= self._earlier_again:
            self._earlier_again = now + engine.limits.neighbour_quiet
            self._look_for_the_lost(now)
        for family in engine.families.values():
            self._look_after(family, now)
        self._looked(known, now)
        pause = self._round_pause
        self._round_pause = min(_ROUND, 1.5 * self._round_pause)
        if known == 0 or not all(self.joins.values()):
            pause = self._pause
            self._pause = min(2 * self._pause, engine.limits.join_most)
            if known:
                for address in [address for address, reached in self.joins.items() if not reached]:
                    self._ask(address, now)
        engine.timers.at(now + pause * engine.rng.uniform(0.5, 1.0), self._round)

    def _look_for_the_lost(self, now: float) -> None:
        """Ask a few who were neighbours once: they may be the others of a network that fell into parts."""
        lost = self._once_known()
        for address in [*self.joins, *self._engine.rng.sample(lost, min(K, len(lost)))]:
            self._ask(address, now)

    def _look_after(self, family: Family, now: float) -> None:
        for neighbour in family.table.questionable(now):
            self._engine.ping(neighbour.contact, now)
        stale = family.table.stale_targets(now, self._engine.rng)
        if stale and len(family.table) and not self._filling:
            target = stale[0]
            family.table.touch(target, now)
            self._searches.find_nodes(target, now, _ignore)


def _ignore(outcome: Outcome, now: float) -> None:
    """What a refresh ends with: the routing table knows already."""
