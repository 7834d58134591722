"""``grade``: what it prints, what it writes, what it ends with."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.grade_parsers import grade_parser
from osp2p.cli.grading import Display, grade
from osp2p.errors import NotAllowed, SourceRefused, StoreError
from osp2p.grade.verdict import Check, Judged
from tests.grade.samples import CAT, get, share
from tests.ports import free_ports
from tests.standins.old_peer import Habits, open_old_peer
from tests.tracker.talk import running_tracker


async def run(*words: str, json_lines: bool = False) -> tuple[int, str]:
    """Returns: the exit code, and what was printed."""
    out = io.StringIO()
    console = Console("osp2p grade", out, io.StringIO())
    console.begin(json=json_lines)
    return await grade(grade_parser().read(words), console), out.getvalue()


async def test_a_tracker_that_passes() -> None:
    async with running_tracker() as addresses:
        code, text = await run("tracker", str(addresses[0].port), "--only", "*/quit", "--only", "osp2p2/hello")
    assert code == DONE
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["ok", "protocol/quit"]
    assert lines[2:] == [
        "", "protocol      1 of 1    100 %", "OSP2P/2       1 of 1    100 %", "", lines[-1],
    ]  # fmt: skip
    assert lines[-1].startswith(f"tracker 127.0.0.1:{addresses[0].port}: all that was asked passed, in ")


async def test_a_peer_that_does_not(tmp_path: Path) -> None:
    junit, page = tmp_path / "r.xml", tmp_path / "r.html"
    port = free_ports(1)[0]
    what = ["peer", str(port), "--file", "cat.jpg", "--only", "protocol/*", "--skip", "*/packets"]
    reports = ["--junit", str(junit), "--html", str(page)]
    code, text = await run(*what, *reports, "--", *share("naive", port, tmp_path / "files"))
    assert code == NOT_PASSED
    assert "FAILED   protocol/odd-requests              0.0" in text
    assert "         it sends '500 what?" in text
    assert "packets" not in text
    assert text.splitlines()[-1].startswith(f"peer 127.0.0.1:{port}: 1 check did not pass, in ")
    root = ElementTree.parse(junit).getroot()
    assert root[0].get("failures") == "1"
    assert "CHECKUPLOAD cat3.jpg successful!" in page.read_text()


def test_what_has_gone_is_said_once() -> None:
    out = io.StringIO()
    display = Display(Console("osp2p grade", out, io.StringIO()))
    for number in range(3):
        display.show(Judged(Check(f"a/{number}", "protocol", "."), "not run", "the program is gone"))
    assert out.getvalue() == "NOT RUN  the other checks: the program is gone\n"


async def test_a_peer_without_the_file(tmp_path: Path) -> None:
    (tmp_path / "cat").write_bytes(CAT)
    async with open_old_peer({b"cat.jpg": CAT}, Habits(sends="empty")) as peer:
        with pytest.raises(SourceRefused, match="only 0 of 200000 bytes come"):
            await run("peer", str(peer.port), "--file", "cat.jpg", "--content", str(tmp_path / "cat"))


async def test_records() -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits()) as peer:
        words = (
            "peer",
            f"127.0.0.1:{peer.port}",
            "--file",
            "cat.jpg",
            "--only",
            "*/get",
            "--only",
            "*/stat",
            "--seed",
            "5",
        )
        code, text = await run(*words, json_lines=True)
        failing, more = await run(*words[:-2], "--forbidden", "x", "--only", "osp2p2/stat", json_lines=True)
    assert (code, failing) == (DONE, NOT_PASSED)
    first, second, end = map(json.loads, text.splitlines())
    assert (first["event"], first["id"], first["outcome"]) == ("check", "protocol/get", "passed")
    assert "evidence" not in first
    assert second["outcome"] == "not offered"
    assert end == {
        "event": "grade", "kind": "peer", "target": f"127.0.0.1:{peer.port}", "seed": 5, "seconds": end["seconds"],
        "passed": True, "scores": [
            {"category": "protocol", "passed": 1, "asked": 1, "percent": 100},
            {"category": "OSP2P/2", "passed": 0, "asked": 0, "percent": None},
        ],
    }  # fmt: skip
    assert json.loads(more.splitlines()[1])["evidence"] == []


async def test_a_program_that_is_started_here(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    words = ["peer", str(port), "--file", "cat.jpg", "--only", "*/get", "--only", "*/memory", "--"]
    code, text = await run(*words, *share("sound", port, tmp_path))
    assert code == DONE
    assert "ok       robustness/memory" in text


async def test_a_downloader() -> None:
    code, text = await run("downloader", "--only", "protocol/one-file", "--patience", "20s", "--", *get("sound"))
    assert (code, "100 %" in text) == (DONE, True)


async def test_the_list_of_checks() -> None:
    for kind in ("tracker", "peer", "downloader"):
        code, text = await run(kind, "--list", "--only", "protocol/*")
        assert code == DONE
        assert len(text.splitlines()) >= 6
        assert all(line.startswith("protocol/") for line in text.splitlines())
    _, text = await run("tracker", "--list", json_lines=True)
    assert {"id", "category", "title"} == set(json.loads(text.splitlines()[0]))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dog", "5000"], "there is no grade for 'dog': one of tracker, peer, downloader"),
        (["tracker"], "where is the tracker"),
        (["tracker", "a:b:c"], "a:b:c: "),
        (["peer", "5000"], "which file does the peer share"),
        (["downloader"], "a downloader is started here"),
        (["downloader", "5000", "--", "true"], "a downloader is started here"),
        (["tracker", "5000", "--network-i-own", "1.2.3.4/8"], "--network-i-own 1.2.3.4/8: "),
    ],
)
async def test_mistakes(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        await run(*words)
    assert str(caught.value).startswith(text)


async def test_what_cannot_be_written_or_attacked_is_said_first(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        await run("tracker", "1", "--html", str(tmp_path))
    with pytest.raises(NotAllowed):
        await run("tracker", "192.0.2.1:5000")
