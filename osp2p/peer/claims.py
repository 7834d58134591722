"""What to make of claims about one file: which of them are worth a try, and which need a further proof. Pure.

Trackers tell what whoever registered a file said of it, and holders tell what they have. Both may lie, so all that is
decided here is what is asked for, never what is true.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from osp2p.peer.chunk_client import Content
from osp2p.peer.probe import speaks
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.entry import PeerEntry

if TYPE_CHECKING:
    from osp2p.content.chunk_store import Partial


def needs_md5(facts: TrackerFacts) -> bool:
    """Whether the content id may be the word of somebody who registered after a holder that named none.

    A tracker takes an old holder to mean the content that a later one names, as long as both say the same MD5. That
    says anybody who reads it, so only the MD5 of what arrives tells whether it is what the old one meant.
    """
    is_mixed = not all(speaks(entry) for entry in facts.holders)
    return is_mixed and facts.b3 is not None and facts.md5 is not None


def is_being_hashed(facts: TrackerFacts) -> bool:
    """Whether nothing proves the content yet, but a holder is one that will tell."""
    return facts.b3 is None and facts.md5 is None and any(speaks(entry) for entry in facts.holders)


def holders_of_content(facts: TrackerFacts) -> list[PeerEntry]:
    """The holders that speak OSP2P/2 and claim to have the content that the name stands for."""
    if facts.b3 is None:
        return []
    b3 = facts.b3.hex().encode()
    return [entry for entry in facts.holders if speaks(entry) and entry.attributes.get(b"b3", b3) == b3]


def contents_claimed(
    name: bytes, claims: Iterable[PeerEntry], b3: bytes | None, there: Partial | None
) -> list[tuple[Content, list[PeerEntry]]]:
    """What holders claim to have, the smallest first, each with those who claim it.

    Args:
        claims: holders with ``size`` and ``b3`` in their attributes.
        b3: the wanted content; None: any.
        there: what an earlier fetch has left: of the wanted content, only its size can be right; else it comes first.
    """
    found: dict[Content, list[PeerEntry]] = {}
    for entry in claims:
        size, claimed = int(entry.attributes[b"size"]), bytes.fromhex(entry.attributes[b"b3"].decode())
        if b3 is None or (claimed == b3 and (there is None or there.size == size)):
            found.setdefault(Content(name, size, claimed), []).append(entry)
    resumable = None if there is None else Content(name, there.size, there.b3)
    return sorted(found.items(), key=lambda item: (item[0] != resumable, item[0].size))
