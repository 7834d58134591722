"""Which claims of trackers and holders are worth a try, and which need a further proof."""

from __future__ import annotations

import pytest

from osp2p.content.chunk_store import Partial
from osp2p.peer.chunk_client import Content
from osp2p.peer.claims import contents_claimed, holders_of_content, is_being_hashed, needs_md5
from osp2p.peer.tracker_facts import TrackerFacts
from osp2p.wire.address import Address
from osp2p.wire.entry import PeerEntry

B3, OTHER = bytes(range(32)), bytes(32)
MD5 = bytes(16)


def holder(port: int, **attributes: str) -> PeerEntry:
    said = {key.encode(): value.encode() for key, value in attributes.items()}
    return PeerEntry(b"p%d" % port, Address("10.0.0.1", port), said)


NEW, OLD, UNKNOWN = holder(1, v="2"), holder(2, v="1"), holder(3)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (TrackerFacts((NEW,), md5=MD5, b3=B3), False),
        (TrackerFacts((NEW, OLD), md5=MD5, b3=B3), True),
        (TrackerFacts((NEW, UNKNOWN), md5=MD5, b3=B3), True),
        (TrackerFacts((NEW, OLD), b3=B3), False),
        (TrackerFacts((NEW, OLD), md5=MD5), False),
    ],
    ids=["all speak", "one is old", "one is unknown", "no md5", "no content id"],
)
def test_a_content_id_beside_a_holder_that_named_none_needs_the_md5(facts: TrackerFacts, expected: bool) -> None:
    assert needs_md5(facts) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (TrackerFacts((NEW,)), True),
        (TrackerFacts((OLD, UNKNOWN)), False),
        (TrackerFacts((NEW,), md5=MD5), False),
        (TrackerFacts((NEW,), b3=B3), False),
        (TrackerFacts(()), False),
    ],
    ids=["it will tell", "nobody will", "md5", "b3", "nobody is there"],
)
def test_a_file_without_proof_is_being_hashed_by_whoever_will_tell(facts: TrackerFacts, expected: bool) -> None:
    assert is_being_hashed(facts) is expected


def test_holders_of_the_content_are_those_that_do_not_claim_another() -> None:
    same, another = holder(4, v="2", b3=B3.hex()), holder(5, v="2", b3=OTHER.hex())
    holders = (NEW, OLD, UNKNOWN, same, another)
    assert holders_of_content(TrackerFacts(holders, b3=B3)) == [NEW, same]
    assert holders_of_content(TrackerFacts(holders)) == []


def claims(*pairs: tuple[int, bytes]) -> list[PeerEntry]:
    return [holder(port, v="2", size=str(size), b3=b3.hex()) for port, (size, b3) in enumerate(pairs, 10)]


def found(
    entries: list[PeerEntry], b3: bytes | None, there: Partial | None = None
) -> list[tuple[int, bytes, list[int]]]:
    """Size, content id, and the ports of those who claim it."""
    contents = contents_claimed(b"a", entries, b3, there)
    assert all(content == Content(b"a", content.size, content.b3) for content, _ in contents)
    return [(content.size, content.b3, [entry.address.port for entry in who]) for content, who in contents]


def test_claims_are_put_together_the_smallest_first() -> None:
    entries = claims((900, B3), (5, OTHER), (7, B3), (900, B3))
    assert found(entries, None) == [(5, OTHER, [11]), (7, B3, [12]), (900, B3, [10, 13])]
    assert found(entries, B3) == [(7, B3, [12]), (900, B3, [10, 13])]
    assert found([], B3) == []


def test_what_is_here_of_the_wanted_content_proves_its_size() -> None:
    assert found(claims((7, B3), (900, B3)), B3, Partial(900, B3, 1)) == [(900, B3, [11])]


def test_what_is_here_of_any_content_comes_first() -> None:
    entries = claims((7, B3), (900, OTHER))
    assert found(entries, None, Partial(900, OTHER, 1)) == [(900, OTHER, [11]), (7, B3, [10])]
