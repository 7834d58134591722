"""The example does what it says, as a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "share_and_fetch.py"


async def test_it_shares_and_fetches(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"hello\n")
    (source / "sub" / "large").write_bytes(bytes(3_000_000))
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, str(EXAMPLE), str(source), str(tmp_path / "target")],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
    assert done.stdout.decode().splitlines()[-1] == "2 of 2 files arrived"
    assert (tmp_path / "target" / "a.txt").read_bytes() == b"hello\n"
    assert (tmp_path / "target" / "sub" / "large").read_bytes() == bytes(3_000_000)
