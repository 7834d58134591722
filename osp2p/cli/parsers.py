"""Every option of every command, with its help: declarations, no work."""

from __future__ import annotations

from pathlib import Path

from osp2p.cli.arguments import (
    DEFAULT_TRACKER,
    FOR_EVER,
    TRACKER_VARIABLE,
    OptionParser,
    add_common_options,
    add_tracker_option,
    alias,
    duration,
    number,
    port,
    rate,
    size,
)
from osp2p.cli.exits import DONE, NOT_PASSED, describe_codes
from osp2p.cli.grade_parsers import add_transcript_option
from osp2p.cli.overlay_options import add_overlay_options

#: The port of a tracker. Source: the 2007 tracker.
TRACKER_PORT = 11111

#: What makes the files and attacks of a scenario, unless another number is asked for.
SEED = 2007

_SIZES = "SIZE is a number of bytes, or 1.5MB, 2GB (powers of 10), 20MiB, 1GiB (powers of 2)."
_EXIT_CODES = f"exit codes:\n{describe_codes()}"


def _add_tracker_options(parser: OptionParser) -> None:
    parser.add_argument(
        "-p", "--port", type=port, default=TRACKER_PORT, metavar="PORT", help=f"where to listen; default {TRACKER_PORT}"
    )
    parser.add_argument("-l", "--local", action="store_true", help="list peers at loopback addresses (127.x) as such")
    parser.add_argument("-x", "--own-host-only", action="store_true", help="list only peers on this tracker's own host")
    parser.add_argument("-f", "--fakes", action="store_true", help="put 250 fake peers into every answer")
    add_transcript_option(parser)
    add_common_options(parser)


def tracker_parser() -> OptionParser:
    """``osp2p tracker``."""
    parser = OptionParser(
        "osp2p tracker",
        "[--port PORT] [--local] [--own-host-only] [--fakes]",
        "Run a tracker, which knows who has which file, until SIGINT or SIGTERM.",
        [
            ("osp2p tracker", f"listen on port {TRACKER_PORT}"),
            ("osp2p tracker --port 5000 --local", "a tracker for experiments on one machine"),
            (f"telnet 127.0.0.1 {TRACKER_PORT}", "talk to it: HELP lists the commands"),
        ],
    )
    _add_tracker_options(parser)
    return parser


def old_tracker_parser() -> OptionParser:
    """``python tracker.py``, as in 2007."""
    parser = OptionParser(
        "tracker.py",
        "[-pPORT] [-l] [-x] [-f]",
        "Run a tracker with the command line of 2007. The same as `osp2p tracker`.",
        [
            ("python tracker.py", f"listen on port {TRACKER_PORT}"),
            ("python tracker.py -p5000 -l", "a tracker for experiments on one machine"),
        ],
    )
    _add_tracker_options(parser)
    return parser


def share_parser() -> OptionParser:
    """``osp2p share``."""
    parser = OptionParser(
        "osp2p share",
        "DIR|FILE… [-t HOST:PORT | --host [--tracker-port PORT]] [--join HOST:PORT | --overlay] [--port PORT]\n"
        "                   [--alias NAME] [--json] [-q]",
        "Share a directory with its sub-directories, or single files, live, until SIGINT or SIGTERM. Never shared of\n"
        "a directory: dotfiles, partial downloads, *~, anything that is no regular file, and what a symbolic link\n"
        "reaches outside it.",
        [
            ("osp2p share photos -t 192.0.2.7", "share it with whoever uses that tracker"),
            ("osp2p share photos --host", "run the tracker, too, and print what others must type"),
            ("osp2p share ~/film.mkv --host", "share this one file"),
            ("osp2p share photos --overlay", "without any tracker; print what others must type"),
            ("osp2p share photos --join 192.0.2.7:11112", "the same, once there is somebody to join"),
        ],
    )
    parser.add_words("shared", "DIR|FILE", "the directory, or files, which are shared by their last names", 1)
    add_tracker_option(parser)
    add_overlay_options(parser)
    parser.add_argument("--host", action="store_true", help="run the tracker in this process, too")
    parser.add_argument(
        "--tracker-port",
        type=port,
        metavar="PORT",
        help=f"with --host: where the tracker listens; default {TRACKER_PORT}",
    )
    _add_peer_options(parser)
    add_common_options(parser, quiet=True)
    return parser


def _add_peer_options(parser: OptionParser) -> None:
    parser.add_argument(
        "--port", type=port, metavar="PORT", help="where to serve files; default the first free one from 11112 on"
    )
    parser.add_argument(
        "--alias", type=alias, metavar="NAME", help="how others see this peer; default the user's name and a number"
    )
    for option, what in (("--limit-up", "sends to"), ("--limit-down", "receives from")):
        parser.add_argument(
            option,
            type=rate,
            metavar="RATE",
            help=f"most bytes per second that it {what} other peers, all together, such as 500kB",
        )
    add_transcript_option(parser)


def get_parser() -> OptionParser:
    """``osp2p get``."""
    parser = OptionParser(
        "osp2p get",
        "NAME|LINK… [-t HOST:PORT] [--join HOST:PORT] [-o DIR|FILE|-] [-r] [--force] [--require-verified]\n"
        "                 [--max-size SIZE] [--seed[=TIME]] [--limit-up RATE] [--limit-down RATE] [--json] [-q]",
        "Fetch files, all at a time and each from whoever serves it, and verify them. A NAME is taken literally; if\n"
        "no file has it and it holds *, ? or [, it is a pattern (** stands for any sub-directories). A file that is\n"
        "here already is not fetched again; one with other content stays, and what arrives becomes NAME~1~.\n"
        "A LINK is what `osp2p link` prints: it proves the content, and names its tracker.",
        [
            ("osp2p get cat.jpg -t 192.0.2.7", "fetch one file to this directory"),
            ("osp2p get '*.jpg' -o album/", "fetch all that matches to album/"),
            ("osp2p get '**'", "fetch everything, with its sub-directories"),
            ("osp2p get -r photos", "fetch all that is below photos/"),
            ("osp2p get notes.txt -o -", "print it, once it is verified"),
            ("osp2p get cat.jpg --join 192.0.2.7:11112", "without any tracker: find it in the overlay"),
        ],
        f"{_SIZES}\n\n{_EXIT_CODES}",
    )
    parser.add_words("names", "NAME", "a file's name as `osp2p ls` shows it, or a pattern in quotes", 1)
    add_tracker_option(parser)
    add_overlay_options(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="WHERE",
        help="a directory (it exists, or WHERE ends in /, or NAME is a pattern), or a file, or - for standard output; "
        "default this directory",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are here with other content")
    parser.add_argument("--require-verified", action="store_true", help="fail where no checksum is known")
    parser.add_argument(
        "--max-size", type=size, metavar="SIZE", help="refuse larger files; default what the disk holds"
    )
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="a NAME may be a directory: fetch all below it; WHERE is one, too",
    )
    parser.add_argument(
        "--seed",
        type=duration,
        metavar="TIME",
        help="share what was fetched, until SIGINT or SIGTERM, or for a TIME behind =: --seed=30s, 10m, 2h",
    )
    parser.add_bare("--seed", FOR_EVER)
    _add_peer_options(parser)
    add_common_options(parser, quiet=True)
    return parser


def ls_parser() -> OptionParser:
    """``osp2p ls``."""
    parser = OptionParser(
        "osp2p ls",
        "[PATTERN…] [-l | -0 | --json] [-t HOST:PORT] [--join HOST:PORT]",
        "List the files that the tracker knows; without a tracker, those shared in the overlay. On a terminal,\n"
        "names are written so that bash, zsh and ksh read them back: paste them behind `osp2p get`. Elsewhere a name\n"
        "is a line as it is, or, if something in it cannot be printed, $'…' as on a terminal. With -0 every name is\n"
        "exact.",
        [
            ("osp2p ls", "every name, one a line"),
            ("osp2p ls -l 'photos/*'", "sizes, too, of what matches"),
            ("osp2p ls -0 | xargs -0 osp2p get --", "for programs: every name, whatever stands in it"),
        ],
    )
    parser.add_words("patterns", "PATTERN", "a name or a pattern in quotes; default all", 0)
    parser.add_argument("-l", "--long", action="store_true", help="show sizes, where the tracker knows them")
    parser.add_argument("-0", "--null", action="store_true", help="a NUL behind each name, and nothing else")
    add_tracker_option(parser)
    add_overlay_options(parser)
    add_common_options(parser)
    return parser


def who_parser() -> OptionParser:
    """``osp2p who``."""
    parser = OptionParser(
        "osp2p who",
        "[-t HOST:PORT] [--json]",
        "List the peers that are logged in: address and alias.",
        [("osp2p who -t 192.0.2.7", "who is there")],
    )
    parser.add_elsewhere("--join", "peers log in at trackers alone, and `osp2p overlay` shows neighbours")
    add_tracker_option(parser)
    add_common_options(parser)
    return parser


def checksum_parser() -> OptionParser:
    """``osp2p checksum``."""
    parser = OptionParser(
        "osp2p checksum",
        "NAME [-t HOST:PORT] [--json]",
        "Print the checksum (MD5, 22 characters) that the tracker knows of a file.",
        [("osp2p checksum cat.jpg", "what the tracker says; `osp2p md5 cat.jpg` tells of a file here")],
    )
    parser.add_words("name", "NAME", "a file's name as `osp2p ls` shows it", 1, 1)
    parser.add_elsewhere("--join", "only trackers know it, and `osp2p find NAME --join HOST:PORT` prints the b3")
    add_tracker_option(parser)
    add_common_options(parser)
    return parser


def md5_parser() -> OptionParser:
    """``osp2p md5``."""
    parser = OptionParser(
        "osp2p md5",
        "FILE [--json]",
        "Print the checksum (MD5, 22 characters) of a file on this machine.",
        [("osp2p md5 cat.jpg", "compare it with what `osp2p checksum cat.jpg` prints")],
    )
    parser.add_words("file", "FILE", "a file on this machine", 1, 1)
    add_common_options(parser)
    return parser


def link_parser() -> OptionParser:
    """``osp2p link``."""
    parser = OptionParser(
        "osp2p link",
        "NAME|./FILE [-t HOST:PORT] [--json]",
        "Print a link to a file: one word that names its tracker, its name and its content (b3), so that whoever has\n"
        "the link can prove what they fetch. NAME is what the tracker lists; a path with a / that is here is hashed.",
        [
            ("osp2p link cat.jpg", "of what the tracker lists"),
            ("osp2p link ./cat.jpg", "of a file on this machine, shared or not"),
        ],
        "b3 is BLAKE3 over the hashes of the file's chunks: it is not what b3sum prints.",
    )
    parser.add_words("name", "NAME", "a file's name as `osp2p ls` shows it, or a path with a / in it", 1, 1)
    parser.add_elsewhere("--join", "`osp2p find NAME --join HOST:PORT` prints links that need no tracker")
    add_tracker_option(parser)
    add_common_options(parser)
    return parser


def verify_parser() -> OptionParser:
    """``osp2p verify``."""
    parser = OptionParser(
        "osp2p verify",
        "FILE LINK [--json]",
        "Tell whether a file on this machine has the content of a link: exit code 0, or 6 if it has not.",
        [("osp2p verify cat.jpg 'osp2p://192.0.2.7:11111/cat.jpg#b3=…'", "check what was fetched long ago")],
    )
    parser.add_words("words", "FILE LINK", "a file on this machine, and a link", 2, 2)
    add_common_options(parser)
    return parser


def old_peer_parser() -> OptionParser:
    """``python peer.py``, as in 2007."""
    parser = OptionParser(
        "peer.py",
        "[-tIP:PORT|-tPORT|-tIP] [-dDIR] [-b[MODE]] [FILE…]",
        "Be a peer with the command line of 2007: register DIR, fetch each FILE in turn into it, as FILE or FILE~1~,\n"
        "then serve until killed.",
        [
            ("python peer.py -t192.0.2.7:11111 -dphotos", "share photos"),
            ("python peer.py -t5000 -dphotos cat.jpg dog.jpg", "fetch two files, too, from a tracker on this machine"),
            ("python peer.py -t5000 -b", "attack whoever fetches, to test them"),
        ],
        f"Default tracker: ${TRACKER_VARIABLE}, else {DEFAULT_TRACKER}.",
    )
    parser.add_words("files", "FILE", "a file to fetch", 0)
    parser.set_defaults(without=(b".c", b".h"))
    add_tracker_option(parser)
    parser.add_argument("-d", "--directory", metavar="DIR", default=".", help="what to share, and where to fetch to")
    parser.add_argument(
        "-b", "--evil", metavar="MODE", nargs="?", const="", help="be an evil peer, of one family of attacks or of all"
    )
    _add_peer_options(parser)
    add_common_options(parser)
    return parser


def lab_parser() -> OptionParser:
    """``osp2p lab``."""
    from osp2p.lab.catalogue import list_scenarios

    parser = OptionParser(
        "osp2p lab",
        "NAME [--seed N] [--keep DIR] [--json]",
        "Run a scenario: a world of peers on this machine, good and bad, that ends in a verdict.",
        [
            ("osp2p lab good", "the main job: a tracker, three sharers, one who fetches everything"),
            ("osp2p lab bad --seed 7", "attackers beside honest peers; with other files and attacks than usual"),
            ("osp2p lab slow --keep run", "keep all files in the new directory run"),
        ],
        f"scenarios: {', '.join(list_scenarios())}\n\nexit code: {DONE} if all that was expected came true, "
        f"{NOT_PASSED} if not",
    )
    parser.add_words("name", "NAME", "the scenario", 1, 1)
    parser.add_argument(
        "--seed", type=number, default=SEED, metavar="N", help=f"makes the files and the attacks; default {SEED}"
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="a new directory for all files, kept afterwards")
    add_common_options(parser)
    return parser
