"""Where lines go: data to standard output, all else to standard error, and nothing that a terminal would obey."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from osp2p.cli.outlet import Outlet
from osp2p.cli.text import count_of, escape, json_line
from osp2p.errors import DiskFull, Osp2pError, StoreError

STDOUT_FILENO = 1
STDERR_FILENO = 2

#: The variable that asks for tracebacks.
DEBUG_VARIABLE = "OSP2P_DEBUG"

#: A stream, whether the line may be lost, and the line.
_Line = tuple[TextIO, bool, str]

TRACEBACK_HINT = f"{DEBUG_VARIABLE}=1 shows where"


def wants_tracebacks() -> bool:
    """Whether the user asked to see where unexpected errors come from."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


class Console:
    """Two streams and the form in which a command speaks on them.

    Every line is escaped here once more, so that no caller can forget it; escaping twice changes nothing. What is no
    data and cannot be written, because a disk is full, say, is lost: work that goes well does not fail for that. Nobody
    waits for a reader: see `Outlet`.

    Args:
        name: begins each complaint: the command as the user typed it.
        out: data.
        err: all else.
    """

    def __init__(self, name: str, out: TextIO, err: TextIO) -> None:
        self.name = name
        self.out = out
        self.err = err
        self.json = False
        #: Whether nothing is said but data and what went wrong.
        self.quiet = False
        #: What `together` holds back, in order.
        self._held: list[_Line] | None = None
        self._outlets: dict[TextIO, Outlet | None] = {}
        #: Entered around each write; progress bars step aside in it.
        self.aside: Callable[[], AbstractContextManager[object]] = nullcontext

    def begin(self, *, json: bool, quiet: bool = False) -> None:
        """Choose the form of data, and how much else is said.

        Args:
            json: records, one JSON object a line, always in UTF-8; else lines.
            quiet: nothing but data and what went wrong.
        """
        self.json = json
        self.quiet = quiet
        if json and isinstance(self.out, io.TextIOWrapper):
            self.out.reconfigure(encoding="utf-8")

    @property
    def is_for_a_person(self) -> bool:
        """Whether data goes to a terminal."""
        return self.out.isatty() and not self.json

    @property
    def shows_bars(self) -> bool:
        """Whether progress may be drawn: standard error is a terminal that somebody looks at, and can be drawn on."""
        return self.err.isatty() and os.environ.get("TERM") != "dumb" and not self.json and not self.quiet

    def say(self, *lines: str) -> None:
        """Write lines of data.

        Raises:
            BrokenPipeError: nobody reads them any more.
            StoreError: they cannot be written.
        """
        self._write(self.out, lines)

    def records(self, records: Iterable[Mapping[str, object]]) -> None:
        """Write records of data. Raises: as `say`."""
        self._write(self.out, map(json_line, records))

    def news(self, records: Iterable[Mapping[str, object]]) -> None:
        """Write records of what goes on for as long as the command runs: lost where nobody reads. Raises: as `say`."""
        self._write(self.out, map(json_line, records), may_be_lost=True)

    @property
    def is_behind(self) -> bool:
        """Whether data waits for its reader: what is out of date soon need not be written."""
        outlet = self._outlets.get(self.out)
        return outlet is not None and outlet.is_behind

    def say_raw(self, data: bytes) -> None:
        """Write bytes of data as they are. Raises: as `say`."""
        with self._errors_of(self.out):
            outlet = self._outlet(self.out)
            if outlet is not None:
                outlet.write(data)
            else:
                self.out.buffer.write(data)

    def note(self, text: str) -> None:
        """Write one line that is no data, unless silence is wanted. Raises: BrokenPipeError."""
        if not self.quiet:
            self._write(self.err, [text], may_be_lost=True)

    def fault(self, text: str) -> None:
        """Write one line that says what went wrong with something that it names. Raises: BrokenPipeError."""
        self._write(self.err, [text], may_be_lost=True)

    def complain(self, text: str) -> None:
        """Write one line that says what went wrong with the command. Raises: BrokenPipeError."""
        self._write(self.err, [f"{self.name}: {text}"], may_be_lost=True)

    @property
    def can_draw(self) -> bool:
        """Whether what is drawn is seen now; else it would be out of date by then."""
        outlet = self._outlet(self.err)
        return outlet is None or not outlet.is_behind

    def draw(self, text: str) -> None:
        """Write text that moves a terminal's cursor to standard error, as it is. Raises: BrokenPipeError."""
        with self._errors_of(self.err):
            outlet = self._outlet(self.err)
            if outlet is not None:
                outlet.offer(_encoded(self.err, text), 0)
            else:
                self.err.write(text)

    def drain(self, patience: float | None = None) -> None:
        """Wait until all is written.

        Args:
            patience: after so many seconds without a reader the rest is given up; None: never.

        Raises: as `say`.
        """
        for stream, outlet in self._outlets.items():
            if outlet is not None:
                with self._errors_of(stream):
                    outlet.drain(patience)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the lines of the body in one go, at its end: a hundred lines a millisecond cost as many system calls.

        Raises: as `say`.
        """
        if self._held is not None:
            yield
            return
        held = self._held = list[_Line]()
        try:
            yield
        finally:
            self._held = None
            for (stream, may_be_lost), lines in groupby(held, key=itemgetter(0, 1)):
                self._put(stream, [line for _, _, line in lines], may_be_lost)

    def _write(self, stream: TextIO, lines: Iterable[str], *, may_be_lost: bool = False) -> None:
        written = [escape(line) + "\n" for line in lines]
        if self._held is not None:
            self._held += [(stream, may_be_lost, line) for line in written]
        else:
            self._put(stream, written, may_be_lost)

    def _put(self, stream: TextIO, lines: Sequence[str], may_be_lost: bool) -> None:
        text = "".join(lines)
        with self._errors_of(stream), self.aside():
            outlet = self._outlet(stream)
            stream.flush()  # whatever stepped aside may have written there, too
            if outlet is None:
                stream.write(text)
                stream.flush()
            elif may_be_lost:
                outlet.offer(_encoded(stream, text), len(lines))
            else:
                outlet.write(_encoded(stream, text))

    def _outlet(self, stream: TextIO) -> Outlet | None:
        """What a stream is written through; None if it is no file of the system's."""
        if stream not in self._outlets:
            try:
                number = stream.fileno()
            except (OSError, ValueError):
                self._outlets[stream] = None
            else:
                twin = self._outlets.get(self.err if stream is self.out else self.out)
                if twin is not None and not self.json and _is_same_terminal(number, twin.fd):
                    self._outlets[stream] = (
                        twin  # or what waits for one of them would overtake what waits for the other
                    )
                else:
                    self._outlets[stream] = Outlet(number, lambda lost: _encoded(stream, self._gap(stream, lost)))
        return self._outlets[stream]

    def _gap(self, stream: TextIO, lost: int) -> str:
        """The line that stands where lines were lost."""
        if self.json and stream is self.out:
            return json_line({"event": "lost", "records": lost}) + "\n"
        return f"{count_of(lost, 'line')} that nobody read in time left out here\n"

    @contextmanager
    def _errors_of(self, stream: TextIO) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if stream is self.out:
                raise _store_error(error, "standard output") from error


def _is_same_terminal(one: int, other: int) -> bool:
    """Whether two descriptors lead to one terminal."""
    return os.isatty(one) and os.isatty(other) and os.fstat(one).st_rdev == os.fstat(other).st_rdev


def _encoded(stream: TextIO, text: str) -> bytes:
    return text.encode(stream.encoding, stream.errors or "strict")


def _store_error(error: OSError, where: str) -> StoreError:
    """What a failed write becomes. The import is heavy, and only paid for here."""
    from osp2p.net.errors import DISK_FULL, describe

    kind = DiskFull if error.errno in DISK_FULL else StoreError
    return kind(f"cannot write to {where}: {describe(error)}")


def write_file_to_stdout(path: Path) -> None:
    """Write a file's bytes to standard output, past Python's buffers: whoever is cancelled here leaves no lock behind.

    Raises:
        BrokenPipeError: nobody reads them any more.
        StoreError: the file cannot be read, or standard output cannot be written.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(STDOUT_FILENO, rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _store_error(error, "standard output") from error


class _ConsoleHandler(logging.Handler):
    """Log records as lines of the console, so that bars and escaping hold for them too."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for line in self.format(record).splitlines():
                self._console.fault(line)
        except (OSError, Osp2pError):
            pass  # standard error is gone: there is nobody left to tell


class _Formatter(logging.Formatter):
    """Tracebacks only for those who ask for them."""

    def __init__(self, verbose: int) -> None:
        super().__init__("%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s")
        self._traceback = verbose > 0 or wants_tracebacks()

    def formatException(self, ei: Any) -> str:
        return super().formatException(ei) if self._traceback else f"{ei[0].__name__}: {ei[1]} ({TRACEBACK_HINT})"


def set_up_logging(console: Console, verbose: int) -> None:
    """Send what the package logs to the console: warnings, with -v information, with -vv everything.

    Args:
        verbose: how often -v was given.
    """
    handler = _ConsoleHandler(console)
    handler.setFormatter(_Formatter(verbose))
    logger = logging.getLogger("osp2p")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))


def _open_nowhere(number: int, flags: int) -> TextIO:
    """Put the null device at the number of a stream that is closed."""
    nothing = os.open(os.devnull, flags)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
    return open(number, "w", closefd=False)


def standard_streams() -> tuple[TextIO, TextIO]:
    """Standard output and error, made safe to write any text to.

    Where standard error is closed, nobody hears. Where standard output is, writing to it fails, as it should; but its
    number is taken, so that nothing else that is opened gets what is written to it.
    """
    if sys.stdout is None:
        sys.stdout = _open_nowhere(STDOUT_FILENO, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _open_nowhere(STDERR_FILENO, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return sys.stdout, sys.stderr


def discard_stdout() -> None:
    """Send what is still buffered for standard output nowhere, so that ending the process complains no more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDOUT_FILENO)
    os.close(null)
