"""The besiegers: between them they run the whole catalogue, as far as it concerns those who are besieged."""

from __future__ import annotations

from collections import Counter

from osp2p.evil import list_attacks
from osp2p.lab.besiegers import choose
from osp2p.lab.siege import BESIEGERS

#: Whom a swarm with a tracker consists of.
BESIEGED = ("tracker", "uploader", "downloader")


def test_every_attack_is_run_by_one_kind_of_besiegers() -> None:
    chosen = Counter(one.id for kind in BESIEGERS for one in choose(kind))
    assert chosen == {one.id: 1 for one in list_attacks() if one.against in BESIEGED}
