"""What the overlay is told of a shelf."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from osp2p.limits import DEFAULT
from osp2p.overlay.keys import content_key, many_key, name_key, sharers_key
from osp2p.overlay.node import Overlay
from osp2p.peer.announce import Announcement
from osp2p.peer.overlay_announce import OverlayAnnouncer
from osp2p.wire.address import Address

HERE = {Address("192.0.2.1", 5)}


class Published:
    """An overlay that only takes note."""

    network = "osp2p"

    def __init__(self) -> None:
        self.keys: dict[bytes, int] = {}

    def publish(self, keys: Iterable[bytes], port: int) -> None:
        self.keys.update(dict.fromkeys(keys, port))

    def withdraw(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            del self.keys[key]


def announcer(most: int = 1000) -> tuple[OverlayAnnouncer, Published]:
    published = Published()
    limits = replace(DEFAULT, max_announced_files=most)
    return OverlayAnnouncer(cast(Overlay, published), 4000, lambda: HERE, limits), published


def b3(number: int) -> bytes:
    return bytes([number]) * 32


def test_a_file_is_announced_by_its_name_and_its_content() -> None:
    told, published = announcer()
    told.offer([(b"cat", Announcement(5))])
    assert set(published.keys) == {name_key("osp2p", b"cat"), sharers_key("osp2p")}
    told.offer([(b"cat", Announcement(5, b3=b3(1)))])
    assert set(published.keys) == {name_key("osp2p", b"cat"), sharers_key("osp2p"), content_key("osp2p", b3(1))}
    assert set(published.keys.values()) == {4000}
    told.offer([(b"cat", Announcement(5, b3=b3(2)))])
    assert content_key("osp2p", b3(1)) not in published.keys
    told.withdraw([b"cat", b"unknown"])
    assert published.keys == {}
    assert told.addresses() == HERE


def test_what_is_being_fetched_is_announced_by_its_content_alone() -> None:
    told, published = announcer()
    told.offer([(b"cat", Announcement(5, b3=b3(1), partial=True))])
    assert set(published.keys) == {content_key("osp2p", b3(1))}


def test_two_names_of_one_content() -> None:
    told, published = announcer()
    told.offer([(b"cat", Announcement(5, b3=b3(1))), (b"tom", Announcement(5, b3=b3(1)))])
    told.withdraw([b"cat"])
    assert content_key("osp2p", b3(1)) in published.keys
    told.withdraw([b"tom"])
    assert published.keys == {}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_as_many_as_may_be_are_announced_one_by_one(steps: list[tuple[bool, int]]) -> None:
    told, published = announcer(most=3)
    offered: set[int] = set()
    for add, number in steps:
        name = b"file%d" % number
        if add:
            told.offer([(name, Announcement(1, b3=b3(number)))])
            offered.add(number)
        else:
            told.withdraw([name])
            offered.discard(number)
        announced = {n for n in range(10) if name_key("osp2p", b"file%d" % n) in published.keys}
        assert announced <= offered
        assert len(announced) == min(3, len(offered))
        assert {n for n in range(10) if content_key("osp2p", b3(n)) in published.keys} == announced
        assert (many_key("osp2p") in published.keys) == (len(offered) > 3)
        assert (sharers_key("osp2p") in published.keys) == bool(offered)


async def test_nobody_waits_for_the_overlay() -> None:
    told, _ = announcer()
    await told.wait_first_round()
    await told.wait_settled()
