"""Fetches that are killed: ten times here, two hundred times in the long run; and that the run sees what is wrong."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from osp2p.content.journal import JournalHeader, JournalWriter, read_boot_id
from osp2p.content.name import journal_name, partial_name
from osp2p.lab import crashes
from osp2p.lab.crashes import CHUNKED, CrashRun, run_crashes
from osp2p.lab.files import Pool
from osp2p.wire.address import Address


async def test_ten_kills_leave_nothing_wrong_and_nothing_is_fetched_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes, "_STARTUP_SECONDS", 0.5)
    monkeypatch.setattr(crashes, "_FETCH_SECONDS", 0.35)
    with trio.fail_after(120):
        result = await run_crashes(10, 7, tmp_path, lambda line: None)
    assert result.faults == []
    assert result.kills == 10
    assert result.rounds >= 1
    assert result.resumed > 0  # else it has shown nothing
    assert result.sent >= result.size > 0


class Scene:
    """What a killed fetch may have left, and a run that looks at it."""

    def __init__(self, directory: Path) -> None:
        self.pool = Pool(directory / "pool", 1)
        self.run = CrashRun(self.pool, directory, Address("127.0.0.1", 1), Random(1), lambda line: None)
        self.run.hash_files()
        self.target = directory / "target"
        self.target.mkdir()
        self.file = CHUNKED[0]
        self.content = self.pool.read(self.file)

    def leave_partial(self, content: bytes, proved: list[int]) -> None:
        part = self.target / partial_name(self.file.raw).decode()
        part.write_bytes(content)
        header = JournalHeader(self.file.size, bytes(32), read_boot_id(), part.stat().st_ino)
        journal = JournalWriter.begin(self.target / journal_name(self.file.raw).decode(), header)
        journal.add_proved(proved)
        journal.close()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_right_chunks_of_a_partial_file_are_no_fault(scene: Scene) -> None:
    scene.leave_partial(scene.content[: 3 * 262144], [0, 2])
    left = scene.run.look(scene.target, finished=False)
    assert left.proved == {(scene.file.raw, 0), (scene.file.raw, 2)}
    assert left.partial == {scene.file.raw: 2 * 262144}
    assert scene.run.result.faults == []


def test_a_journal_that_says_too_much_is_a_fault(scene: Scene) -> None:
    scene.leave_partial(scene.content[:262144] + bytes(262144), [0, 1])
    scene.run.look(scene.target, finished=False)
    assert len(scene.run.result.faults) == 1
    assert "chunk 1" in scene.run.result.faults[0]


@pytest.mark.parametrize("content", [b"", b"x", None])
def test_wrong_bytes_under_a_final_name_are_a_fault(scene: Scene, content: bytes | None) -> None:
    wrong = scene.content[:-1] + b"!" if content is None else content
    (scene.target / scene.file.path).write_bytes(wrong)
    scene.run.look(scene.target, finished=False)
    assert len(scene.run.result.faults) == 1


@pytest.mark.parametrize(("name", "finished"), [("what.txt", False), (".large.bin.osp2p-part", True)])
def test_what_nobody_asked_for_is_a_fault(scene: Scene, name: str, finished: bool) -> None:
    (scene.target / name).write_bytes(b"x")
    scene.run.look(scene.target, finished=finished)
    assert len(scene.run.result.faults) == 1


def test_a_proved_chunk_that_is_sent_again_is_a_fault(scene: Scene) -> None:
    scene.leave_partial(scene.content[:262144], [0])
    left = scene.run.look(scene.target, finished=False)
    scene.run.ledger.begin_life()
    scene.run.ledger.note(1, (scene.file.raw, 1))
    scene.run.check_not_again(left)
    assert scene.run.result.faults == []
    scene.run.ledger.note(1, (scene.file.raw, 0))
    scene.run.check_not_again(left)
    assert len(scene.run.result.faults) == 1
