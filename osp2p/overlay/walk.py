"""A lookup on its way: asks whom it says, and tells it what came of that, until it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from osp2p.errors import MalformedDatagram
from osp2p.overlay.compact import Contact
from osp2p.overlay.engine import Engine
from osp2p.overlay.family import Family
from osp2p.overlay.krpc import Arguments, Failure, Response
from osp2p.overlay.lookup import Candidate, Lookup, State
from osp2p.overlay.table import K

#: How much longer than is usual the end of a lookup waits for a silent node, as a multiple of what is usual.
_PATIENCE = 1.5

Took: TypeAlias = Callable[[Candidate, Response, float], None]
Done: TypeAlias = Callable[["Walk", float], None]


class Walk:
    """One lookup in one family.

    Args:
        arguments: of every query; with the target.
        took: called with every answer, before its nodes are followed.
        done: called once, at the end.
        seeds: nodes to begin with; None: our neighbours.
        found: whether what is looked for has been found; until then silent nodes are waited for to the end. None: where
            nodes are looked for, and nothing at them.
    """

    def __init__(
        self,
        engine: Engine,
        family: Family,
        target: bytes,
        method: bytes,
        arguments: Arguments,
        took: Took,
        done: Done,
        seeds: Iterable[Contact] | None = None,
        found: Callable[[], bool] | None = None,
    ) -> None:
        self.family = family
        self._engine = engine
        self._method = method
        self._arguments = arguments
        self._took = took
        self._done = done
        self._over = False
        self._seeds = seeds
        self._found = found
        self._target = target
        self.lookup: Lookup

    def start(self, now: float) -> None:
        """Begin."""
        self.lookup = Lookup(self._target, self.family.own, self._engine.limits, now, may_be=self._engine.may_be)
        table = self.family.table
        self.lookup.add(table.nearest(self._target, 2 * K) if self._seeds is None else self._seeds)
        self.lookup.call_witnesses(table.far(self._engine.rng, self._engine.limits.lookup_witnesses))
        self._engine.timers.at(self.lookup.ends_at, self._advance)
        self._advance(now)

    def stop(self, now: float) -> None:
        """End it with what it has."""
        self.lookup.stopped = True
        self._advance(now)

    def _advance(self, now: float) -> None:
        if self._over:
            return
        for candidate in self.lookup.next_queries(now):
            self._ask(candidate, now)
        if self.lookup.is_done(now, patient=self._found is not None and not self._found()):
            self._over = True
            self._done(self, now)
            self.lookup.forget()

    def _ask(self, candidate: Candidate, now: float) -> None:
        def slow(then: float) -> None:
            waited_until = then + _PATIENCE * self._engine.exchanges.round_trips.slow
            self.lookup.note_slow(candidate, waited_until)
            self._engine.timers.at(waited_until, self._advance)
            self._advance(then)

        def ended(answer: Response | Failure | None, then: float) -> None:
            if isinstance(answer, Response):
                self._take(candidate, answer, then)
            else:
                self.lookup.note_failure(candidate)
            self._advance(then)

        self._engine.ask(
            candidate.contact.address,
            self._method,
            self._arguments,
            now,
            ended,
            expected=candidate.contact.id,
            slow=slow,
        )

    def _take(self, candidate: Candidate, answer: Response, now: float) -> None:
        if self._over:
            return
        try:
            contacts = self._engine.contacts_of(answer, candidate.contact.address)
        except MalformedDatagram:
            self.lookup.note_failure(candidate)
            return
        token = answer.values.get(b"token")
        candidate.token = token if isinstance(token, bytes) else None
        self.lookup.note_answer(candidate, contacts)
        self._took(candidate, answer, now)

    @property
    def holders(self) -> list[Candidate]:
        """The nodes at which something under the target is kept: the nearest that have answered."""
        return [c for c in self.lookup.nearest() if c.state is State.ANSWERED]
