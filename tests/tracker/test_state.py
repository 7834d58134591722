"""What connections of one tracker share: who is told of whom, and what is left when they go."""

from __future__ import annotations

import pytest

from osp2p.tracker import registry
from osp2p.tracker.state import TrackerOptions, TrackerState
from tests.tracker.talk import Told, answer, make_session, make_state


def test_logging_out_twice_is_safe() -> None:
    state = make_state()
    session = make_session(state)
    answer(session, b"ADDR a 127.0.0.1:1")
    answer(session, b"BLOCKNOTIFY")
    answer(session, b"NOTIFY")
    assert list(state.listeners) == [session]
    for _ in range(2):
        state.logout(session)
    assert (list(state.listeners), list(state.registry.peers)) == ([], [])


def test_a_backlog_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FORGET_AT_ONCE", 2)
    called: list[str] = []
    limits = make_state().limits
    state = TrackerState(TrackerOptions(), limits, tuple, Told(), make_state().rng, lambda: called.append("backlog"))
    for files in (2, 3):
        session = make_session(state)
        answer(session, b"ADDR a 127.0.0.1:1")
        for number in range(files):
            answer(session, b"HAVE %d" % number)
        state.logout(session)
    assert called == ["backlog"]


@pytest.mark.parametrize(
    ("remote", "local", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("192.0.2.2", "192.0.2.2", True),
        ("192.0.2.3", "127.0.0.1", True),
        ("192.0.2.9", "192.0.2.2", False),
    ],
)
def test_own_host(remote: str, local: str, expected: bool) -> None:
    assert make_session(make_state(own=("192.0.2.3",)), remote, local).is_own_host() == expected


def test_waking_while_nobody_waits_does_nothing() -> None:
    state = make_state()
    listener = make_session(state)
    answer(listener, b"BLOCKNOTIFY")
    woken: list[int] = []
    for wake in (listener.wake, lambda: woken.append(1)):
        listener.wake = wake
        answer(make_session(state), b"ADDR a 127.0.0.1:1")
    assert woken == [1]
    assert [listener.take_news() for _ in range(3)] == [b"PEER a 127.0.0.1:1\n"] * 2 + [None]
