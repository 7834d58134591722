"""Programs as processes: what they say, how they end, and that none is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from osp2p.lab.process import ProgramEnded, kill_all, start_program, start_tracker
from osp2p.net import TcpNetwork

PATIENCE = 30.0


async def test_a_tracker_that_was_started_answers_where_it_says(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        tracker, address = await start_tracker("tracker", tmp_path)
        connection = await TcpNetwork().connect(address.host, address.port)
        assert (await connection.receive(100)).startswith(b"200")
        connection.close()
        assert await tracker.leave() == 0
        again, same = await start_tracker("again", tmp_path, port=address.port)
        assert same == address
        await kill_all([again, tracker])
        assert not again.runs


async def test_a_tracker_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        tracker, address = await start_tracker("tracker", tmp_path)
        try:
            with pytest.raises(ProgramEnded, match="cannot listen"):
                await start_tracker("second", tmp_path, port=address.port)
        finally:
            await kill_all([tracker])


async def test_what_is_never_said_is_not_waited_for_behind_the_end(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        program = await start_program("x", ["md5", str(tmp_path / "nothing")], tmp_path)
        with pytest.raises(ProgramEnded, match="x has ended"):
            await program.wait_for("listening")


async def test_all_are_killed_even_when_all_is_cancelled(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        tracker, _ = await start_tracker("tracker", tmp_path)
        with trio.CancelScope() as scope:
            scope.cancel()
            await kill_all([tracker])
        assert not tracker.runs
