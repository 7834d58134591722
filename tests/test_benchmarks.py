"""Benchmarks: all of them are started the same way, from wherever one is."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py") if path.name != "side_by_side.py")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_is_a_script(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / name), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"benchmarks/{name}".encode() in done.stdout, "its help says how it is started"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_start_them_so(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"benchmarks/(\w+\.py)", text)) <= set(PROGRAMS)
    assert re.findall(r"-m benchmarks[./]\w+", text) == []


@pytest.mark.parametrize("server", ["bare", "ours"])
def test_servers_choose_their_port_and_tell_it(server: str, tmp_path: Path) -> None:
    """Nobody else can have taken it meanwhile."""
    command = [sys.executable, str(ROOT / "benchmarks" / "tracker_replies.py"), "--serve", server]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 20) as client:
                assert client.recv(3) == b"200"
        finally:
            process.kill()
