"""One error out of a nursery's group."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from osp2p.errors import ConnectionLost, LocalProtocolError, Stalled
from osp2p.net.groups import leaves, one_error


def test_leaves_of_groups_of_groups() -> None:
    one, two, three = ValueError(), KeyError(), OSError()
    assert list(leaves(ExceptionGroup("", [one, ExceptionGroup("", [two, three])]))) == [one, two, three]
    assert list(leaves(one)) == [one]


def test_one_error_of_ours_comes_out_with_its_cause() -> None:
    cause = OSError("reset")
    error = ConnectionLost("x")
    error.__cause__ = cause
    with pytest.raises(ConnectionLost) as caught, one_error():
        raise ExceptionGroup("", [ExceptionGroup("", [error])])
    assert caught.value is error
    assert caught.value.__cause__ is cause


def test_the_first_of_several_of_ours_stands_for_all() -> None:
    with pytest.raises(Stalled), one_error():
        raise ExceptionGroup("", [Stalled("x"), ConnectionLost("y")])


def test_a_fault_is_not_hidden_by_an_accident() -> None:
    with pytest.raises(LocalProtocolError), one_error():
        raise ExceptionGroup("", [ConnectionLost("y"), LocalProtocolError("x")])


def test_a_single_foreign_error_comes_out() -> None:
    with pytest.raises(ZeroDivisionError), one_error():
        raise ExceptionGroup("", [ZeroDivisionError()])


def test_a_group_with_a_foreign_error_among_others_stays_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught, one_error():
        raise ExceptionGroup("", [ConnectionLost("x"), ZeroDivisionError()])
    assert [type(leaf) for leaf in leaves(caught.value)] == [ConnectionLost, ZeroDivisionError]


def test_an_error_without_a_group_passes() -> None:
    with pytest.raises(ConnectionLost), one_error():
        raise ConnectionLost("x")


async def test_cancellation_alone_passes(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as scope, one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_an_error_at_the_moment_of_cancellation_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ConnectionLost("x")

    with pytest.raises(ConnectionLost), trio.move_on_after(1), one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail_when_cancelled)
