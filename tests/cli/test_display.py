"""What is seen of a fetch."""

from __future__ import annotations

import io
import json
from pathlib import Path

import trio
import trio.testing

from osp2p.cli.console import Console
from osp2p.cli.display import Display
from osp2p.content.name import journal_name, partial_name
from osp2p.errors import Stalled, TargetLocked
from osp2p.peer.events import Event, Source, TransferDone, TransferFailed, TransferProgress, TransferStarted
from osp2p.wire.address import Address

ALICE = Source(b"alice", Address("192.0.2.7", 5), 600)
BOB = Source(b"b\x1bob", Address("192.0.2.8", 5), 0, "connection refused")
STARTED = TransferStarted(b"cat.jpg", 600, 2)
DONE = TransferDone(b"cat.jpg", Path("cat.jpg"), 600, 600, 0, "b3", 1.0, sources=(ALICE, BOB))


def seen(
    *events: Event, target: Path = Path("cat.jpg"), verbose: bool = False, quiet: bool = False, as_json: bool = False
) -> tuple[str, str]:
    """What is written to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    console = Console("osp2p get", out, err)
    console.begin(json=as_json, quiet=quiet)

    async def show() -> None:
        display = Display(console, 1, {b"cat.jpg": target}, verbose=verbose, data_is_files=False)
        for event in events:
            display.show(event)
        display.close()

    trio.run(show)
    return out.getvalue(), err.getvalue()


def test_a_file_that_arrives_is_one_line() -> None:
    assert seen(STARTED, DONE) == ("cat.jpg -> cat.jpg: 600 B from 1 source at 600 B/s, verified by B3\n", "")


def test_those_who_ask_for_more_see_holders_and_sources() -> None:
    _, err = seen(STARTED, DONE, verbose=True)
    assert err.splitlines() == [
        "cat.jpg: 2 holders, 600 B",
        "cat.jpg: 600 B from alice at 192.0.2.7:5",
        r"cat.jpg: 0 B from b\x1bob at 192.0.2.8:5, which was left: connection refused",
    ]


def test_quiet_is_quiet_until_something_goes_wrong() -> None:
    assert seen(STARTED, DONE, quiet=True) == ("", "")
    assert seen(TransferFailed(b"cat.jpg", Stalled("too slow")), quiet=True) == ("", "cat.jpg: too slow\n")


def test_what_is_kept_of_a_failed_file_is_said(tmp_path: Path) -> None:
    target = tmp_path / "cat.jpg"
    failed = TransferFailed(b"cat.jpg", Stalled("too slow"))
    partial = tmp_path / partial_name(b"cat.jpg").decode()
    partial.write_bytes(b"x")
    assert seen(failed, target=target)[1] == "cat.jpg: too slow\n"
    (tmp_path / journal_name(b"cat.jpg").decode()).write_bytes(b"x")
    _, err = seen(failed, target=target)
    assert err == f"cat.jpg: too slow; what has arrived is kept in {partial}: the same command goes on\n"
    record = json.loads(seen(failed, target=target, as_json=True)[0])
    assert (record["event"], record["kept"]) == ("failed", str(partial))
    locked = TransferFailed(b"cat.jpg", TargetLocked("another fetch is writing this file"))
    assert seen(locked, target=target)[1] == "cat.jpg: another fetch is writing this file\n"


def test_a_pipe_is_told_where_nothing_comes_ever_more_seldom() -> None:
    err = io.StringIO()
    console = Console("osp2p get", io.StringIO(), err)
    console.begin(json=False, quiet=False)

    async def fetch() -> None:
        display = Display(console, 1, {}, verbose=False, data_is_files=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(display.watch)
            display.show(STARTED)
            display.show(TransferProgress(b"cat.jpg", 300, 600, 1))
            await trio.sleep(45)
            display.show(TransferProgress(b"cat.jpg", 400, 600, 1))
            for _ in range(20):
                await trio.sleep(4)
                display.show(TransferProgress(b"cat.jpg", 400, 600, 1))
            err.write("silence\n")
            await trio.sleep(7)
            nursery.cancel_scope.cancel()

    trio.run(fetch, clock=trio.testing.MockClock(autojump_threshold=0))
    lines = [line.partition("; ")[2] for line in err.getvalue().splitlines() if "; " in line or line == "silence"]
    assert lines == [*(f"nothing for {seconds} s, still trying" for seconds in (5, 10, 20, 40)), "", lines[0]]
