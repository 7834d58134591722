"""The front door of every command: which one is meant, how it ends, and with what exit code."""

from __future__ import annotations

import atexit
import gc
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from osp2p import __version__
from osp2p.cli import call_parsers, evil_parsers, grade_parsers, overlay_options, parsers, trial_parsers
from osp2p.cli.arguments import HelpWanted, OptionParser, UsageError
from osp2p.cli.console import Console, discard_stdout, set_up_logging, standard_streams
from osp2p.cli.descriptors import raise_descriptor_limit
from osp2p.cli.exits import DONE, INTERRUPTED, describe_codes
from osp2p.cli.failures import report_failure
from osp2p.cli.signals import Ending
from osp2p.cli.text import escape
from osp2p.errors import StoreError

Work = Callable[[Namespace, Console, Ending], int]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        parser: makes what reads its arguments.
        work: does it, and returns the exit code. What it imports it imports late.
        interrupted: the exit code where a signal ends it.
    """

    parser: Callable[[], OptionParser]
    work: Work
    interrupted: int = INTERRUPTED


def _tracker(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.serving import run_tracker

    return ending.run(partial(run_tracker, arguments, console))


def _share(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.serving import share

    return ending.run(partial(share, arguments, console))


def _get(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.fetching import fetch

    return ending.run(partial(fetch, arguments, console, ending))


def _ls(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.looking import list_files

    return ending.run(partial(list_files, arguments, console))


def _who(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.looking import list_peers

    return ending.run(partial(list_peers, arguments, console))


def _checksum(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.looking import print_checksum

    return ending.run(partial(print_checksum, arguments, console))


def _md5(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.looking import print_md5

    return print_md5(arguments, console)


def _link(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.linking import print_link

    return ending.run(partial(print_link, arguments, console))


def _verify(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.linking import verify

    return ending.run(partial(verify, arguments, console))


def _lab(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.scenarios import run_scenario

    return ending.run(partial(run_scenario, arguments, console, ending))


def _trackerless(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.trackerless import run_trackerless_trial

    return ending.run(partial(run_trackerless_trial, arguments, console, ending))


def _crashes(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.trials import run_crashes_trial

    return ending.run(partial(run_crashes_trial, arguments, console, ending))


def _siege(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.sieging import run_siege_trial

    return ending.run(partial(run_siege_trial, arguments, console, ending))


def _old_peer(arguments: Namespace, console: Console, ending: Ending) -> int:
    if arguments.evil is not None:
        from osp2p.cli.attacking import run_evil

        return ending.run(partial(run_evil, arguments, console))
    from osp2p.cli.serving import run_old_peer

    return ending.run(partial(run_old_peer, arguments, console))


def _node(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.overlaying import run_node

    return ending.run(partial(run_node, arguments, console))


def _find(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.overlaying import find

    return ending.run(partial(find, arguments, console))


def _overlay(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.overlaying import show_overlay

    return ending.run(partial(show_overlay, arguments, console))


def _serve(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.calling import serve

    return ending.run(partial(serve, arguments, console))


def _call(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.calling import call

    return ending.run(partial(call, arguments, console))


def _services(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.calling import list_services

    return ending.run(partial(list_services, arguments, console))


def _evil(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.attacking import attack

    return ending.run(partial(attack, arguments, console))


def _grade(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.grading import grade

    return ending.run(partial(grade, arguments, console))


def _talk(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.talking import talk

    return ending.run(partial(talk, arguments, console))


def _replay(arguments: Namespace, console: Console, ending: Ending) -> int:
    from osp2p.cli.replaying import replay

    return ending.run(partial(replay, arguments, console))


COMMANDS: dict[str, Command] = {
    "tracker": Command(parsers.tracker_parser, _tracker, DONE),
    "share": Command(parsers.share_parser, _share, DONE),
    "get": Command(parsers.get_parser, _get),
    "ls": Command(parsers.ls_parser, _ls),
    "who": Command(parsers.who_parser, _who),
    "checksum": Command(parsers.checksum_parser, _checksum),
    "md5": Command(parsers.md5_parser, _md5),
    "link": Command(parsers.link_parser, _link),
    "verify": Command(parsers.verify_parser, _verify),
    "lab": Command(parsers.lab_parser, _lab),
    "trackerless": Command(trial_parsers.trackerless_parser, _trackerless),
    "crashes": Command(trial_parsers.crashes_parser, _crashes),
    "siege": Command(trial_parsers.siege_parser, _siege),
    "node": Command(overlay_options.node_parser, _node, DONE),
    "find": Command(overlay_options.find_parser, _find),
    "overlay": Command(overlay_options.overlay_parser, _overlay),
    "serve": Command(call_parsers.serve_parser, _serve, DONE),
    "call": Command(call_parsers.call_parser, _call),
    "services": Command(call_parsers.services_parser, _services),
    "grade": Command(grade_parsers.grade_parser, _grade),
    "talk": Command(grade_parsers.talk_parser, _talk, DONE),
    "replay": Command(grade_parsers.replay_parser, _replay),
    "evil": Command(evil_parsers.evil_parser, _evil),
}

OLD_TRACKER = Command(parsers.old_tracker_parser, _tracker, DONE)
OLD_PEER = Command(parsers.old_peer_parser, _old_peer, DONE)

#: One line of help for each command, by topic, in the order in which a newcomer meets them.
TOPICS: dict[str, dict[str, str]] = {
    "share and fetch": {
        "share": "share a directory, or single files",
        "get": "fetch files, in parallel, verified",
        "link": "print a link that names a file's tracker, name and content",
        "verify": "tell whether a file on this machine has the content of a link",
    },
    "look": {
        "find": "find in the overlay who has a file, or where a node is",
        "overlay": "show what a node on this machine knows of the overlay",
        "ls": "list the files that the tracker knows",
        "who": "list the peers that are logged in",
        "checksum": "print the checksum that the tracker knows of a file",
        "md5": "print the checksum of a file on this machine",
    },
    "call": {
        "serve": "serve Python methods to every node",
        "call": "call a method of a node, by its address or by what it serves",
        "services": "list who serves what",
    },
    "run for others": {
        "tracker": "run a tracker, which knows who has which file",
        "node": "be a node of the overlay, which needs no tracker",
    },
    "test and study": {
        "lab": "run a scenario: a tracker, sharers, attackers and fetchers, and what must come true",
        "trackerless": "let nodes share without a tracker, kill and stop most, and see what is found",
        "crashes": "kill fetches and trackers at random moments, and see what they leave",
        "siege": "let a swarm fetch while everything attacks it, and see what holds",
        "talk": "talk to a tracker or a peer in lines, with history and completion",
        "replay": "play a transcript against another server, and show the first difference",
        "grade": "grade anybody's tracker, peer or downloader: protocol, robustness, speed",
        "evil": "attack a tracker, a peer or a downloader in one way of many, and see how it stands it",
    },
}

#: The same without the topics.
SUMMARIES = {name: summary for commands in TOPICS.values() for name, summary in commands.items()}

_HELP = f"""usage: osp2p COMMAND [OPTION…]

Share files with peers in lines of text; a tracker knows who has what.
Each command has its own --help, with examples.

{{commands}}

examples:
  osp2p share photos --host         share a directory; prints what others must type
  osp2p get -t 192.0.2.7 '*.jpg'    fetch what matches, all files at a time

  -h, --help  show this and end
  --version   show the version and end

exit codes:
{describe_codes()}"""


def help_text() -> str:
    """What ``osp2p --help`` prints."""
    width = max(map(len, SUMMARIES))
    topics = (
        "\n".join([f"{topic}:", *(f"  {name:<{width}}  {summary}" for name, summary in commands.items())])
        for topic, commands in TOPICS.items()
    )
    return _HELP.format(commands="\n\n".join(topics))


def _unknown(word: str) -> str:
    """What to say where no command stands, or a word that is none."""
    if not word:
        return "a command is missing"
    from difflib import get_close_matches

    near = get_close_matches(word, SUMMARIES, n=3)
    return f"there is no command {escape(word)}" + (f": did you mean {' or '.join(near)}?" if near else "")


def main(argv: Sequence[str] | None = None) -> int:
    """``osp2p``. Returns: the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    word, *rest = argv or [""]
    if word == "help" and rest and rest[0] in COMMANDS:
        word, rest = rest[0], ["--help"]
    if word in COMMANDS:
        return run_command(COMMANDS[word], f"osp2p {word}", rest)
    return _guarded("osp2p", INTERRUPTED, lambda console, _: _without_command(word, console))


def main_old_tracker(argv: Sequence[str] | None = None) -> int:
    """``tracker.py``, as in 2007. Returns: the exit code."""
    return run_command(OLD_TRACKER, "tracker.py", sys.argv[1:] if argv is None else argv)


def main_old_peer(argv: Sequence[str] | None = None) -> int:
    """``peer.py``, as in 2007. Returns: the exit code."""
    return run_command(OLD_PEER, "peer.py", sys.argv[1:] if argv is None else argv)


def _without_command(word: str, console: Console) -> int:
    if word in ("-h", "--help", "help"):
        console.say(*help_text().splitlines())
    elif word == "--version":
        console.say(f"osp2p {__version__}")
    else:
        raise UsageError(f"{_unknown(word)} (osp2p --help lists them)")
    return DONE


def run_command(command: Command, name: str, argv: Sequence[str]) -> int:
    """Read the arguments of a command and do it. Returns: the exit code."""

    def run(console: Console, ending: Ending) -> int:
        try:
            arguments = command.parser().read(argv)
        except HelpWanted as help_wanted:
            console.say(*str(help_wanted).splitlines())
            return DONE
        arguments.command_line = [*name.split(), *argv]
        if arguments.quiet and arguments.verbose:
            raise UsageError("-q and -v contradict each other: leave one out")
        console.begin(json=arguments.json, quiet=arguments.quiet)
        set_up_logging(console, arguments.verbose)
        raise_descriptor_limit()
        return command.work(arguments, console, ending)

    return _guarded(name, command.interrupted, run)


#: After how many new objects garbage is looked for in cycles. Lists and thousands of files make many objects and no
#: such garbage; with the interpreter's own 700, a command that fetches 10,000 small files takes 6 % longer. Nothing is
#: looked through while modules are imported (10 ms), nor at the end (20 ms of any command).
_COLLECTED_AFTER = 20_000


#: Seconds that what has been written waits for a reader who takes nothing of it, where a signal has ended the command.
#: Else it waits for ever, as any program's output does.
_READER_PATIENCE = 1.0


def _guarded(name: str, interrupted: int, run: Callable[[Console, Ending], int]) -> int:
    """Run something so that a signal ends it well and nobody sees a traceback who has not asked for it.

    Returns: the exit code.
    """
    ending = Ending(interrupted)
    console = Console(name, *standard_streams())
    gc.disable()
    gc.set_threshold(_COLLECTED_AFTER)
    atexit.register(gc.freeze)
    try:
        code = run(console, ending)
        sys.stdout.flush()
        console.drain(_READER_PATIENCE if ending.signalled else None)
        return code
    except KeyboardInterrupt:
        return interrupted
    except (Exception, BaseExceptionGroup) as error:
        code = report_failure(console, error)
        try:
            sys.stdout.flush()
            console.drain(_READER_PATIENCE if ending.signalled else None)
        except StoreError:  # that was said already, or cannot be
            pass
        except OSError:  # what is still buffered cannot be written either; the interpreter would say so again
            discard_stdout()
        return code
    finally:
        gc.enable()
