"""Our own address, as others see it: every answer carries a vote, and each host has one.

Source: BEP 42, which leaves the counting open. Here the first answer counts at once, so that a node which starts soon
has an id that fits; after that an address must be seen by a majority, of three hosts at least.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from osp2p.overlay.identifier import is_exempt

_MAJORITY_OF = 3


class Votes:
    """What hosts say of our address, in one family.

    Args:
        most: of how many hosts the last vote is remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._said: OrderedDict[str, str] = OrderedDict()
        #: Our address as it stands now; None until somebody told.
        self.winner: str | None = None

    def count(self, voter: str, host: str) -> bool:
        """Take a vote. Returns: whether our address is another one now.

        An address of a private network tells others nothing, so it wins only as long as there is no other.
        """
        if host == self.winner and self._said.get(voter) == host:
            return False
        self._said.pop(voter, None)
        self._said[voter] = host
        if len(self._said) > self._most:
            self._said.popitem(last=False)
        if host == self.winner:  # it has one vote more, at the cost of another
            return False
        counts = Counter(said for said in self._said.values() if not is_exempt(said)) or Counter(self._said.values())
        best, votes = counts.most_common(1)[0]
        public_at_last = self.winner is not None and is_exempt(self.winner) and not is_exempt(best)
        first = self.winner is None or public_at_last
        if best == self.winner or not (first or (votes >= _MAJORITY_OF and 2 * votes > counts.total())):
            return False
        self.winner = best
        return True
