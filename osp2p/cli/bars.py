"""Progress of a fetch on a terminal: one bar for the whole and one for each of the files that are being fetched.

A fetch goes on where the terminal was stopped, or nobody reads what it would show. So tqdm draws on a canvas, and what
is there goes to the terminal through the console, as a whole or, while earlier output still waits there, not at all.
Once the terminal takes something again, all bars are drawn anew.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn, TextIO

from tqdm import tqdm

from osp2p.cli.console import Console
from osp2p.cli.progress import FileProgress, Progress
from osp2p.cli.text import count_of, escape, shorten
from osp2p.peer.events import Event, TransferDone, TransferFailed, TransferProgress

#: Most files that have a bar at a time; the others wait for a place.
MOST_BARS = 8

#: How many characters of a name a bar shows.
NAME_WIDTH = 28

#: Wipes away all bars: the cursor stands in the line of the first one whenever a frame is whole.
_WIPE = "\r\x1b[J"

_FORMAT = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {rate_fmt} {remaining}{postfix}"
_FORMAT_QUIET = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"
_FORMAT_WITHOUT_SIZE = "{desc}      {n_fmt} {rate_fmt} {elapsed}{postfix}"
_FORMAT_QUIET_WITHOUT_SIZE = "{desc}      {n_fmt}{postfix}"

# A terminal has one user here: no lock between processes, and no thread that watches for stalled bars.
_LOCK = threading.RLock()
tqdm.set_lock(_LOCK)
tqdm.monitor_interval = 0


class _Canvas(io.StringIO):
    """What tqdm takes for the terminal."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override] # which is None for text in memory
        """What the terminal shows: tqdm draws with blocks where they can be encoded."""
        return self._terminal.encoding

    def fileno(self) -> int:
        """The terminal's descriptor, for its size."""
        return self._terminal.fileno()

    def take(self) -> str:
        """What was drawn since this was called last."""
        drawn = self.getvalue()
        self.seek(0)
        self.truncate()
        return drawn


class Bars:
    """Bars on the terminal that is a console's standard error.

    Args:
        progress: how far the files are; told of each event before `show`.
        console: where they are drawn.
        interval: seconds between two looks of one bar, at least.
    """

    def __init__(self, progress: Progress, console: Console, interval: float = 0.1) -> None:
        self._console = console
        self._canvas = _Canvas(console.err)
        #: Whether the terminal shows something else than tqdm believes.
        self._is_behind = False
        self._interval = interval
        self._progress = progress
        self._bars: dict[bytes, tqdm[NoReturn]] = {}
        places = min(MOST_BARS, progress.files)
        self._free = list(range(places))
        self._total = self._open_bar("", places) if progress.files > 1 else None
        self._show_total()
        self._draw()

    def _open_bar(self, name: str, position: int, initial: int = 0) -> tqdm[NoReturn]:
        width, lines = _shape(self._canvas)
        bar: tqdm[NoReturn] = tqdm(
            desc=f"{shorten(name, NAME_WIDTH):<{NAME_WIDTH}}",
            file=self._canvas,
            position=position,
            initial=initial,
            unit="B",
            unit_scale=True,
            leave=False,
            mininterval=self._interval,
            miniters=1,  # tqdm's own guess would freeze a bar that has become slow
            bar_format=_FORMAT_WITHOUT_SIZE,
            ncols=width,
            nrows=lines,
        )
        bar.dynamic_ncols = _shape  # type: ignore[assignment] # a function of the stream, as tqdm sets it itself
        return bar

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While a line is written: the bars are out of its way."""
        with _LOCK:  # what is logged may come from a thread
            self._console.draw(_WIPE)
            yield
            self._is_behind = True
            self._draw()

    def _draw(self) -> None:
        """Bring the terminal up to date, if it takes something."""
        drawn = self._canvas.take()
        if not self._console.can_draw:
            self._is_behind = True
        elif self._is_behind:
            self._is_behind = False
            for bar in (*([self._total] if self._total is not None else []), *self._bars.values()):
                bar.refresh()
            self._console.draw(_WIPE + self._canvas.take())
        elif drawn:
            self._console.draw(drawn)

    def show(self, event: Event) -> None:
        """Draw what an event has changed."""
        with _LOCK:
            if isinstance(event, TransferProgress):
                self._show_file(event.name, self._progress.running[event.name])
            elif isinstance(event, TransferDone | TransferFailed) and event.name in self._bars:
                bar = self._bars.pop(event.name)
                self._free.append(-bar.pos)
                self._free.sort()
                bar.close()
            self._show_total()
            self._draw()

    def show_quiet(self, files: Mapping[bytes, float], seconds: float) -> None:
        """Draw that nothing comes, instead of rates that are no longer true.

        Args:
            files: those of which nothing comes, and for how many seconds.
            seconds: how long nothing has come of any file; 0 if something does.
        """
        with _LOCK:
            for name, since in files.items():
                self._show_file(name, self._progress.running[name])
                if name in self._bars:
                    _be_quiet(self._bars[name], since)
            if seconds and self._total is not None:
                _be_quiet(self._total, seconds)
            self._draw()

    def _show_file(self, name: bytes, file: FileProgress) -> None:
        if name not in self._bars:
            if not self._free:
                return
            self._bars[name] = self._open_bar(escape(name), self._free.pop(0), initial=file.resumed)
        _begin_at(self._bars[name], file.resumed)
        _move(self._bars[name], file.done, file.size, file.sources)

    def _show_total(self) -> None:
        if self._total is None:
            return
        progress = self._progress
        _begin_at(self._total, progress.done - progress.moved)
        self._total.set_description_str(f"{f'{progress.ended} of {progress.files} files':<{NAME_WIDTH}}", refresh=False)
        _move(self._total, progress.done, progress.size, progress.sources)

    def close(self) -> None:
        """Wipe all bars away."""
        for bar in self._bars.values():
            bar.close()
        if self._total is not None:
            self._total.close()
        self._console.draw(_WIPE)


def _shape(stream: TextIO) -> tuple[int, int]:
    """How wide bars are, and how many lines there are, at this moment. A pseudo-terminal often says 0 by 0.

    Ctrl-C writes ^C behind the bar. If that did not fit, the terminal would begin a new line, and no bar be wiped away.
    """
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal
        columns = lines = 0
    return (max(columns - len("^C") - 1, 10), lines) if columns and lines else (77, 24)


def _begin_at(bar: tqdm[NoReturn], here: int) -> None:
    """What was here before counts for no rate, whenever it comes to be known."""
    more = here - bar.initial
    bar.initial = here
    bar.n += more
    bar.last_print_n += more


def _move(bar: tqdm[NoReturn], done: int, size: int | None, sources: int) -> None:
    """Move a bar, in either direction. A size that is exceeded was only claimed, and is not shown."""
    bar.total = size if size is not None and size >= done else None
    bar.bar_format = _FORMAT if bar.total else _FORMAT_WITHOUT_SIZE
    bar.set_postfix_str(count_of(sources, "source"), refresh=False)
    bar.update(done - bar.n)


def _be_quiet(bar: tqdm[NoReturn], seconds: float) -> None:
    """Show for how long nothing has come, until the bar is moved again."""
    bar.bar_format = _FORMAT_QUIET if bar.total else _FORMAT_QUIET_WITHOUT_SIZE
    bar.set_postfix_str(f"nothing for {seconds:.0f} s", refresh=False)
    bar.refresh()
