from __future__ import annotations

import pytest

from osp2p.limits import MIB
from tests.swarm import plan
from tests.swarm.plan import LIES, Plan, Resident


def test_a_seed_makes_the_same_residents() -> None:
    assert Plan(3, 50).residents() == Plan(3, 50).residents()
    assert Plan(3, 50).residents() != Plan(4, 50).residents()


def test_there_are_as_many_of_each_kind_as_were_asked_for() -> None:
    residents = Plan(1, 200, seeds=3, liars=0.1, leaving=0.5, limited=0.5).residents()
    assert [resident.number for resident in residents] == list(range(200))
    assert [resident.is_seed for resident in residents] == [True] * 3 + [False] * 197
    assert {resident.lie for resident in residents} == {None, *LIES}
    assert sum(resident.lie is not None for resident in residents) == 20
    fetchers = [resident for resident in residents if resident.fetches]
    going = [resident for resident in fetchers if resident.stays[0][1] < float("inf")]
    assert 50 < len(going) < 130
    assert 20 < sum(resident.is_to_finish for resident in going) < len(going) - 20
    assert 50 < sum(resident.limit_up is not None for resident in fetchers) < 130


def test_nobody_has_more_than_its_line_takes() -> None:
    steady = Resident(0, up=10.0, down=100.0, latency=0.0, stays=((2.0, float("inf")),))
    assert steady.soonest(1000) == 12.0
    limited = Resident(0, up=10.0, down=100.0, latency=0.0, limit_down=50.0, stays=((2.0, float("inf")),))
    assert limited.soonest(1000) == 22.0
    comes_back = Resident(0, up=10.0, down=100.0, latency=0.0, stays=((2.0, 6.0), (10.0, float("inf"))))
    assert comes_back.soonest(1000) == 16.0
    assert comes_back.soonest(300) == 5.0
    assert Resident(0, up=10.0, down=100.0, latency=0.0, stays=((2.0, 6.0),)).soonest(1000) == float("inf")


def test_the_bound_is_that_of_the_narrowest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down = Plan(1, 4, size=100 * MIB, seeds=3, liars=0.0, leaving=0.0, limited=0.0)
    assert slow_down.fluid_bound() == slow_down.residents()[3].soonest(slow_down.size)
    monkeypatch.setattr(plan, "LINES", ((1, 1e6, 1e12, 0.0, 0.0),))
    one_seed = Plan(1, 2, size=100 * MIB, seeds=1, liars=0.0, leaving=0.0, limited=0.0)
    assert one_seed.fluid_bound() == one_seed.size / one_seed.residents()[0].up
    slow_up = Plan(1, 300, size=100 * MIB, seeds=1, liars=0.0, leaving=0.0, limited=0.0)
    uploads = sum(resident.up for resident in slow_up.residents())
    assert slow_up.fluid_bound() == pytest.approx(299 * slow_up.size / uploads)
