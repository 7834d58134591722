"""Contents and their holders, without the books around them."""

from __future__ import annotations

import pytest

from osp2p.tracker.holdings import DISPUTED, Content, Holders, Peer, Rivals, collect, with_one_more, without
from osp2p.wire.address import Address

M1, M2 = b"a" * 22, b"b" * 21 + b"a"


def make_peer(name: bytes = b"p") -> Peer:
    return Peer(name, Address("10.0.0.1", 1), "10.0.0.1", hello=True, base_line=b"", hello_line=b"")


def hold(content: Content, peer: Peer, *, part: bool = False) -> None:
    if part:
        content.partial = with_one_more(content.partial, peer)
        peer.parts[content.name] = content
    else:
        content.complete = with_one_more(content.complete, peer)
        peer.files[content.name] = content


def test_contents_without_known_difference_agree() -> None:
    one, two = Content(b"f", md5=M1), Content(b"f", b3=bytes(32))
    assert one.agrees(two)
    assert two.agrees(one)
    two.md5 = M2
    assert not one.agrees(two)


@pytest.mark.parametrize(
    ("one", "two", "agree"), [(5, 6, False), (5, 5, True), (5, None, True), (5, DISPUTED, True), (DISPUTED, 5, True)]
)
def test_two_sizes_are_two_contents(one: int, two: int | None, agree: bool) -> None:
    assert Content(b"f", size=one).agrees(Content(b"f", b3=bytes(32), size=two)) == agree


def test_a_disputed_size_is_not_known() -> None:
    assert [Content(b"f", size=size).known_size for size in (None, 0, 5, DISPUTED)] == [None, 0, 5, None]


def test_a_peer_has_one_content_of_a_name() -> None:
    content, peer = Content(b"f"), make_peer()
    assert peer.content(b"f") is None
    hold(content, peer, part=True)
    assert peer.content(b"f") is content
    assert peer.content(b"g") is None


def test_sweeping_keeps_places_whose_registration_is_still_to_be_struck_out() -> None:
    content = Content(b"f")
    here, struck, leaving, part = make_peer(), make_peer(), make_peer(), make_peer()
    for peer in (here, struck, leaving):
        hold(content, peer)
    hold(content, part, part=True)
    for peer in (struck, leaving, part):
        peer.gone = True
    del struck.files[b"f"]
    content.gone = 1
    content.sweep()
    assert content.complete == (here, leaving)
    assert content.partial == (part,)
    del part.parts[b"f"]
    content.sweep()
    assert not content.partial


@pytest.mark.parametrize("number", [1, 2, 15, 16, 17, 40])
def test_holders_stay_in_their_order_however_many_they_are(number: int) -> None:
    peers = [make_peer() for _ in range(number)]
    holders: Holders = ()
    for count, peer in enumerate(peers):
        assert list(holders) == peers[:count]
        holders = with_one_more(holders, peer)
    assert collect(peers) == holders
    assert isinstance(holders, tuple) == (number <= 16)
    left = list(peers)
    for peer in (*peers[1::2], *peers[0::2]):
        left.remove(peer)
        holders = without(holders, peer)
        assert list(holders) == left


def test_the_oldest_holder_of_the_whole_decides() -> None:
    first, second = Content(b"f", b3=b"x" * 32), Content(b"f", b3=b"y" * 32)
    early, late, part = make_peer(), make_peer(), make_peer()
    hold(first, early)
    rivals = Rivals(first)
    rivals.contents.append(second)
    rivals.complete[late] = second
    rivals.partial[part] = second
    assert rivals.find_default() == (first,)
    assert list(rivals.by_age()) == [first, second, second]
    early.gone = True
    assert rivals.find_default() == (second,)
    late.gone = part.gone = True
    assert rivals.find_default() == ()


def test_a_content_without_b3_goes_with_what_its_md5_does_not_contradict() -> None:
    bare, other, fits = Content(b"f", md5=M1), Content(b"f", b"x" * 32, M2), Content(b"f", b"y" * 32, M1)
    peers = [make_peer() for _ in range(3)]
    hold(bare, peers[0])
    rivals = Rivals(bare)
    rivals.contents += [other, fits]
    rivals.complete.update({peers[1]: other, peers[2]: fits})
    assert rivals.find_default() == (bare, fits)
    peers[0].gone = True
    assert rivals.find_default() == (other,)
    peers[1].gone = True
    assert rivals.find_default() == (fits, bare)
