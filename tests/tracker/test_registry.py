"""The books, case by case: outcomes, defaults, contents, and that nothing is left of who has gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from osp2p.errors import UnsafeName
from osp2p.limits import Limits
from osp2p.tracker import registry as module
from osp2p.tracker.holdings import NOTHING, Claim, Content, Peer
from osp2p.tracker.registry import Outcome, Registry
from osp2p.wire.address import Address

M1, M2 = b"a" * 22, b"b" * 21 + b"a"
X, Y, Z = b"x" * 32, b"y" * 32, b"z" * 32


class Books:
    """A registry, and peers by their letters: capitals said HELLO."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.registry = Registry(limits or Limits())
        self.peers: dict[str, Peer] = {}

    def peer(self, letter: str) -> Peer:
        if letter not in self.peers:
            line = letter.encode()
            peer = Peer(
                line, Address("10.0.0.1", ord(letter)), "", hello=letter.isupper(), base_line=line, hello_line=line
            )
            self.registry.login(peer)
            self.peers[letter] = peer
        return self.peers[letter]

    def have(self, letter: str, claim: Claim = NOTHING, name: bytes = b"f") -> Outcome:
        return self.registry.register(self.peer(letter), name, claim)

    def default(self, name: bytes = b"f") -> str:
        """Who holds the default content, partial holders in parentheses."""
        contents = self.registry.default(name)
        whole = sorted(peer.alias.decode() for content in contents for peer in content.complete)
        partial = sorted(f"({peer.alias.decode()})" for content in contents for peer in content.partial)
        return "".join(whole + partial)

    def leave(self, letter: str) -> None:
        self.registry.leave(self.peers.pop(letter))


@pytest.fixture
def books() -> Books:
    return Books()


# --- without HELLO: as in 2007 ---


def test_a_repetition_is_noted_and_can_bring_a_checksum(books: Books) -> None:
    assert books.have("a") == Outcome.REGISTERED
    assert books.have("a") == Outcome.ALREADY
    assert books.have("a", Claim(M1)) == Outcome.ALREADY
    assert [content.md5 for content in books.registry.default(b"f")] == [M1]
    assert books.have("b", Claim(M2)) == Outcome.CONTRADICTS
    assert books.default() == "a"


def test_a_contradiction_takes_the_bare_registration_along(books: Books) -> None:
    books.have("a", Claim(M1))
    books.have("b")
    assert books.have("b", Claim(M2)) == Outcome.CONTRADICTS
    assert books.default() == "a"
    assert not books.registry.withdraw(books.peer("b"), b"f")
    assert books.registry.registrations == 1


def test_leaving_the_refused_checksum_out_does_not_help(books: Books) -> None:
    books.have("a", Claim(M1))
    assert books.have("b", Claim(M2)) == Outcome.CONTRADICTS
    assert books.have("b") == Outcome.CONTRADICTS
    books.leave("a")
    assert books.have("b") == Outcome.REGISTERED
    assert [content.md5 for content in books.registry.default(b"f")] == [M2]


def test_withdrawing_forgets_the_refused_checksum(books: Books) -> None:
    books.have("a", Claim(M1))
    books.have("b", Claim(M2))
    books.registry.withdraw(books.peer("b"), b"f")
    assert books.have("b") == Outcome.REGISTERED


def test_refused_checksums_are_remembered_up_to_a_limit() -> None:
    books = Books(replace(Limits(), max_base_files=3))
    for number in range(3):
        books.have("a", Claim(M1), b"f%d" % number)
    for number in range(3, 6):
        books.have("c", Claim(M1), b"f%d" % number)
    for number in range(6):
        assert books.have("b", Claim(M2), b"f%d" % number) == Outcome.CONTRADICTS
    assert len(books.peer("b").rejected) == 3


def test_a_checksum_lives_as_long_as_its_holders(books: Books) -> None:
    books.have("a", Claim(M1))
    books.have("b", Claim(M1))
    books.leave("a")
    assert books.have("c", Claim(M2)) == Outcome.CONTRADICTS
    books.leave("b")
    assert books.registry.default(b"f") == ()
    assert books.have("c", Claim(M2)) == Outcome.REGISTERED


def test_a_peer_contradicts_itself(books: Books) -> None:
    books.have("a", Claim(M1))
    assert books.have("a", Claim(M2)) == Outcome.CONTRADICTS
    assert len(books.registry.names) == 0


def test_the_limit_of_files_is_for_new_names(books: Books) -> None:
    limits = Limits()
    for number in range(limits.max_base_files):
        assert books.have("a", name=b"%d" % number) == Outcome.REGISTERED
        assert books.have("A", name=b"%d" % number) == Outcome.REGISTERED
    assert books.have("a") == Outcome.TOO_MANY_FILES
    assert books.have("a", name=b"0") == Outcome.ALREADY
    assert books.have("A") == Outcome.REGISTERED
    assert books.registry.withdraw(books.peer("a"), b"0")
    assert books.have("a") == Outcome.REGISTERED


def test_the_tracker_can_be_full() -> None:
    books = Books(replace(Limits(), max_registrations=2))
    books.have("a")
    books.have("b")
    assert books.have("c") == Outcome.FULL
    books.leave("a")
    assert books.have("c") == Outcome.REGISTERED


def test_a_source_has_no_more_places_than_are_left() -> None:
    """Letters of one source: a and b. What each source gets of ten places, one after the other."""
    books = Books(replace(Limits(), max_registrations=10))
    for letter, source in {"a": "10.0.0.1", "b": "10.0.0.1", "c": "10.0.0.2", "d": "10.0.0.3", "e": "10.0.0.4"}.items():
        books.peer(letter).source = source
    taken = {letter: [books.have(letter, name=b"%d" % number) for number in range(10)] for letter in "abcde"}
    counts = {letter: outcomes.count(Outcome.REGISTERED) for letter, outcomes in taken.items()}
    assert counts == {"a": 5, "b": 0, "c": 3, "d": 1, "e": 1}
    assert books.registry.registrations == 10
    assert books.have("e", name=b"another") == Outcome.FULL
    books.leave("a")
    assert books.have("b") == Outcome.REGISTERED
    assert books.have("e", name=b"another") == Outcome.REGISTERED
    for number in range(3):
        books.registry.withdraw(books.peer("c"), b"%d" % number)
    assert books.registry._held is None, "it is not counted any more where there is room for all"


@pytest.mark.parametrize("name", [b"..", b"a/../b", b"/etc/passwd", b"nul\0", b"x" * 1025, b"a//b", b"."])
def test_a_name_that_no_file_can_have_is_refused(books: Books, name: bytes) -> None:
    with pytest.raises(UnsafeName):
        books.have("a", name=name)
    assert books.registry.registrations == 0


@pytest.mark.parametrize("name", [b"a\nb", b"a\rb", b"sub/deep.txt", b"..a", b"\xff\xfe", b"-", b" "])
def test_odd_names_are_names(books: Books, name: bytes) -> None:
    assert books.have("a", name=name) == Outcome.REGISTERED


# --- contents ---


def test_a_name_stands_for_several_contents(books: Books) -> None:
    books.have("A", Claim(b3=X, size=1))
    assert books.have("B", Claim(b3=Y, size=2)) == Outcome.REGISTERED
    assert books.have("C", Claim(b3=Y, size=2)) == Outcome.REGISTERED
    assert books.default() == "A"
    (other,) = books.registry.named(b"f", Y)
    assert [peer.alias for peer in other.complete] == [b"B", b"C"]
    assert books.registry.named(b"f", Z) == ()


def test_the_default_follows_its_oldest_holder_to_a_new_content(books: Books) -> None:
    books.have("A", Claim(b3=X))
    books.have("B", Claim(b3=X))
    books.have("C", Claim(b3=Y))
    assert books.have("B", Claim(b3=Z)) == Outcome.CHANGED
    assert books.default() == "A"
    assert books.have("A", Claim(b3=Y)) == Outcome.CHANGED
    assert books.default() == "AC"
    books.leave("A")
    assert books.default() == "B"
    books.leave("B")
    assert books.default() == "C"


def test_the_next_oldest_registration_of_the_name_counts_not_the_next_oldest_peer(books: Books) -> None:
    for letter in "ABC":
        books.peer(letter)
    books.have("C", Claim(b3=X))
    books.have("B", Claim(b3=Y))
    books.have("A", Claim(b3=Z))
    books.leave("C")
    assert books.default() == "B"


def test_ages_survive_a_time_with_one_content_only(books: Books) -> None:
    books.have("A", Claim(b3=X))
    books.have("B", Claim(b3=X))
    books.have("C", Claim(b3=Y))
    books.have("C", Claim(b3=X))
    assert len(books.registry.contents(b"f")) == 1
    books.leave("A")
    books.have("C", Claim(b3=Y))
    assert books.default() == "B"
    books.have("B", Claim(b3=Z))
    assert books.default() == "B"


def test_whole_holders_come_before_partial_ones(books: Books) -> None:
    books.have("A", Claim(b3=X, part=True))
    assert books.default() == "(A)"
    books.have("B", Claim(b3=Y))
    assert books.default() == "B"
    assert books.have("A", Claim(b3=X)) == Outcome.CHANGED
    assert books.default() == "B"
    books.leave("B")
    assert books.default() == "A"


def test_a_partial_holder_becomes_a_whole_one_and_back(books: Books) -> None:
    books.have("A", Claim(b3=X, part=True))
    assert books.have("A", Claim(b3=X, part=True)) == Outcome.ALREADY
    assert books.have("A", Claim(b3=X)) == Outcome.CHANGED
    assert (list(books.peer("A").files), list(books.peer("A").parts)) == ([b"f"], [])
    assert books.have("A", Claim(b3=X, part=True)) == Outcome.CHANGED
    assert (list(books.peer("A").files), list(books.peer("A").parts)) == ([], [b"f"])
    assert books.registry.registrations == 1


def test_a_repetition_replaces_the_attributes(books: Books) -> None:
    books.have("A", Claim(size=5))
    assert books.have("A", Claim(size=5)) == Outcome.ALREADY
    assert books.have("A", Claim(M1, X, 6)) == Outcome.CHANGED
    assert books.have("A", Claim(M1, X, 6)) == Outcome.ALREADY
    assert books.have("A", Claim(b3=X)) == Outcome.ALREADY
    assert books.have("A", Claim(M1)) == Outcome.ALREADY
    (content,) = books.registry.contents(b"f")
    assert (content.md5, content.b3, content.size) == (M1, X, 6)
    assert books.have("A") == Outcome.CHANGED
    (content,) = books.registry.contents(b"f")
    assert (content.md5, content.b3, content.size) == (None, None, None)
    assert books.registry.with_b3(X) == ()


def test_one_content_cannot_have_two_checksums_or_sizes(books: Books) -> None:
    books.have("A", Claim(M1, X, 5))
    assert books.have("B", Claim(M2, X, 5)) == Outcome.CONTRADICTS
    assert books.have("B", Claim(M1, X, 6)) == Outcome.CONTRADICTS
    assert books.have("B", Claim(b3=X)) == Outcome.REGISTERED


def test_registrants_without_b3_may_disagree_about_the_size(books: Books) -> None:
    books.have("A", Claim(size=5))
    books.have("B", Claim(size=5))
    assert [content.known_size for content in books.registry.default(b"f")] == [5]
    assert books.have("C", Claim(size=6)) == Outcome.REGISTERED
    assert [content.known_size for content in books.registry.default(b"f")] == [None]


def test_an_md5_that_is_known_names_the_content(books: Books) -> None:
    books.have("A", Claim(M1, X, 5))
    books.have("B", Claim(M2, Y, 6))
    assert books.have("c", Claim(M1)) == Outcome.REGISTERED
    assert books.have("d", Claim(M2)) == Outcome.REGISTERED
    assert books.peer("c").content(b"f") is books.peer("A").content(b"f")
    assert books.peer("d").content(b"f") is books.peer("B").content(b"f")


def test_who_names_no_b3_is_taken_to_mean_the_default(books: Books) -> None:
    books.have("A", Claim(M1, X, 5))
    books.have("B", Claim(M2, Y, 6))
    assert books.have("c") == Outcome.REGISTERED
    assert books.default() == "Ac"
    assert books.have("d", Claim(b"c" * 21 + b"a")) == Outcome.CONTRADICTS


def test_an_old_holder_and_a_new_one_count_as_one(books: Books) -> None:
    books.have("a")
    books.have("B", Claim(M1, X, 5))
    books.have("C", Claim(M2, Y, 6))
    assert books.default() == "Ba"
    books.leave("B")
    assert books.default() == "Ca"


def test_an_old_holder_with_another_checksum_stays_the_default_alone(books: Books) -> None:
    books.have("a", Claim(M1))
    books.have("B", Claim(M2, X, 5))
    assert books.default() == "a"
    books.leave("a")
    assert books.default() == "B"


def test_a_checksum_learned_late_parts_what_counted_as_one(books: Books) -> None:
    books.have("A", Claim(b3=X))
    books.have("b", Claim(M2))
    assert books.default() == "Ab"
    books.have("A", Claim(M1, X))
    assert books.default() == "A"
    books.have("c")
    assert books.default() == "Ac"


def test_a_checksum_learned_late_of_a_content_with_several_holders_parts_them_too(books: Books) -> None:
    books.have("A", Claim(b3=X))
    books.have("B", Claim(b3=X))
    books.have("c", Claim(M2))
    assert books.default() == "ABc"
    assert books.have("B", Claim(M1, X)) == Outcome.CHANGED
    assert books.default() == "AB"


def test_a_checksum_that_is_right_at_last_makes_up_for_a_refused_one(books: Books) -> None:
    books.have("a", Claim(M1))
    assert books.have("B", Claim(M2)) == Outcome.CONTRADICTS
    assert books.have("B", Claim(M1)) == Outcome.REGISTERED
    assert books.have("B", Claim(size=5)) == Outcome.CHANGED


def test_a_name_has_so_many_contents_and_no_more() -> None:
    books = Books(replace(Limits(), max_contents_per_name=2))
    books.have("A", Claim(b3=X))
    books.have("B", Claim(b3=Y))
    assert books.have("C", Claim(b3=Z)) == Outcome.TOO_MANY_CONTENTS
    assert books.have("A", Claim(b3=Z)) == Outcome.CHANGED
    assert books.have("C", Claim(b3=Z)) == Outcome.REGISTERED


def test_a_content_is_found_under_all_its_names(books: Books) -> None:
    for number in range(4):
        books.have("A", Claim(b3=X), b"f%d" % number)
    assert sorted(content.name for content in books.registry.with_b3(X)) == [b"f0", b"f1", b"f2", b"f3"]
    for number in range(3):
        books.registry.withdraw(books.peer("A"), b"f%d" % number)
    assert [content.name for content in books.registry.with_b3(X)] == [b"f3"]
    books.leave("A")
    assert books.registry.with_b3(X) == ()


def test_of_very_many_names_enough_for_an_answer_are_found() -> None:
    books = Books(replace(Limits(), max_want_peers=3))
    for number in range(9):
        books.have("A", Claim(b3=X), b"f%d" % number)
    assert [content.name for content in books.registry.with_b3(X)] == [b"f0", b"f1", b"f2"]


# --- leaving ---


def test_who_leaves_with_very_much_is_forgotten_bit_by_bit(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGET_AT_ONCE", 10)
    for number in range(25):
        books.have("A", Claim(b3=X), b"%d" % number)
        books.have("B", Claim(b3=X), b"%d" % number)
        books.have("A", Claim(b3=Y, part=True), b"p%d" % number)
    gone = books.peer("A")
    assert books.registry.leave(gone)
    assert gone.hello_line == b""
    assert list(books.registry.peers) == [books.peer("B")]
    # Looking at contents in between must not lose count of the places that are still to be struck out.
    assert all(books.registry.default(b"%d" % number) for number in range(25))
    assert books.have("B", Claim(b3=Z), b"3") == Outcome.CHANGED
    assert sum(books.registry.forget_some() for _ in range(10)) == 3
    assert books.registry.registrations == 25
    assert len(books.registry.names) == 25
    assert all(books.default(b"%d" % number) == "B" for number in range(25))


def test_coming_and_going_leaves_no_places_behind(books: Books) -> None:
    books.have("A")
    (content,) = books.registry.contents(b"f")
    for _ in range(1000):
        books.have("b")
        books.leave("b")
        assert len(content.complete) <= 3
    assert books.default() == "A"


def test_places_are_dropped_when_somebody_looks() -> None:
    books = Books()
    for letter in "ABCDEFG":
        books.have(letter)
    books.leave("A")
    (content,) = books.registry.contents(b"f")
    assert (len(content.complete), content.gone) == (7, 1)
    books.registry.default(b"f")
    assert (len(content.complete), content.gone) == (6, 0)


def test_peers_are_found_by_address(books: Books) -> None:
    first = books.peer("a")
    twin = Peer(b"twin", first.address, "", hello=False, base_line=b"", hello_line=b"")
    books.registry.login(twin)
    assert list(books.registry.at_address(first.address)) == [first, twin]
    books.leave("a")
    assert list(books.registry.at_address(first.address)) == [twin]
    books.registry.leave(twin)
    assert list(books.registry.at_address(first.address)) == []


def test_contents_without_known_difference_agree() -> None:
    one, two = Content(b"f", md5=M1), Content(b"f", b3=X)
    assert one.agrees(two)
    two.md5 = M2
    assert not two.agrees(one)
