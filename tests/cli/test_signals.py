"""Signals at every moment of a process's life, in real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Says "begun", does `body` in trio, says what it ends with.
PROGRAM = """
import sys, time
from osp2p.cli.signals import Ending
ending = Ending(7)
{before}
import trio
async def work():
    {body}
    return 3
code = ending.run(work)
print("end", flush=True)
{after}
sys.exit(code)
"""

BEGUN = 'print("begun", flush=True)'
FOREVER = f"{BEGUN}; await trio.sleep_forever()"
STUBBORN = f"""
    try:
        {BEGUN}
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            print("tidying", flush=True)
            await trio.sleep(60)
"""


@contextmanager
def running(before: str = "", body: str = "pass", after: str = "") -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(before=before, body=body, after=after)
    with subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("where", "last_line"),
    [
        ({"before": f"{BEGUN}; time.sleep(60)"}, ""),
        ({"body": FOREVER}, "end"),
        ({"body": f"{BEGUN}; await trio.sleep(0); time.sleep(1); await trio.sleep_forever()"}, "end"),
        ({"body": "pass", "after": "time.sleep(60)"}, ""),
    ],
    ids=["before trio", "waiting", "busy", "after trio"],
)
def test_one_signal_ends_it_with_its_code(number: signal.Signals, where: dict[str, str], last_line: str) -> None:
    with running(**where) as process:
        read_line(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out.strip(), err) == (7, last_line, "")


def test_a_second_signal_does_not_wait_for_the_tidying() -> None:
    with running(body=STUBBORN) as process:
        assert read_line(process) == "begun"
        process.send_signal(signal.SIGINT)
        assert read_line(process) == "tidying"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (7, "", "")


def test_without_a_signal_the_work_decides() -> None:
    with running(body=BEGUN) as process:
        assert process.communicate(timeout=20) == ("begun\nend\n", "")
        assert process.returncode == 3


def test_last_words_are_said_after_the_tidying_and_only_then() -> None:
    words = 'ending.last_words = lambda: print("last words", flush=True)'
    tidy = f"""
    try:
        {FOREVER}
    finally:
        print("tidied", flush=True)
"""
    with running(before=words, body=tidy) as process:
        read_line(process)
        process.terminate()
        assert process.communicate(timeout=20)[0].split("\n")[:2] == ["tidied", "last words"]
    with running(before=words, body=BEGUN) as process:
        assert "last words" not in process.communicate(timeout=20)[0]


def test_the_work_may_change_what_a_signal_means() -> None:
    with running(body=f"ending.code = 5; {FOREVER}") as process:
        read_line(process)
        process.terminate()
        assert process.wait(20) == 5
