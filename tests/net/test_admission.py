"""Who may be connected: caps for each address and for all, exemptions, and who goes first."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from osp2p.limits import Limits
from osp2p.net.admission import Admission, Visit, source_of
from osp2p.wire.address import Address


class Client:
    """A connection that knows where it comes from, and whether it was closed."""

    def __init__(self, host: str = "10.0.0.2") -> None:
        self.remote = Address(host, 1)
        self.closed = False

    def close(self) -> None:
        self.closed = True


def enter(admission: Admission, host: str = "10.0.0.2") -> Visit:
    visit = admission.enter(Client(host))  # type: ignore[arg-type]
    assert visit is not None
    return visit


def is_gone(visit: Visit) -> bool:
    connection = visit.connection
    assert isinstance(connection, Client)
    return connection.closed


def gone(visits: list[Visit]) -> list[int]:
    return [number for number, visit in enumerate(visits) if is_gone(visit)]


def never() -> bool:
    return False


def test_an_address_loses_its_own_longest_silent_stranger() -> None:
    admission = Admission(Limits(max_connections_per_host=3), never)
    other = enter(admission, "10.0.0.1")
    own = [enter(admission) for _ in range(5)]
    assert gone(own) == [0, 1]
    assert not is_gone(other)
    assert len(admission) == 4


def test_who_was_heard_is_passed_over_once() -> None:
    admission = Admission(Limits(max_connections_per_host=3), never)
    own = [enter(admission) for _ in range(3)]
    own[0].heard = True
    own.append(enter(admission))
    assert gone(own) == [1]
    own.append(enter(admission))
    assert gone(own) == [1, 2]
    own.append(enter(admission))
    assert gone(own) == [0, 1, 2]


def test_where_all_were_heard_the_longest_silent_goes_all_the_same() -> None:
    admission = Admission(Limits(max_connections=4), never)
    own = [enter(admission) for _ in range(4)]
    for visit in own:
        visit.heard = True
    own.append(enter(admission))
    assert gone(own) == [0]


def test_the_busy_stay_and_count() -> None:
    admission = Admission(Limits(max_connections_per_host=2), never)
    first, second = enter(admission), enter(admission)
    first.busy = second.busy = True
    assert admission.enter(Client()) is None  # type: ignore[arg-type]
    second.busy = False
    enter(admission)
    assert gone([first, second]) == [1]


def test_the_admitted_stay_and_do_not_count_for_their_address() -> None:
    admission = Admission(Limits(max_connections_per_host=2, max_connections=6), never)
    admitted = []
    for _ in range(4):
        admitted.append(enter(admission))
        admitted[-1].admit()
        admitted[-1].admit()
    strangers = [enter(admission) for _ in range(3)]
    assert gone(strangers) == [0]
    for stranger in strangers[1:]:
        stranger.admit()
    assert len(admission) == 6
    assert admission.enter(Client()) is None  # type: ignore[arg-type]
    assert admission.enter(Client("10.0.0.3")) is None  # type: ignore[arg-type]
    assert gone(admitted + strangers) == [4]
    admission.leave(admitted[0])
    enter(admission, "10.0.0.3")


def test_who_was_sent_away_cannot_be_admitted_any_more() -> None:
    admission = Admission(Limits(max_connections=1), never)
    first = enter(admission)
    second = enter(admission)
    first.admit()
    assert len(admission) == 1
    admission.leave(first)
    assert len(admission) == 1
    third = enter(admission)
    assert gone([first, second, third]) == [0, 1]


def test_without_descriptors_a_newcomer_takes_a_strangers_place() -> None:
    crowded = False
    admission = Admission(Limits(), lambda: crowded)
    strangers = [enter(admission, f"10.0.0.{number}") for number in range(3)]
    crowded = True
    strangers += [enter(admission, f"10.0.1.{number}") for number in range(2)]
    assert gone(strangers) == [0, 1]
    for stranger in strangers[2:]:
        stranger.admit()
    assert admission.enter(Client("10.0.2.1")) is None  # type: ignore[arg-type]


def test_a_visit_that_nobody_counts_has_no_consequences() -> None:
    visit = Visit(Client())  # type: ignore[arg-type]
    visit.admit()
    assert not is_gone(visit)
    visit.dismiss()
    assert is_gone(visit)


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ],
)
def test_whom_a_connection_counts_for(host: str, source: str) -> None:
    assert source_of(host) == source


class AdmissionMachine(RuleBasedStateMachine):
    """However visits come, speak, are admitted and leave: nobody who may not be sent away is, and no cap is passed."""

    visits = Bundle("visits")

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(max_connections=7, max_connections_per_host=3)
        self.crowded = False
        self.admission = Admission(self.limits, lambda: self.crowded)
        self.strangers: list[Visit] = []
        self.admitted: list[Visit] = []

    @rule(target=visits, host=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]))
    def come(self, host: str) -> Visit:
        before = [visit for visit in self.strangers if not is_gone(visit)]
        own = [visit for visit in before if visit.source == host]
        at_cap = len(own) >= self.limits.max_connections_per_host
        full = len(before) + len(self.admitted) >= self.limits.max_connections or self.crowded
        candidates = own if at_cap else before if full else []
        silent = [visit for visit in candidates if not visit.busy and not visit.heard]
        may_go = [visit for visit in candidates if not visit.busy]

        visit = self.admission.enter(Client(host))  # type: ignore[arg-type]

        left = [one for one in before if is_gone(one)]
        if not candidates and not full:
            assert visit is not None
            assert not left
        elif silent:
            assert visit is not None
            assert len(left) == 1
            assert left[0] in silent
        else:
            assert len(left) == bool(may_go)
            assert (visit is not None) == bool(may_go)
            assert all(one in may_go for one in left)
        if visit is None:
            visit = Visit(Client(host))  # type: ignore[arg-type]
        else:
            self.strangers.append(visit)
        return visit

    @rule(visit=visits)
    def speak(self, visit: Visit) -> None:
        visit.heard = True

    @rule(visit=visits, busy=st.booleans())
    def work(self, visit: Visit, busy: bool) -> None:
        visit.busy = busy

    @rule(visit=visits)
    def admit(self, visit: Visit) -> None:
        visit.admit()
        if visit in self.strangers and not is_gone(visit):
            self.strangers.remove(visit)
            self.admitted.append(visit)

    @rule(visit=consumes(visits))
    def go(self, visit: Visit) -> None:
        self.admission.leave(visit)
        for kind in (self.strangers, self.admitted):
            if visit in kind:
                kind.remove(visit)

    @rule(crowded=st.booleans())
    def descriptors(self, crowded: bool) -> None:
        self.crowded = crowded

    @invariant()
    def caps_hold(self) -> None:
        here = [visit for visit in self.strangers if not is_gone(visit)]
        assert len(self.admission) == len(here) + len(self.admitted) <= self.limits.max_connections
        assert all(
            count <= self.limits.max_connections_per_host for count in Counter(visit.source for visit in here).values()
        )
        assert not gone(self.admitted)


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=60, stateful_step_count=40)
