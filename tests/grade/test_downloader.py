"""Downloaders in worlds: judged by what is on the disk, which the careful fill rightly and the careless do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from osp2p.errors import CommandFailed, NothingAsked
from osp2p.grade.downloader import DownloaderTerms, downloader_checks, grade_downloader
from osp2p.grade.leavings import Sandbox
from osp2p.grade.verdict import Judged, Selection, Wrong
from tests.grade.samples import get

WORLDS = ("protocol/several", "attack/wrong", "robustness/escapes", "robustness/never-closes", "robustness/only-liars")


async def grade(command: tuple[str, ...], *only: str, within: float = 20.0, **terms: bool) -> dict[str, Judged]:
    found = await grade_downloader(
        DownloaderTerms(command=command, selection=Selection(only), within=within, **terms), lambda judged: None
    )
    return {one.check.id: one for one in found.judged}


async def test_the_sound_one_passes() -> None:
    found = await grade(get("sound"), *WORLDS, "*/chunks")
    assert {id: one.reason for id, one in found.items() if one.outcome != "passed"} == {
        "osp2p2/chunks": "it does not speak OSP2P/2"
    }
    assert found["osp2p2/chunks"].outcome == "not offered"
    assert found["protocol/several"].figures["exit code"] == "0"


async def test_the_naive_one_fails_for_the_right_reasons() -> None:
    found = await grade(get("naive"), *WORLDS, within=3.0)
    assert found["protocol/several"].outcome == "passed"
    assert "what comes differs from 'cat.jpg'" in found["attack/wrong"].reason
    assert "outside its directory: 'a/escaped.txt'" in found["robustness/escapes"].reason
    assert found["robustness/never-closes"].reason == "it has not ended after 3 s"
    assert found["robustness/only-liars"].outcome == "failed"
    assert any(b"GET cat.jpg OSP2P" in entry.data for entry in found["attack/wrong"].evidence)


#: Programs that do nothing that a downloader should, each with what is said of it.
ODD = {
    "pass": "'cat.jpg' is not there",
    "import os; os.kill(os.getpid(), 11)": "it was ended by signal 11",
    "import time; time.sleep(60)": "it has not ended after 1 s",
    "x = bytearray(400_000_000); import time; time.sleep(5)": "it takes more than 256 MiB of memory",
    "open(sys.argv[2] + '/../../x', 'w')": "it has written a file outside its directory: 'a/x'",
    "open(sys.argv[2] + '/cat.jpg', 'w')": "of 'cat.jpg', under whose name it is kept, only 0 of 300000 bytes come",
}


@pytest.mark.parametrize(("program", "reason"), ODD.items())
async def test_odd_programs(program: str, reason: str) -> None:
    command = (sys.executable, "-c", f"import sys; {program}", "{tracker}", "{dir}")
    found = await grade(command, "protocol/one-file", within=1.0)
    assert found["protocol/one-file"].reason == reason


async def test_words_are_filled_in(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"import sys; open({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))"
    await grade((sys.executable, "-c", program, "{host}:{port}={tracker}", "{dir}", "{files}"), "protocol/several")
    await grade((sys.executable, "-c", program, "-n{file}"), "protocol/several")
    together, *single = log.read_text().splitlines()
    address, directory, *files = together.split()
    assert address.partition("=")[0] == address.partition("=")[2]
    assert Path(directory).is_absolute()
    assert files == ["notes.txt", "cat.jpg", "film.bin"]
    assert single == ["-nnotes.txt", "-ncat.jpg", "-nfilm.bin"]


async def test_one_that_serves_on_is_ended_when_it_has_its_files() -> None:
    source = "import runpy, sys, time; sys.argv[0:1] = []; "
    sample = get("sound")
    loop = f"{source}\ntry: runpy.run_path({sample[1]!r}, run_name='__main__')\nexcept SystemExit: time.sleep(60)"
    command = (sys.executable, "-c", loop, *sample[1:])
    found = await grade(command, "protocol/one-file", keeps_running=True)
    assert found["protocol/one-file"].outcome == "passed", found["protocol/one-file"].reason
    assert found["protocol/one-file"].seconds < 10


async def test_what_keeps_a_grade_from_beginning() -> None:
    with pytest.raises(NothingAsked):
        await grade(("true",), "protocol/sing")
    with pytest.raises(CommandFailed, match="cannot run /no/such: no such file or directory"):
        await grade(("/no/such",), "protocol/one-file")


def test_a_sandbox_sees_what_is_wrong(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "s")
    contents = {b"a": b"abc", b"b": b""}
    with pytest.raises(Wrong, match="'a' is not there"):
        sandbox.check(contents, {b"a": True, b"b": True})
    sandbox.check(contents, {b"a": None, b"b": False})
    (sandbox.directory / "a").write_bytes(b"abX")
    with pytest.raises(Wrong, match="differs from 'a', under whose name it is kept, at byte 2"):
        sandbox.check(contents, {b"a": None, b"b": False})
    (sandbox.directory / "a").write_bytes(b"abc")
    (sandbox.directory / "b").write_bytes(b"")
    sandbox.check(contents, {b"a": True, b"b": True})
    assert sandbox.has(contents)
    with pytest.raises(Wrong, match="'b' is there, though nobody has sent it"):
        sandbox.check(contents, {b"a": True, b"b": False})
    (sandbox.outside / "x").symlink_to("/")
    with pytest.raises(Wrong, match="outside its directory: 'outside/x'"):
        sandbox.check(contents, {b"a": True, b"b": True})


@pytest.mark.parametrize("thorough", [False, True])
def test_the_catalogue(thorough: bool) -> None:
    checks = downloader_checks(thorough=thorough)
    assert len({check.id for check in checks}) == len(checks) > (100 if thorough else 40)
    assert all(check.title.endswith(".") for check in checks)
    assert {check.category for check in checks} == {"protocol", "robustness", "speed", "OSP2P/2"}
