"""The boundary where foreign errors become ours."""

from __future__ import annotations

import errno
import math
import os
import socket

import pytest
import trio
import trio.testing

from osp2p.errors import (
    ConnectFailed,
    ConnectionLost,
    DiskFull,
    LocalProtocolError,
    NetworkError,
    Osp2pError,
    RemoteProtocolError,
    StoreError,
    TimedOut,
)
from osp2p.net.errors import (
    DISK_FULL,
    FOREIGN_ERRORS,
    TRIO_ERRORS,
    deadline,
    describe,
    disk_errors,
    network_error,
    network_errors,
)

#: trio's exceptions that no call of a connection raises, and why. One that is in neither table fails the test below.
NOT_OF_A_CONNECTION = {
    trio.Cancelled: "is never mapped: it belongs to its scope",
    trio.EndOfChannel: "of memory channels",
    trio.NeedHandshakeError: "of TLS",
    trio.RunFinishedError: "of calls from threads",
    trio.TrioDeprecationWarning: "a warning",
    trio.TrioInternalError: "a fault of trio itself",
    trio.WouldBlock: "of calls that end in _nowait",
}


def test_every_exception_of_trio_is_in_a_table() -> None:
    exported = {value for value in vars(trio).values() if isinstance(value, type) and issubclass(value, BaseException)}
    assert exported == TRIO_ERRORS.keys() | NOT_OF_A_CONNECTION.keys()
    assert not TRIO_ERRORS.keys() & NOT_OF_A_CONNECTION.keys()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (trio.BrokenResourceError, ConnectionLost),
        (trio.ClosedResourceError, ConnectionLost),
        (trio.BusyResourceError, LocalProtocolError),
        (trio.TooSlowError, TimedOut),
        (ConnectionResetError, ConnectionLost),
        (BrokenPipeError, ConnectionLost),
        (TimeoutError, ConnectionLost),
    ],
)
def test_what_each_becomes(theirs: type[Exception], ours: type[Osp2pError]) -> None:
    foreign = theirs()
    with pytest.raises(ours) as caught, network_errors("peer 1.2.3.4:5"):
        raise foreign
    assert type(caught.value) is ours
    assert caught.value.__cause__ is foreign
    assert str(caught.value).startswith("peer 1.2.3.4:5: ")
    assert not str(caught.value).endswith(": ")


def test_each_row_maps_a_subclass_too() -> None:
    for theirs, (ours, _) in TRIO_ERRORS.items():
        subclass = type("Sub", (theirs,), {})
        assert type(network_error(subclass(), "x")) is ours
    assert type(network_error(OSError(), "x")) is ConnectionLost
    assert set(FOREIGN_ERRORS) == {OSError, *TRIO_ERRORS}


def test_before_there_is_a_connection_an_oserror_means_that_there_is_none() -> None:
    with (
        pytest.raises(ConnectFailed, match=r"^tracker: connection refused$"),
        network_errors("tracker", connecting=True),
    ):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "whatever")


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("x")])
def test_other_errors_are_faults_and_pass(error: Exception) -> None:
    for boundary in (network_errors("x"), disk_errors("x")):
        with pytest.raises(type(error)) as caught, boundary:
            raise error
        assert caught.value is error


def test_our_own_errors_pass() -> None:
    error = RemoteProtocolError("x")
    for boundary in (network_errors("x"), disk_errors("x")):
        with pytest.raises(RemoteProtocolError) as caught, boundary:
            raise error
        assert caught.value is error


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_of_the_system_is_described_by_its_sentence(number: int) -> None:
    assert describe(OSError(number, "written by somebody: ('1.2.3.4', 5)")) == os.strerror(number).lower()


def test_errors_without_a_number_are_described_by_their_text() -> None:
    assert describe(OSError("No results found")) == "no results found"
    assert describe(OSError()) == "unknown error"
    assert describe(socket.gaierror(socket.EAI_NONAME, "Name not known")) == "name not known"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOENT, errno.EACCES])
def test_disk_errors(number: int) -> None:
    foreign = OSError(number, "x", "/some/file")
    with pytest.raises(StoreError) as caught, disk_errors("the target"):
        raise foreign
    assert (type(caught.value) is DiskFull) == (number in DISK_FULL)
    assert str(caught.value) == f"the target: {os.strerror(number).lower()}"
    assert caught.value.__cause__ is foreign


def test_disk_full_is_what_no_space_and_no_quota_mean() -> None:
    assert {errno.ENOSPC, errno.EDQUOT} <= DISK_FULL


async def test_a_deadline_that_passes_is_timed_out(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(TimedOut, match="the greeting"), deadline(trio.current_time() + 5, "the greeting"):
        await trio.sleep_forever()
    assert trio.current_time() == 5


async def test_a_deadline_that_does_not_pass_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    with deadline(trio.current_time() + 5, "x") as scope:
        await trio.sleep(4)
    assert not scope.cancelled_caught
    with deadline(math.inf, "x"):
        await trio.sleep(1000)


async def test_a_body_that_never_waits_is_never_late(autojump_clock: trio.testing.MockClock) -> None:
    with deadline(trio.current_time() - 1, "x"):
        done = True
    assert done


async def test_a_deadline_in_the_past_ends_the_first_wait() -> None:
    with pytest.raises(TimedOut), deadline(trio.current_time() - 1, "x"):
        await trio.lowlevel.checkpoint()


async def test_an_error_of_the_body_passes_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ConnectionLost), deadline(trio.current_time() + 5, "x"):
        raise ConnectionLost("x")


async def test_cancellation_from_outside_is_not_timed_out(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as outer, deadline(trio.current_time() + 5, "x"):
        await trio.sleep_forever()
    assert outer.cancelled_caught
    assert trio.current_time() == 1


async def test_of_two_deadlines_the_one_that_passes_counts(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(TimedOut, match="outer"), deadline(1, "outer"), deadline(5, "inner"):
        await trio.sleep_forever()
    with pytest.raises(TimedOut, match="inner"), deadline(9, "outer"), deadline(5, "inner"):
        await trio.sleep_forever()


async def test_cancelled_at_the_moment_of_the_deadline_the_outer_scope_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both are due: whoever is outside must see its own cancellation and no error."""
    with trio.move_on_after(5) as outer, deadline(trio.current_time() + 5, "x"):
        await trio.sleep_forever()
    assert outer.cancelled_caught


async def test_the_boundary_lets_cancellation_through(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as scope, network_errors("x"), disk_errors("x"):
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_deadline_inside_the_boundary_stays_timed_out(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(NetworkError) as caught, network_errors("x"), deadline(1, "x"):
        await trio.sleep_forever()
    assert type(caught.value) is TimedOut
