"""How commands say that they failed."""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from typing import TextIO

import pytest

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.failures import HINTS, report_failure
from osp2p.errors import (
    NetworkFailed,
    NobodyHasIt,
    OverlayUnreachable,
    Stalled,
    TrackerRefused,
    TrackerUnreachable,
)


def report(error: BaseException, *, json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    console = Console("osp2p get", out, err)
    console.begin(json=json)
    code = report_failure(console, error)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSP2P_DEBUG", raising=False)


def test_one_error_is_one_line_and_its_code() -> None:
    error = TrackerRefused(300, "tracker x refused \x1b LIST")
    assert report(error) == (4, "", "osp2p get: tracker x refused \\x1b LIST\n")


def test_hints_say_what_to_do() -> None:
    code, _, err = report(TrackerUnreachable("no tracker answers at x"))
    assert (code, err) == (4, f"osp2p get: no tracker answers at x; {HINTS[TrackerUnreachable]}\n")


def test_what_an_error_follows_from_has_its_hint_too() -> None:
    error = NetworkFailed("cannot ask")
    error.__cause__ = OverlayUnreachable("nobody answers")
    assert report(error)[::2] == (4, f"osp2p get: cannot ask; {HINTS[OverlayUnreachable]}\n")


def test_what_others_said_is_a_line_of_its_own() -> None:
    error = NobodyHasIt("nobody")
    error.add_note("no answer from x")
    assert report(error)[::2] == (3, "osp2p get: nobody\nosp2p get: no answer from x\n")


def test_a_group_of_errors_is_taken_apart() -> None:
    error = ExceptionGroup("g", [Stalled("a"), ExceptionGroup("h", [Stalled("b"), Stalled("a")])])
    assert report(error) == (5, "", "osp2p get: a\nosp2p get: b\n")
    assert report(ExceptionGroup("g", [Stalled("a"), NobodyHasIt("b")]))[0] == 7


def test_usage_that_only_shows_in_the_work() -> None:
    error = ExceptionGroup("g", [UsageError("-o x is one file")])
    assert report(error, json=True) == (2, "", "osp2p get: -o x is one file\n")


def test_the_unexpected_is_one_line_too() -> None:
    for error in (KeyError("x"), ExceptionGroup("g", [Stalled("a"), KeyError("x")])):
        code, out, err = report(error)
        assert (code, out) == (1, "")
        assert err == "osp2p get: unexpected KeyError: 'x' (OSP2P_DEBUG=1 shows where)\n"


def test_a_python_without_our_packages_is_said_to_be_one() -> None:
    code, _, err = report(ModuleNotFoundError("No module named 'trio'", name="trio"))
    assert code == 1
    assert err.startswith("osp2p get: the Python package trio is not installed here: run ./run-good once")


def test_tracebacks_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSP2P_DEBUG", "1")
    code, _, err = report(ExceptionGroup("g", [Stalled("a")]))
    assert code == 5
    assert "Traceback" in err or "ExceptionGroup" in err
    assert err.endswith("osp2p get: a\n")


@pytest.mark.parametrize("streams", ["out", "err", "both"])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_does_not_depend_on_anybody_hearing(streams: str, as_json: bool) -> None:
    def open_stream(name: str) -> TextIO:
        return open("/dev/full" if streams in (name, "both") else os.devnull, "w", encoding="utf-8")

    out, err = open_stream("out"), open_stream("err")
    console = Console("osp2p get", out, err)
    console.begin(json=as_json)
    assert report_failure(console, Stalled("too slow")) == 5
    assert report_failure(console, KeyError("x")) == 1
    for stream in (out, err):
        with suppress(OSError):  # what is still buffered for a full device
            stream.close()


def test_errors_are_records_too() -> None:
    code, out, err = report(NobodyHasIt("nobody"), json=True)
    assert code == 3
    assert json.loads(out) == {"event": "error", "error": "NobodyHasIt", "message": "nobody", "exit": 3}
    assert err.startswith("osp2p get: nobody")
