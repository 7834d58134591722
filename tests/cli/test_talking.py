"""``talk`` and ``replay`` as processes: from a pipe, at a terminal, and what a transcript of theirs is good for."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path
from select import select

import trio

from osp2p.grade.transcript import parse_transcript
from tests.cli.processes import OSP2P, PATIENCE, World
from tests.standins.old_peer import Habits, open_old_peer
from tests.tracker.talk import running_tracker


async def talk(said: bytes, *words: str) -> tuple[int, str]:
    """Talk from a pipe. Returns: the exit code, and what was printed."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process([*OSP2P, "talk", *words], stdin=said, capture_stdout=True, check=False)
    return done.returncode, done.stdout.decode()


async def test_from_a_pipe_with_a_transcript_that_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    said = b"\nADDR me 127.0.0.1:4001\nHAVE a%20b\nWANT a%20b\nquit"
    async with running_tracker() as addresses:
        port = str(addresses[0].port)
        code, text = await talk(said, port, "--transcript", str(path))
        assert (code, text.splitlines()) == (0, [
            "200-This is an OSP2P tracker.",
            "200 HELP lists the commands",
            "> ",
            "> ADDR me 127.0.0.1:4001",
            "200 you are registered at 127.0.0.1:4001",
            "> HAVE a%20b",
            "200 registered",
            "> WANT a%20b",
            "PEER me 127.0.0.1:4001",
            "200 1 of 1 holders",
            "> quit",
            "200 goodbye",
            "(the connection closes)",
        ])  # fmt: skip
        kinds = [entry.kind for entry in parse_transcript(path.read_text().splitlines())]
        assert [kind for kind in kinds if kind != ">!"][-3:] == [
            "<",
            "<!",
            "close",
        ]  # who ends first is a matter of time
        same = await trio.run_process([*OSP2P, "replay", str(path), port], capture_stdout=True, check=False)
        assert (same.returncode, same.stdout) == (0, b"no difference in 6 answers on 1 connection\n")
        path.write_text(path.read_text().replace("PEER me", "PEER you"))
        other = await trio.run_process([*OSP2P, "replay", str(path), port], capture_stdout=True, check=False)
    assert other.returncode == 10
    assert other.stdout.decode().splitlines() == [
        "connection 1, answer 4, to: WANT a%20b",
        "  was: 200 1 of 1 holders, with PEER you ADDRESS".replace("ADDRESS", "127.0.0.1:4001"),
        "  is:  200 1 of 1 holders, with PEER me 127.0.0.1:4001",
    ]


async def test_bodies_are_shown_where_they_are_text_and_counted_where_not() -> None:
    async with open_old_peer({b"a.txt": b"one\ntwo\n", b"b": b"\x1b[31m" * 9}, Habits()) as peer:
        shown: dict[str, str] = {}

        async def ask(name: str, option: str) -> None:
            shown[name + option] = (await talk(f"GET {name} OSP2P\n".encode(), str(peer.port), option))[1]

        async with trio.open_nursery() as nursery:
            for name, option in (("a.txt", "--explain"), ("b", "--explain"), ("c", "--explain"), ("b", "--json")):
                nursery.start_soon(ask, name, option)
    records = shown.pop("b--json")
    assert shown["a.txt--explain"].splitlines()[1:3] == ["one", "two"]
    assert all("(the connection closes)" in text and "\x1b" not in text for text in shown.values())
    assert "(45 bytes, SHA-256 " in shown["b--explain"]
    assert "    an empty file and a refusal look the same" in shown["c--explain"]
    assert [json.loads(line)["event"] for line in records.splitlines()] == ["line", "body", "end"]


async def test_nobody_there() -> None:
    assert (await talk(b"", "127.0.0.1:1"))[0] == 4


class Terminal:
    """A talk at a terminal of its own."""

    def __init__(self, port: int, cache: Path) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {"XDG_CACHE_HOME": str(cache), "TERM": "xterm"}
        command = [*OSP2P, "talk", str(port)]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.shown = ""
        self._seen = 0

    def type(self, text: str, until: str) -> None:
        """Type, and wait until something is shown, behind what was waited for before."""
        os.write(self._master, text.encode())
        begun = time.monotonic()
        while (found := self.shown.find(until, self._seen)) < 0:
            assert time.monotonic() - begun < PATIENCE, self.shown
            if select([self._master], [], [], 0.1)[0]:
                self.shown += os.read(self._master, 4096).decode()
        self._seen = found + len(until)

    def end(self) -> int:
        """End it, as a person does. Returns: its exit code."""
        os.write(self._master, b"\x15\x04")
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


async def test_at_a_terminal(tmp_path: Path) -> None:
    async with running_tracker() as addresses:
        terminal = Terminal(addresses[0].port, tmp_path)

        def line(text: str, until: str) -> None:
            """Type a line, and wait for the next prompt: what is typed before it is not read by the editor of lines."""
            terminal.type(text, until)
            terminal.type("", "\n> ")

        def work() -> None:
            terminal.type("", "\n> ")
            line("ADDR me 127.0.0.1:4001\n", "\n200 ")
            line("HAVE unusual%20name\n", "\n200 ")
            line("LIST\n", "\n200 ")
            terminal.type("wan\tunu\t\n", "WANT unusual%20name")
            line("", "PEER me")
            line("\x1b[A\x1b[A\n", "FILE unusual%20name")
            line("BLOCKNOTIFY\n", "BLOCKNOTIFY")
            terminal.type("half a li", "half a li")

        try:
            await trio.to_thread.run_sync(work)
            async with await trio.open_tcp_stream("127.0.0.1", addresses[0].port) as stream:
                await stream.send_all(b"ADDR other 127.0.0.1:4002\n")
                await trio.to_thread.run_sync(terminal.type, "", "PEER other")
                await trio.to_thread.run_sync(terminal.type, "", "half a li")  # still there, below what came
            assert await trio.to_thread.run_sync(terminal.end) == 0
        finally:
            terminal.close()
    assert "HAVE unusual%20name" in (tmp_path / "osp2p" / "talk-history").read_text()


async def test_everybody_writes_transcripts(tmp_path: Path) -> None:
    world = World(tmp_path)
    directory = world.files("photos", cat_jpg=b"meow")
    async with world.tracker("--transcript", "tracker.txt"), world.sharer(directory, "--transcript", "share.txt"):
        result = await world.run("get", "cat.jpg", "-o", "here.jpg", "--transcript", "get.txt")
    assert result.code == 0, result.err
    said = {}
    for name in ("tracker", "share", "get"):
        entries = parse_transcript((tmp_path / f"{name}.txt").read_text().splitlines())
        said[name] = [(entry.kind, entry.data.split(b" ")[0]) for entry in entries]
    assert (">", b"HAVE") in said["share"]
    assert ("<", b"HAVE") in said["tracker"]
    assert (">", b"GET") in said["get"]
    assert ("<", b"GET") in said["share"]
    assert any(kind == "<=" for kind, _ in said["get"])
    refused = await world.run("share", "photos", "--transcript", "no/such/place")
    assert (refused.code, b"cannot write the transcript no/such/place" in refused.err) == (8, True)
