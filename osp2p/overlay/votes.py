"""Our own address, as others see it: every answer carries a vote, and each host has one.

Source: BEP 42, which leaves the counting open. Here the first answer counts at once, so that a node which starts soon
has an id that fits; after that an address must be seen by a majority, of three hosts at least. Votes grow old: hosts
that have left do not outvote those that are there when a node moves; and an address at which nobody has seen us for so
long gives way to the first one that is named, since where there are two nodes there is no majority of three.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from osp2p.overlay.identifier import is_exempt

_MAJORITY_OF = 3


class Votes:
    """What hosts say of our address, in one family.

    Args:
        most: of how many hosts the last vote is remembered.
        lifetime: for how many seconds it counts.
    """

    def __init__(self, most: int, lifetime: float) -> None:
        self._most = most
        self._lifetime = lifetime
        #: What each said last, and when; whoever has said something last is at the end.
        self._said: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._confirmed = float("-inf")
        #: Our address as it stands now; None until somebody told.
        self.winner: str | None = None

    def count(self, voter: str, host: str, now: float) -> bool:
        """Take a vote. Returns: whether our address is another one now.

        An address of a private network tells others nothing, so it wins only as long as there is no other.
        """
        self._said[voter] = host, now
        self._said.move_to_end(voter)
        if len(self._said) > self._most:
            self._said.popitem(last=False)
        if host == self.winner:  # it has one vote more, at the cost of another
            self._confirmed = now
            return False
        best = self._best(now)
        if best is None:
            return False
        self.winner = best
        self._confirmed = now
        return True

    def _best(self, now: float) -> str | None:
        """The address that takes the place of the one that stands, if one does."""
        since = now - self._lifetime
        while next(iter(self._said.values()))[1] < since:
            self._said.popitem(last=False)
        said = [host for host, _ in self._said.values()]
        counts = Counter(host for host in said if not is_exempt(host)) or Counter(said)
        best, votes = counts.most_common(1)[0]
        if best == self.winner:
            return None
        public_at_last = self.winner is not None and is_exempt(self.winner) and not is_exempt(best)
        free = self.winner is None or public_at_last or self._confirmed < since
        return best if free or (votes >= _MAJORITY_OF and 2 * votes > counts.total()) else None
