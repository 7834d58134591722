"""One lookup: from the nodes that we know to those that are nearest to a target, a few questions at a time.

The eight nearest that are known and not silent are asked, three at a time. A node that is silent for longer than is
usual does not count any more: another is asked beside it; should it answer after all, what it says is taken. The
lookup ends when the eight nearest that do answer have answered, and no silent one that is nearer is waited for; that is
done for a moment only, unless nobody has answered at all, or nobody had what is looked for.

Beside these, a few nodes that are far from the target are asked at once, whatever else is known: those who lie may name
each other as the nearest, and honest nodes far away know better.

What answers name is hearsay. A node that names others which are all silent is not believed any more; nodes of one
public network count only so often; a node's id must fit its address, where the network demands it.

Source: Maymounkov and Mazières, 2002, section 2.3; the bounds are ours.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from osp2p.limits import Limits
from osp2p.overlay.compact import Contact
from osp2p.overlay.identifier import is_exempt
from osp2p.overlay.rates import network_of
from osp2p.overlay.table import K

#: How many nodes are asked at a time. Source: Maymounkov and Mazières, 2002.
ALPHA = 3


class State(Enum):
    """What became of a candidate."""

    NEW = "not asked yet"
    ASKED = "asked"
    SLOW = "asked, and silent for longer than is usual"
    ANSWERED = "has answered"
    FAILED = "has not answered, or not as it should"


@dataclass(slots=True, eq=False)
class Candidate:
    """A node that may be asked.

    Attributes:
        away: its distance from the target.
        depth: 0 for a node that was known before, else one more than that of the node which named it.
        namer: the candidate that named it.
        witness: asked beside the nearest ones.
    """

    contact: Contact
    away: int
    depth: int
    namer: Candidate | None
    state: State = State.NEW
    named_failed: int = 0
    named_answered: int = 0
    token: bytes | None = None
    waited_until: float = 0.0
    witness: bool = False

    def __lt__(self, other: Candidate) -> bool:
        return self.away < other.away


class Lookup:
    """One lookup. The caller asks whom `next_queries` says, and tells what came of it.

    Args:
        own: our own id, which is never asked.
        may_be: whether a node may have its id at its address.
    """

    def __init__(
        self, target: bytes, own: bytes, limits: Limits, now: float, *, may_be: Callable[[Contact], bool]
    ) -> None:
        self.target = target
        self._number = int.from_bytes(target, "big")
        self._own = own
        self._limits = limits
        self._may_be = may_be
        self._ends_at = now + limits.lookup_timeout
        self._candidates: list[Candidate] = []
        self._known: set[Contact] = set()
        self._networks: dict[str, int] = {}
        self.queries = 0
        self._in_flight = 0
        self._witnesses: list[Candidate] = []
        #: Whether the lookup was told to end.
        self.stopped = False

    def add(self, contacts: Iterable[Contact], namer: Candidate | None = None) -> None:
        """Take in nodes: those we know, or those that a node named."""
        depth = namer.depth + 1 if namer is not None else 0
        for contact in contacts:
            if contact in self._known or contact.id == self._own:
                continue
            host = contact.address.host
            if not is_exempt(host) and not self._admit(contact, host):
                continue
            self._known.add(contact)
            away = int.from_bytes(contact.id, "big") ^ self._number
            insort(self._candidates, Candidate(contact, away, depth, namer))
        if len(self._candidates) > self._limits.max_lookup_candidates:
            self._forget()

    def call_witnesses(self, contacts: Iterable[Contact]) -> None:
        """Take in nodes that are to be asked beside the nearest ones."""
        contacts = list(contacts)
        self.add(contacts)
        for candidate in self._candidates:
            if candidate.contact in contacts:
                candidate.witness = True
                self._witnesses.append(candidate)

    def _admit(self, contact: Contact, host: str) -> bool:
        if not self._may_be(contact):
            return False
        network = network_of(host)
        number = self._networks.get(network, 0)
        self._networks[network] = number + 1
        return number < self._limits.max_lookup_same_network

    def _forget(self) -> None:
        """Forget the candidates that are farthest away, those that are being asked aside."""
        most = self._limits.max_lookup_candidates
        self._candidates[most:] = [c for c in self._candidates[most:] if c.state in (State.ASKED, State.SLOW)]

    def _best(self) -> list[Candidate]:
        """The nearest candidates that may still be of use."""
        best = []
        for candidate in self._candidates:
            if candidate.state in (State.FAILED, State.SLOW):
                continue
            if candidate.state is State.NEW and self._is_doubtful(candidate):
                continue
            best.append(candidate)
            if len(best) == K:
                break
        return best

    def _is_doubtful(self, candidate: Candidate) -> bool:
        namer = candidate.namer
        return namer is not None and namer.named_failed >= self._limits.max_namer_failures and namer.named_answered == 0

    def next_queries(self, now: float) -> list[Candidate]:
        """Whom to ask now. They count as asked."""
        if self.stopped or now >= self._ends_at:
            return []
        chosen = [candidate for candidate in self._witnesses if candidate.state is State.NEW]
        for candidate in chosen:
            candidate.state = State.ASKED
            self.queries += 1
        if self._in_flight >= ALPHA:
            return chosen
        for candidate in self._best():
            if self._in_flight >= ALPHA or self.queries >= self._limits.max_lookup_queries:
                break
            if candidate.state is State.NEW:
                candidate.state = State.ASKED
                self.queries += 1
                self._in_flight += 1
                chosen.append(candidate)
        return chosen

    def note_answer(self, candidate: Candidate, contacts: Iterable[Contact]) -> None:
        """Take in what a candidate has answered."""
        self._in_flight -= candidate.state is State.ASKED and not candidate.witness
        candidate.state = State.ANSWERED
        if candidate.namer is not None:
            candidate.namer.named_answered += 1
        self.add(list(contacts)[: 2 * K], candidate)

    def note_slow(self, candidate: Candidate, waited_until: float) -> None:
        """Count out a candidate that is silent for longer than is usual.

        Args:
            waited_until: how long the end of the lookup may wait for it.
        """
        if candidate.state is State.ASKED:
            self._in_flight -= not candidate.witness
            candidate.state = State.SLOW
            candidate.waited_until = waited_until
            if candidate.namer is not None:
                candidate.namer.named_failed += 1

    def note_failure(self, candidate: Candidate) -> None:
        """Count out a candidate for good."""
        self.note_slow(candidate, 0.0)
        candidate.state = State.FAILED

    def is_done(self, now: float, *, patient: bool = False) -> bool:
        """Whether there is nothing more to ask, and nothing to wait for.

        Args:
            patient: whether silent nodes are waited for until they have failed, as long as they would be among the
                nearest.
        """
        if self.stopped or now >= self._ends_at:
            return True
        if self._in_flight >= ALPHA or any(c.state is State.ASKED for c in self._witnesses):
            return False
        best = self._best()
        if any(c.state is State.ASKED for c in best):
            return False
        if self.queries < self._limits.max_lookup_queries and any(c.state is State.NEW for c in best):
            return False
        return not self._is_waiting(now, patient)

    def _is_waiting(self, now: float, patient: bool) -> bool:
        """Whether a silent node that would be among the nearest may still answer."""
        anybody = False
        slow: list[Candidate] = []
        answered = 0
        for candidate in self._candidates:
            if candidate.state is State.ANSWERED:
                anybody = True
                answered += 1
                if answered == K:
                    break
            elif candidate.state is State.SLOW:
                slow.append(candidate)
        return any(patient or not anybody or candidate.waited_until > now for candidate in slow)

    def forget(self) -> None:
        """Give back what it took: timers may hold it for a while after its end."""
        self.stopped = True
        self._candidates.clear()
        self._known.clear()
        self._networks.clear()
        self._witnesses.clear()

    @property
    def ends_at(self) -> float:
        """When it ends at the latest."""
        return self._ends_at

    def nearest(self, count: int = K) -> list[Candidate]:
        """The nearest nodes that have answered, the nearest first."""
        return [c for c in self._candidates if c.state is State.ANSWERED][:count]
