"""The summary of a fetch, and the bars that show it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import struct
import termios
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.bars import MOST_BARS, Bars
from osp2p.cli.console import Console
from osp2p.cli.progress import Progress
from osp2p.errors import NobodyHasIt
from osp2p.peer.events import Event, TransferDone, TransferFailed, TransferProgress, TransferStarted

NAMES = [b"a", b"b", b"c"]


def done(name: bytes, size: int, *, resumed: int = 0, already: bool = False) -> TransferDone:
    return TransferDone(name, Path("x"), size, size - resumed, resumed, "md5", 1.0, already)


def failed(name: bytes) -> TransferFailed:
    return TransferFailed(name, NobodyHasIt("nobody has it"))


def follow(progress: Progress, *events: Event) -> Progress:
    for event in events:
        progress.apply(event)
    return progress


def counts(progress: Progress) -> tuple[int, int | None, int]:
    return progress.done, progress.size, progress.ended


def test_bytes_and_files_are_counted() -> None:
    progress = follow(Progress(3), TransferStarted(b"a", 100, 1), TransferProgress(b"a", 40, 100, 2, 10))
    assert counts(progress) == (40, None, 0)
    assert (progress.resumed, progress.sources) == (10, 2)
    follow(progress, TransferStarted(b"b", 50, 1), TransferStarted(b"c", None, 1))
    assert counts(progress) == (40, None, 0)
    follow(progress, TransferProgress(b"c", 5, 20, 1))
    assert counts(progress) == (45, 170, 0)
    follow(progress, done(b"a", 100, resumed=10), failed(b"b"))
    assert counts(progress) == (105, 120, 2)
    follow(progress, done(b"c", 20))
    assert counts(progress) == (120, 120, 3)
    assert (progress.arrived, len(progress.failures)) == (2, 1)
    assert progress.describe(2.0) == "2 of 3 files, 1 failed, 120 B, 55 B/s"


def test_a_file_that_was_here_already_or_begins_anew() -> None:
    progress = follow(Progress(1), TransferProgress(b"a", 80, 100, 1), TransferProgress(b"a", 10, 100, 1))
    assert progress.done == 10
    assert progress.describe(1.0) == "0 of 1 file, 10 B of 100 B, 10 B/s"
    assert follow(Progress(1), done(b"a", 7, already=True)).done == 7


def test_only_what_moved_has_a_rate() -> None:
    progress = follow(Progress(2), done(b"a", 7, already=True), done(b"b", 5, already=True))
    assert progress.describe(1.0) == "2 of 2 files, 12 B, all here already"
    progress = follow(Progress(3), done(b"a", 7, already=True), done(b"b", 50, resumed=20), failed(b"c"))
    assert (progress.moved, progress.here) == (30, 1)
    assert progress.describe(2.0) == "2 of 3 files, 1 failed, 57 B, 1 here already, 15 B/s"
    assert follow(Progress(2), failed(b"a"), failed(b"b")).describe(1.0) == "0 of 2 files, 2 failed, 0 B"


def any_event() -> st.SearchStrategy[Event]:
    name = st.sampled_from(NAMES)
    size = st.one_of(st.none(), st.integers(0, 1000))
    number = st.integers(0, 1000)
    return st.one_of(
        st.builds(TransferStarted, name, size, number),
        st.builds(TransferProgress, name, number, size, st.integers(0, 9), number),
        st.builds(done, name, number),
        st.builds(failed, name),
    )


@given(st.lists(any_event()))
def test_whatever_happens_the_sums_agree(events: list[Event]) -> None:
    progress = Progress(len(NAMES))
    arrived = 0
    for event in events:
        progress.apply(event)
        arrived += event.size if isinstance(event, TransferDone) else 0
    assert progress.done == arrived + sum(file.done for file in progress.running.values())
    assert progress.sources == sum(file.sources for file in progress.running.values())
    assert progress.describe(1.0).isprintable()


def draw(files: int, events: list[Event]) -> str:
    """What bars write while these events happen."""
    terminal = io.StringIO()
    progress = Progress(files)
    bars = Bars(progress, Console("osp2p get", io.StringIO(), terminal), interval=0)
    for event in events:
        progress.apply(event)
        bars.show(event)
    bars.close()
    return terminal.getvalue()


def test_one_file_has_one_bar_with_size_rate_and_sources() -> None:
    drawn = draw(1, [TransferStarted(b"cat.jpg", 10**6, 2), TransferProgress(b"cat.jpg", 500_000, 10**6, 2)])
    assert re.search(r"cat\.jpg +50% \|.*\| 500k/1\.00M .*B/s.*, 2 sources", drawn)
    assert "\n" not in drawn


def test_several_files_have_a_bar_for_the_whole() -> None:
    events: list[Event] = [TransferStarted(name, 1000, 1) for name in NAMES]
    events += [TransferProgress(b"a", 300, 1000, 1), TransferProgress(b"b", 300, 1000, 1), done(b"a", 1000)]
    drawn = draw(3, events)
    assert re.search(r"0 of 3 files +20% .*600/3\.00k.*, 2 sources", drawn)
    assert re.search(r"1 of 3 files +43% .*1\.30k/3\.00k.*, 1 source", drawn)


def test_what_was_here_before_counts_for_no_rate_of_a_bar() -> None:
    before = 10**12
    drawn = draw(
        2, [TransferProgress(b"a", 1, 2 * before, 1), TransferProgress(b"a", before + 2, 2 * before, 1, before)]
    )
    assert "1.00T/2.00T" in drawn
    assert re.search(r"\d[GTPEZY]B/s", drawn) is None


def test_where_nothing_comes_no_rate_is_shown_until_something_does() -> None:
    terminal = io.StringIO()
    progress = Progress(2)
    bars = Bars(progress, Console("osp2p get", io.StringIO(), terminal), interval=0)

    def drawn(*events: Event) -> str:
        terminal.seek(0)
        terminal.truncate()
        for event in events:
            progress.apply(event)
            bars.show(event)
        return terminal.getvalue()

    drawn(TransferStarted(b"a", 1000, 1), TransferStarted(b"b", 1000, 1), TransferProgress(b"a", 300, 1000, 1))
    drawn()
    bars.show_quiet({b"a": 7.2, b"b": 5.0}, 5.0)
    quiet = terminal.getvalue()
    assert re.search(r"a +30% .*300/1\.00k, nothing for 7 s", quiet)
    assert re.search(r"b +0% .*0\.00/1\.00k, nothing for 5 s", quiet), "a file that has no bar yet gets one"
    assert re.search(r"0 of 2 files +15% .*nothing for 5 s", quiet)
    again = drawn(TransferProgress(b"a", 400, 1000, 1))
    assert re.search(r"a +40% .*B/s.*, 1 source", again)
    assert re.search(r"0 of 2 files .*B/s.*, 1 source", again)
    drawn()
    bars.show_quiet({b"b": 6.0}, 0)
    assert "of 2 files" not in terminal.getvalue()
    bars.close()


def test_the_number_of_bars_is_bounded_and_places_are_used_again() -> None:
    names = [b"file%d" % number for number in range(50)]
    events: list[Event] = [TransferProgress(name, 5, 10, 1) for name in names]
    drawn = draw(50, events)
    assert len(set(re.findall(r"file\d+", drawn))) == MOST_BARS
    events += [done(name, 10) for name in names[:MOST_BARS]] + [TransferProgress(names[-1], 6, 10, 1)]
    assert "file49" in draw(50, events)


def test_a_size_that_was_only_claimed_and_is_exceeded_is_not_shown() -> None:
    drawn = draw(1, [TransferProgress(b"a", 200, 100, 1)])
    assert "200 " in drawn
    assert "%" not in drawn


def test_names_in_bars_are_harmless_and_short() -> None:
    drawn = draw(1, [TransferProgress(b"\x1b[31m\x9b" + b"x" * 500, 5, 10, 1)])
    assert "\x1b[31m" not in drawn
    assert r"\x1b[31m" in drawn
    assert "x" * 50 not in drawn


@given(st.lists(any_event()))
def test_bars_follow_whatever_happens(events: list[Event]) -> None:
    assert "\x1b[3" not in draw(len(NAMES), events)


def _read_all(terminal: int) -> bytes:
    """What was written to the other end, which is closed: the kernel hands it over in pieces, and then fails."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_behind_a_bar_there_is_room_for_what_ctrl_c_writes() -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(theirs, "w", encoding="utf-8") as terminal:
        progress = Progress(2)
        console = Console("osp2p get", io.StringIO(), terminal)
        bars = Bars(progress, console, interval=0)
        for event in (TransferProgress(b"a" * 50, 5, 10**9, 1), TransferProgress(b"b", 5, 10**9, 1)):
            progress.apply(event)
            bars.show(event)
        bars.close()
        console.drain(5)
    drawn = _read_all(ours).decode()
    os.close(ours)
    lines = re.split(r"[\r\n]|\x1b\[[AJ]", drawn)
    assert max(map(len, lines)) == 57
    assert drawn.endswith("\r\x1b[J")


def screen(drawn: str) -> list[str]:
    """The lines that a terminal shows in the end."""
    lines, row, column = [""], 0, 0
    for sign in re.findall(r"\x1b\[[AJ]|[^\x1b]", drawn):
        if sign == "\x1b[A":
            row -= 1
        elif sign == "\x1b[J":
            lines[row:] = [lines[row][:column]]
        elif sign == "\r":
            column = 0
        elif sign == "\n":  # behind it a terminal begins at the left
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + sign + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def test_a_terminal_that_was_stopped_holds_no_bar_up_and_shows_all_of_them_later() -> None:
    """The lines that were written meanwhile are there, and no bar of a file that has arrived since."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with open(theirs, "w", encoding="utf-8") as terminal, open(os.dup(theirs), "w", encoding="utf-8") as beside:
        console = Console("osp2p get", beside, terminal)
        progress = Progress(4)
        bars = Bars(progress, console, interval=0)
        console.aside = bars.aside

        def follow_all(*events: Event) -> None:
            for event in events:
                progress.apply(event)
                bars.show(event)

        follow_all(TransferProgress(b"a", 5, 10, 1), TransferProgress(b"b", 5, 10, 1))
        console.say("before")
        os.write(ours, b"\x13")  # Ctrl-S
        follow_all(*(TransferProgress(b"a", 5 + at % 5, 10, 1) for at in range(3000)), done(b"a", 10), done(b"b", 10))
        console.say("a has arrived")
        console.note("a remark")
        console.say("b has arrived")
        follow_all(TransferProgress(b"c", 7, 10, 1))
        drawn = bytearray()
        os.write(ours, b"\x11")  # Ctrl-Q
        reader = threading.Thread(target=lambda: drawn.extend(_read_all(ours)))
        reader.start()
        console.drain()
        follow_all(TransferProgress(b"c", 8, 10, 1))
        console.drain()
        os.write(ours, b"\x13")
        follow_all(TransferProgress(b"c", 9, 10, 1), TransferProgress(b"d", 1, 10, 1), done(b"c", 10))
        os.write(ours, b"\x11")
        console.drain()
        follow_all(TransferProgress(b"d", 8, 10, 1))
        console.drain()
    reader.join()
    os.close(ours)
    *lines, file, whole = filter(None, screen(drawn.decode()))
    assert lines == ["before", "a has arrived", "a remark", "b has arrived"]
    assert re.match(r"d +80%", file)
    assert whole.startswith("3 of 4 files")
    assert len(drawn) < 10_000, "what is out of date was not drawn"


def test_nothing_is_drawn_into_a_line_that_another_thread_writes() -> None:
    terminal = io.StringIO()
    progress = Progress(2)
    bars = Bars(progress, Console("osp2p get", io.StringIO(), terminal), interval=0)
    entered, leave = threading.Event(), threading.Event()

    def write() -> None:
        with bars.aside():
            entered.set()
            leave.wait()
            terminal.write("a line\n")

    def draw() -> None:
        event = TransferProgress(b"a", 5, 10, 1)
        progress.apply(event)
        bars.show(event)

    threads = [threading.Thread(target=write), threading.Thread(target=draw)]
    threads[0].start()
    entered.wait()
    before = terminal.getvalue()
    threads[1].start()
    threads[1].join(0.1)
    assert terminal.getvalue() == before
    leave.set()
    for thread in threads:
        thread.join()
    bars.close()
    assert terminal.getvalue().startswith(f"{before}a line\n")
