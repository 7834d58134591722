"""Where lines go, and what may be in them."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.console import Console, set_up_logging
from osp2p.errors import DiskFull, StoreError


def make_console() -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console("osp2p get", out, err), out, err


@given(st.text())
def test_a_call_writes_one_line_that_controls_nothing(text: str) -> None:
    console, out, err = make_console()
    console.say(text)
    console.note(text)
    console.complain(text)
    for written, lines in ((out.getvalue(), 1), (err.getvalue(), 2)):
        assert written.count("\n") == lines
        assert written.replace("\n", "").isprintable()


def test_data_and_remarks_go_apart() -> None:
    console, out, err = make_console()
    console.say("a", "b")
    console.records([{"event": "x"}])
    console.note("c")
    console.complain("d")
    assert out.getvalue() == 'a\nb\n{"event": "x"}\n'
    assert err.getvalue() == "c\nosp2p get: d\n"


class _Writes(io.StringIO):
    """A stream that remembers each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, text: str) -> int:
        self.calls.append(text)
        return super().write(text)


def test_lines_that_belong_together_are_written_together_and_in_order() -> None:
    out, err = _Writes(), _Writes()
    console = Console("osp2p get", out, err)
    with console.together():
        console.say("a", "b")
        with console.together():
            console.say("c")
        assert out.calls == []
        console.note("d")
        console.note("e")
        console.say("f")
    assert (out.calls, err.calls) == (["a\nb\nc\n", "f\n"], ["d\ne\n"])
    with pytest.raises(RuntimeError), console.together():
        console.say("g")
        raise RuntimeError
    console.say("h")
    assert out.calls[2:] == ["g\n", "h\n"]


def test_bars_step_aside_for_each_line() -> None:
    console, out, _ = make_console()
    moments: list[str] = []

    @contextmanager
    def aside() -> Iterator[None]:
        moments.append(out.getvalue())
        yield
        moments.append(out.getvalue())

    console.aside = aside
    console.say("a")
    assert moments == ["", "a\n"]


class _Failing(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def flush(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(28, "x"), DiskFull), (OSError(5, "x"), StoreError), (BrokenPipeError(), BrokenPipeError)],
)
def test_output_that_cannot_be_written(error: OSError, expected: type[Exception]) -> None:
    console = Console("x", _Failing(error), io.StringIO())
    with pytest.raises(expected) as caught:
        console.say("a")
    if expected is not BrokenPipeError:
        assert "cannot write to standard output" in str(caught.value)


def test_work_does_not_fail_for_want_of_words() -> None:
    console = Console("x", io.StringIO(), _Failing(OSError(28, "x")))
    console.note("a")
    console.fault("b")
    console.complain("c")
    reader_left = Console("x", io.StringIO(), _Failing(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        reader_left.note("a")


def test_quiet_leaves_data_and_what_went_wrong() -> None:
    console, out, err = make_console()
    console.begin(json=False, quiet=True)
    console.say("data")
    console.note("remark")
    console.fault("x: failed")
    console.complain("no tracker")
    assert (out.getvalue(), err.getvalue()) == ("data\n", "x: failed\nosp2p get: no tracker\n")


def test_raw_bytes_come_behind_what_was_said(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w", encoding="utf-8") as out:
        console = Console("x", out, io.StringIO())
        console.say("a")
        console.say_raw(b"\xff\0\n")
        console.say("b")
    assert (tmp_path / "out").read_bytes() == b"a\n\xff\0\nb\n"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("osp2p")
    before = (logger.handlers[:], logger.propagate, logger.level)
    yield logger
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def raise_key_error() -> None:
    raise KeyError("\x1b[31m")


def _fault(logger: logging.Logger) -> None:
    try:
        raise_key_error()
    except KeyError:
        logger.exception("a fault")


def test_log_lines_are_escaped_and_show_no_traceback(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSP2P_DEBUG", raising=False)
    console, out, err = make_console()
    set_up_logging(console, 0)
    logging.getLogger("osp2p.net").info("not shown")
    logging.getLogger("osp2p.net").warning("a \x1b[31m\u202e name")
    _fault(logger)
    lines = err.getvalue().splitlines()
    assert lines[0] == r"a \x1b[31m\u202e name"
    assert "Traceback" not in err.getvalue()
    assert "OSP2P_DEBUG=1" in lines[2]
    assert out.getvalue() == ""


def test_tracebacks_for_those_who_ask(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSP2P_DEBUG", "1")
    console, _, err = make_console()
    set_up_logging(console, 2)
    logger.debug("shown")
    _fault(logger)
    assert "shown" in err.getvalue()
    assert "Traceback" in err.getvalue()
    assert "\x1b" not in err.getvalue()


def test_logging_to_a_closed_pipe_is_no_error(logger: logging.Logger) -> None:
    set_up_logging(Console("x", io.StringIO(), _Failing(BrokenPipeError())), 0)
    logger.warning("nobody hears")


def _run(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )


SETUP = """
import sys
from osp2p.cli.console import Console, standard_streams
console = Console("x", *standard_streams())
"""


def test_any_name_can_be_written_whatever_the_locale() -> None:
    script = (
        SETUP + 'console.say("b\\u00e4r \\u65e5\\udcff"); console.begin(json=True); console.records([{"n": "\\u65e5"}])'
    )
    result = _run(script, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    text, record = result.stdout.splitlines()
    assert result.stderr == b""
    assert text == b"b\xe4r \\u65e5\\xff"
    assert json.loads(record.decode("utf-8")) == {"n": "日"}


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    """Nobody needs to hear; but data that nobody takes are not written."""
    script = f"""{SETUP}
import os, sys
console.note("b")
try:
    console.say("a")
except Exception as error:
    assert "cannot write to standard output: bad file descriptor" in str(error)
    taken = [os.path.realpath(f"/proc/self/fd/{{fd}}") for fd in (1, 2)]
    os._exit(7 if taken == ["/dev/null"] * 2 else 9)
"""
    (tmp_path / "script.py").write_text(script)
    shell = f"exec {sys.executable} script.py {closed}"
    assert subprocess.run(["bash", "-c", shell], cwd=tmp_path, timeout=30, check=False).returncode == 7


def test_records_of_what_goes_on_are_lost_where_nobody_reads_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.cli.outlet.MOST_WAITING", 20_000)
    ours, theirs = os.pipe()
    with open(theirs, "w", encoding="utf-8") as out:
        console = Console("x", out, io.StringIO())
        console.begin(json=True)
        size = fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
        assert not console.is_behind
        for number in range(500):
            console.news([{"event": "sent", "number": number, "filling": "x" * 50}])
        assert console.is_behind
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.extend(iter(lambda: os.read(ours, size), b"")))
        reader.start()
        console.drain()
        console.records([{"event": "end"}])
        console.drain()
    reader.join()
    os.close(ours)
    records = [json.loads(line) for line in b"".join(heard).splitlines()]
    assert records.pop() == {"event": "end"}
    lost = accounted = 0  # a record may find room after others have not: the kernel takes some bytes late
    for record in records:
        if record["event"] == "lost":
            lost += record["records"]
            accounted += record["records"]
        else:
            assert record["number"] == accounted
            accounted += 1
    assert accounted == 500
    assert lost > 0
