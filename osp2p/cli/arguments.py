"""How command lines are read: a parser for each command, options and words in any order, one sentence on a mistake."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from osp2p.cli.text import escape, parse_size

#: Where the tracker is when nobody says so. Source: the 2007 programs.
DEFAULT_TRACKER = "127.0.0.1:11111"

#: The variable that names another one.
TRACKER_VARIABLE = "OSP2P_TRACKER"


#: What argparse says about a word that looks like an option and is none.
_UNKNOWN_OPTION = ("unrecognized arguments", "ignored explicit argument")


class UsageError(Exception):
    """The command line cannot be obeyed. Its text is one sentence for a person."""


class HelpWanted(Exception):
    """The command line asks for help. Its text is the help."""


class _Help(argparse.Action):
    """``--help``: argparse's own would print by itself, and not notice that nobody can read it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise HelpWanted(parser.format_help())


class OptionParser(argparse.ArgumentParser):
    """A parser for one command.

    Args:
        prog: what the user typed to get here.
        usage: what follows it.
        description: what the command does.
        examples: whole command lines, each with what it does.
        notes: stands below the examples.
    """

    def __init__(
        self, prog: str, usage: str, description: str, examples: Sequence[tuple[str, str]], notes: str = ""
    ) -> None:
        width = max((len(line) for line, _ in examples), default=0)
        shown = "\n".join(f"  {line:<{width}}  {what}" for line, what in examples)
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}".rstrip(),
            description=description,
            epilog=f"examples:\n{shown}" + (f"\n\n{notes}" if notes else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._words: tuple[str, str, int, int | None] | None = None
        self._bare: dict[str, str] = {}
        self._elsewhere: dict[str, str] = {}
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show this and end")

    def add_words(self, dest: str, metavar: str, help: str, least: int, most: int | None = None) -> None:
        """Take words that are no options.

        Args:
            dest: the attribute that gets the list.
            least, most: how many; None: any number.
        """
        self._words = (dest, metavar, least, most)
        self.add_argument(dest, metavar=metavar, nargs="*", help=help)

    def add_bare(self, option: str, value: str) -> None:
        """Let an option stand without its value, which then is `value`; one of its own follows ``=``.

        argparse alone would take the next word for the value.
        """
        self._bare[option] = f"{option}={value}"

    def add_elsewhere(self, option: str, hint: str) -> None:
        """Refuse an option that others of our commands have with a sentence of its own."""
        self._elsewhere[option] = hint

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Read a command line without its command. Behind ``--`` everything is a word.

        Raises:
            UsageError: it cannot be obeyed.
            HelpWanted: it asks for help.
        """
        end = argv.index("--") if "--" in argv else len(argv)
        self._check_bare(argv[:end])
        # argparse alone would take no words behind an option that follows a word, and its intermixed form loses "--".
        arguments = self.parse_intermixed_args([self._bare.get(word, word) for word in argv[:end]])
        rest = list(argv[end + 1 :])
        if self._words is None:
            if rest:
                self.error(f"{escape(rest[0])} is one word too many")
            return arguments
        dest, metavar, least, most = self._words
        words = [*getattr(arguments, dest), *rest]
        if len(words) < least:
            self.error(f"{metavar} is missing")
        if most is not None and len(words) > most:
            self.error(f"{escape(words[most])} is one word too many")
        setattr(arguments, dest, words)
        return arguments

    def _check_bare(self, argv: Sequence[str]) -> None:
        """Refuse a value that stands behind a bare option as a word of its own, and would be taken for something else.

        Raises:
            UsageError.
        """
        for word, following in pairwise(argv):
            if word in self._bare and self._reads(word, following):
                self.error(f"write {word}={following}; if {following} is a {self._metavar()}, put it before {word}")

    def _reads(self, option: str, text: str) -> bool:
        """Whether an option would take a text for its value."""
        read = self._option_string_actions[option].type
        try:
            return callable(read) and read(text) is not None
        except argparse.ArgumentTypeError:
            return False

    def _metavar(self) -> str:
        return self._words[1] if self._words is not None else "word"

    def _nearest(self, words: Sequence[str]) -> list[str]:
        """The options that the user may have meant by the first word that looks like one and is none."""
        from difflib import get_close_matches

        options = [option for option in self._option_string_actions if option.startswith("--")]
        word = next((word.partition("=")[0] for word in words if word.startswith("--")), "")
        begun = [option for option in options if len(word) > 3 and option.startswith(word)]
        return begun[:3] or get_close_matches(word, options, n=2, cutoff=0.7)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        unknown = message.split() if _UNKNOWN_OPTION[0] in message else []
        for option, hint in self._elsewhere.items():
            if option in (word.partition("=")[0] for word in unknown):
                raise UsageError(f"{option} is not for {self.prog}: {hint}; see {self.prog} --help")
        if near := self._nearest(unknown):
            hint = f"did you mean {' or '.join(near)}? ({self.prog} --help lists them)"
            raise UsageError(f"{escape(message)}: {hint}")
        if self._words is not None and any(sign in message for sign in _UNKNOWN_OPTION):
            message += "; a word that begins with - and is no option stands behind --"
        raise UsageError(f"{escape(message)}; see {self.prog} --help")


def size(text: str) -> int:
    """Read an option's size in bytes."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def rate(text: str) -> int:
    """Read an option's rate in bytes per second: a size, perhaps with ``/s`` behind it; not 0."""
    found = size(text.removesuffix("/s"))
    if found == 0:
        raise argparse.ArgumentTypeError("a rate of 0 would never move a byte: leave the option out for no limit")
    return found


#: What each letter behind a duration stands for, in seconds.
_TIME_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: The duration without an end.
FOR_EVER = "ever"


def duration(text: str) -> float:
    """Read an option's duration in seconds: a number with s, m, h or d behind it, or none for seconds."""
    if text == FOR_EVER:
        return math.inf
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _TIME_UNITS else (text, "s")
    if number.isascii() and number.replace(".", "", 1).isdigit() and len(number) <= 12:
        return float(number) * _TIME_UNITS[unit]
    raise argparse.ArgumentTypeError(f"'{escape(text)}' is no duration: write 30s, 10m, 2h or 1d")


def port(text: str) -> int:
    """Read an option's port; 0 stands for any free one."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{escape(text)}' is no port: write a number from 0 (any free one) to 65535")


def number(text: str) -> int:
    """Read an option's whole number, not below 0."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{escape(text)}' is no number: write digits")


def alias(text: str) -> bytes:
    """Read an option's alias."""
    if not text:
        raise argparse.ArgumentTypeError("an alias has at least one byte")
    return os.fsencode(text)


def tracker(text: str) -> str:
    """Check an option's tracker, which is handed on as it was typed."""
    from osp2p.errors import MalformedLine
    from osp2p.wire.address import parse_tracker

    try:
        parse_tracker(text)
    except MalformedLine as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_tracker_option(parser: OptionParser) -> None:
    """Let the user name trackers."""
    parser.add_argument(
        "-t",
        "--tracker",
        metavar="HOST:PORT",
        type=tracker,
        action="append",
        default=[],
        help=f"the tracker: HOST, PORT, HOST:PORT or [IPV6]:PORT, several times for several; "
        f"default ${TRACKER_VARIABLE}, else {DEFAULT_TRACKER}",
    )


def add_common_options(parser: OptionParser, *, quiet: bool = False) -> None:
    """Let the user choose how much is said, and in what form.

    Args:
        quiet: whether the command says so much by itself that somebody may want less.
    """
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output, each with an `event`")
    if quiet:
        parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but what goes wrong")
    else:
        parser.set_defaults(quiet=False)
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="say more on standard error; -vv: still more"
    )


def chosen_trackers(arguments: argparse.Namespace) -> list[str]:
    """The trackers that the user named with ``-t``, or in the environment, or the default.

    Raises:
        UsageError: what the environment names is no address.
    """
    named: list[str] = arguments.tracker
    if named:
        return named
    try:
        return [tracker(os.environ.get(TRACKER_VARIABLE) or DEFAULT_TRACKER)]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"${TRACKER_VARIABLE}: {escape(str(error))}") from None
