"""Settling: a file is offered when it holds still, when its writer says so, and now and then if it never does."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.digest import FileState
from osp2p.peer.settle import Settling


def state(size: int) -> FileState:
    return FileState(size, size, 1)


def test_a_file_is_offered_once_it_holds_still() -> None:
    settling = Settling(still_for=0.4, at_most_every=1.0)
    assert not settling.see(b"a", state(1), 0.0, finished=False)
    assert list(settling) == [b"a"]
    assert not settling.see(b"a", state(2), 0.3, finished=False)
    assert not settling.see(b"a", state(2), 0.6, finished=False)
    assert settling.see(b"a", state(2), 0.75, finished=False)
    assert b"a" not in settling
    assert len(settling) == 0


def test_a_finished_file_is_offered_at_once() -> None:
    settling = Settling(0.4, 1.0)
    assert settling.see(b"a", state(1), 0.0, finished=True)
    assert not settling.see(b"b", state(1), 0.0, finished=False)
    assert settling.see(b"b", state(1), 0.1, finished=True)
    assert len(settling) == 0


def test_a_file_that_is_gone_is_forgotten() -> None:
    settling = Settling(0.4, 1.0)
    settling.see(b"a", state(1), 0.0, finished=False)
    settling.forget(b"a")
    settling.forget(b"a")
    assert not settling.see(b"a", state(1), 9.0, finished=False), "another file of that name begins anew"


@given(st.lists(st.floats(0.01, 0.39), min_size=1, max_size=100))
def test_a_file_that_never_holds_still_is_offered_now_and_then(pauses: list[float]) -> None:
    settling = Settling(0.4, 1.0)
    now = 0.0
    offers = [0.0]
    settling.see(b"log", state(0), now, finished=False)
    for size, pause in enumerate(pauses, 1):
        now += pause
        if settling.see(b"log", state(size), now, finished=False):
            offers.append(now)
        assert b"log" in settling
        assert now - offers[-1] < 1.0
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(offers))
