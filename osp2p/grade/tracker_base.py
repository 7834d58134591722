"""What a tracker does in the base protocol, and what odd company it bears. All of it is true of the tracker of 2007,
but for `robustness/alias-injection`, which was a hole of it.
"""

from __future__ import annotations

import trio

from osp2p.errors import ListenFailed
from osp2p.grade.stage import Stage, Talk
from osp2p.grade.steps import Scene, ask, check_body, dialogue, ends, hear, leave, quiet, say, until
from osp2p.grade.verdict import Check, Wrong

ONE = "abcdefghijklmnopqrstua"
OTHER = "bbcdefghijklmnopqrstua"

_LOGIN_A = ask("a", "ADDR {a} {host}:4001", 200)
_LOGIN_B = ask("b", "ADDR {b} {host}:4002", 200)
_HAVE_A = ask("a", "HAVE {file}", 200)
_A = "PEER {a} *:4001"
_B = "PEER {b} *:4002"


async def _one_write(stage: Stage) -> None:
    """Old clients hang if a packet ends inside a terminator: the last byte of a packet is the last of a reply."""
    talk = await stage.open()
    for what in ("the greeting", "the answer to HELP"):
        data = await talk.read_some()
        if not data.endswith(b"\n"):
            raise Wrong(f"the first packet of {what} does not hold all of it, so that old clients would hang")
        await talk.send(b"HELP\n")


async def _notify(stage: Stage) -> None:
    """The tracker connects to the port of a peer that said NOTIFY."""
    talk = await stage.on("a")
    try:
        listener = await stage.listen(talk.connection.local.host)
    except ListenFailed as error:
        raise Wrong(f"the tracker's call cannot be waited for: {error}") from None
    stage.values["port"] = str(listener.address.port)
    for step in (ask("a", "ADDR {a} {host}:{port}", 200), ask("a", "NOTIFY", 200), _LOGIN_B):
        await step.take(stage)
    within = stage.subject.answer_within
    with trio.move_on_after(within):
        call = Talk(stage.keep(await listener.accept()), within)
        check_body(await call.rest(4096), stage.fill("NOTIFY {b} {host}:4002 OSP2P\n").encode(), "the NOTIFY line")
        return
    raise Wrong(f"it does not connect to who said NOTIFY within {within:g} s of another peer's ADDR")


TRACKER_BASE: tuple[Scene, ...] = (
    dialogue(
        "protocol/greeting",
        "protocol",
        "It greets who connects, and answers HELP with the commands, as context lines.",
        ask("a", "HELP", 200, lacks=["**"]),
    ),
    Scene(Check("protocol/one-write", "protocol", "A reply leaves in one write."), _one_write),
    dialogue(
        "protocol/verbs-any-case",
        "protocol",
        "The case of a verb does not matter.",
        ask("a", "help", 200),
        ask("a", "aDDr {a} {host}:4001", 200),
        ask("a", "have {file}", 200),
        ask("a", "Want {file}", 200, has=[_A]),
    ),
    dialogue(
        "protocol/blank-lines",
        "protocol",
        "A blank line is ignored, without an answer.",
        say("a", "\n \t \r\n"),
        quiet("a", "a blank line"),
        ask("a", "HELP", 200),
    ),
    dialogue(
        "protocol/crlf",
        "protocol",
        "A CR before the LF is white space.",
        ask("a", "ADDR {a} {host}:4001\r", 200),
        ask("a", "HAVE {file}\r", 200),
        ask("a", "WANT {file}", 200, has=[_A]),
    ),
    dialogue(
        "protocol/unknown-verb",
        "protocol",
        "An unknown verb is 500, and the connection goes on.",
        ask("a", "SING {file}", 500),
        ask("a", "HELP", 200),
    ),
    dialogue(
        "protocol/wrong-arity",
        "protocol",
        "A wrong number of words is 500, and the connection goes on.",
        *(ask("a", line, 500) for line in ("ADDR", "ADDR x", "HAVE", "LIST x", "WHO x", "WANT", "WANT a b", "MD5SUM")),
        *(ask("a", line, 500) for line in ("HELP x", "CHECKPEER x", "NOTIFY x", "DONTHAVE")),
        ask("a", "HELP", 200),
    ),
    dialogue(
        "protocol/addr",
        "protocol",
        "ADDR logs a peer in: WHO lists it.",
        ask("a", "WHO", 200, lacks=["PEER {a} *"]),
        _LOGIN_A,
        ask("a", "WHO", 200, has=[_A]),
        ask("b", "WHO", 200, has=[_A]),
    ),
    dialogue(
        "protocol/addr-once",
        "protocol",
        "A connection logs in once; again is 300, and changes nothing.",
        _LOGIN_A,
        ask("a", "ADDR {b} {host}:4002", 300),
        ask("a", "WHO", 200, has=[_A], lacks=["PEER {b} *"]),
    ),
    dialogue(
        "protocol/addr-bad",
        "protocol",
        "A bad address or port is 300, and the peer may try again.",
        *(ask("a", f"ADDR {{a}} {address}", 300) for address in ("nonsense", "{host}", "{host}:0", "{host}:99999")),
        *(ask("a", f"ADDR {{a}} {address}", 300) for address in ("{host}:x", "0.0.0.0:4001")),
        ask("a", "WHO", 200, lacks=["PEER {a} *"]),
        _LOGIN_A,
    ),
    dialogue(
        "protocol/addr-not-own",
        "protocol",
        "An address that is not the connection's is replaced by the connection's.",
        ask("a", "ADDR {a} 192.0.2.99:4001", 200),
        ask("a", "WHO", 200, has=["PEER {a} {host}:4001"], lacks=["PEER {a} 192.0.2.99:*"]),
    ),
    dialogue(
        "protocol/have-before-addr",
        "protocol",
        "HAVE before ADDR is 300, and registers nothing.",
        ask("a", "HAVE {file}", 300),
        ask("a", "WANT {file}", 300),
    ),
    dialogue(
        "protocol/have-want",
        "protocol",
        "A file that was registered is found, by everybody.",
        _LOGIN_A,
        _HAVE_A,
        ask("b", "WANT {file}", 200, has=[_A]),
        ask("b", "LIST", 200, has=["FILE {file}"]),
        ask("a", "WANT {file}", 200, has=[_A]),
    ),
    dialogue(
        "protocol/have-again",
        "protocol",
        "Registering a file again is 220, and changes nothing.",
        _LOGIN_A,
        _HAVE_A,
        ask("a", "HAVE {file}", 220),
        ask("a", "WANT {file}", 200, has=[_A]),
    ),
    dialogue(
        "protocol/two-holders",
        "protocol",
        "All holders of a file are listed.",
        _LOGIN_A,
        _HAVE_A,
        _LOGIN_B,
        ask("b", "HAVE {file}", 200),
        ask("c", "WANT {file}", 200, has=[_A, _B]),
    ),
    dialogue(
        "protocol/nobody-has-it",
        "protocol",
        "WANT of a file that nobody has is 300; asking needs no ADDR.",
        ask("a", "WANT {file}", 300),
        ask("a", "MD5SUM {file}", 300),
        ask("a", "LIST", 200, lacks=["FILE {file}"]),
    ),
    dialogue(
        "protocol/donthave",
        "protocol",
        "DONTHAVE withdraws one file and no other.",
        _LOGIN_A,
        _HAVE_A,
        ask("a", "HAVE {file2}", 200),
        ask("a", "DONTHAVE {file}", 200, 220),
        ask("b", "WANT {file}", 300),
        ask("b", "WANT {file2}", 200, has=[_A]),
        ask("a", "DONTHAVE {file3}", 200, 220),
    ),
    dialogue(
        "protocol/quoting",
        "protocol",
        "Names are quoted with %XX; what %XX stands for counts.",
        _LOGIN_A,
        ask("a", "HAVE %6fsp2p%20{file}", 200),
        ask("b", "WANT osp2p%20{file}", 200, has=[_A]),
        ask("b", "LIST", 200, has=["FILE osp2p%20{file}"]),
        ask("a", "HAVE 100%{file}", 200),
        ask("b", "WANT 100%25{file}", 200, has=[_A]),
    ),
    dialogue(
        "protocol/any-byte",
        "protocol",
        "A name is bytes: what is no letter comes back quoted.",
        _LOGIN_A,
        ask("a", "HAVE \xff\xe9{file}", 200),
        ask("b", "WANT %ff%E9{file}", 200, has=[_A]),
        ask("b", "LIST", 200, has=["FILE %FF%E9{file}"]),
    ),
    dialogue(
        "protocol/md5",
        "protocol",
        "A checksum that came with HAVE, or later, is told.",
        _LOGIN_A,
        ask("a", f"HAVE {{file}} {ONE}", 200),
        ask("b", "MD5SUM {file}", 200, has=[ONE]),
        ask("a", "HAVE {file2}", 200),
        ask("b", "MD5SUM {file2}", 300),
        ask("a", f"HAVE {{file2}} {ONE}", 200, 220),
        ask("b", "MD5SUM {file2}", 200, has=[ONE]),
    ),
    dialogue(
        "protocol/md5-malformed",
        "protocol",
        "A malformed checksum is 500, and registers nothing.",
        _LOGIN_A,
        ask("a", "HAVE {file} short", 500),
        ask("a", "HAVE {file} zzzzzzzzzzzzzzzzzzzzzz", 500),
        ask("a", "HAVE {file} " + "a" * 23, 500),
        ask("b", "WANT {file}", 300),
    ),
    dialogue(
        "protocol/md5-contradiction",
        "protocol",
        "A checksum that contradicts the registered one is 500, and its peer no holder.",
        _LOGIN_A,
        ask("a", f"HAVE {{file}} {ONE}", 200),
        _LOGIN_B,
        ask("b", f"HAVE {{file}} {OTHER}", 500),
        ask("c", "WANT {file}", 200, has=[_A], lacks=[_B]),
        ask("c", "MD5SUM {file}", 200, has=[ONE]),
        ask("b", f"HAVE {{file}} {ONE}", 200),
        ask("c", "WANT {file}", 200, has=[_A, _B]),
    ),
    dialogue(
        "protocol/checkpeer",
        "protocol",
        "CHECKPEER tells whether a peer is logged in, with one of its files.",
        ask("a", "ADDR {a} 192.0.2.99:4001", 200),
        ask("b", "CHECKPEER {a} {host}:4001", 200, lacks=["FILE *"]),
        _HAVE_A,
        ask("b", "CHECKPEER {a} {host}:4001", 200, has=["FILE {file}"]),
        ask("b", "CHECKPEER {a} {host}:4009", 300),
        ask("b", "CHECKPEER {b} {host}:4001", 300),
        ask("b", "CHECKPEER {a} nonsense", 300),
    ),
    dialogue(
        "protocol/notify-order",
        "protocol",
        "NOTIFY before ADDR is 300, NONOTIFY 220; behind it both are 200.",
        ask("a", "NOTIFY", 300),
        ask("a", "NONOTIFY", 220),
        _LOGIN_A,
        ask("a", "NOTIFY", 200),
        ask("a", "NONOTIFY", 200),
    ),
    Scene(Check("protocol/notify", "protocol", "Who said NOTIFY is called when another peer logs in."), _notify),
    dialogue(
        "protocol/blocknotify",
        "protocol",
        "BLOCKNOTIFY is answered when another peer logs in, and not before.",
        _LOGIN_A,
        say("a", "BLOCKNOTIFY\n"),
        quiet("a", "BLOCKNOTIFY"),
        _LOGIN_B,
        hear("a", 200, has=[_B]),
        ask("a", "HELP", 200),
    ),
    dialogue(
        "protocol/quit",
        "protocol",
        "QUIT is answered 200, closes, and takes the registrations along.",
        _LOGIN_A,
        _HAVE_A,
        ask("a", "QUIT for today", 200),
        ends("a", silently=True),
        until("b", "WANT {file}", 300),
        ask("b", "WHO", 200, lacks=["PEER {a} *"]),
        ask("b", "q", 200),
        ends("b", silently=True),
    ),
    dialogue(
        "protocol/leaving",
        "protocol",
        "Who closes the connection without a word takes the registrations along.",
        _LOGIN_A,
        _HAVE_A,
        ask("b", "WANT {file}", 200, has=[_A]),
        leave("a"),
        until("b", "WANT {file}", 300),
        ask("b", "WHO", 200, lacks=["PEER {a} *"]),
    ),
    dialogue(
        "protocol/packets",
        "protocol",
        "Many commands in one packet are answered in order, one command in many packets once.",
        say("a", "ADDR {a} {host}:4001\nHAVE {file}\nWANT {file}\nHAVE {file}\nSING\n"),
        hear("a", 200),
        hear("a", 200),
        hear("a", 200, has=[_A]),
        hear("a", 220),
        hear("a", 500),
        say("a", "WAN"),
        quiet("a", "half a command"),
        say("a", "T {file}\n"),
        hear("a", 200, has=[_A]),
    ),
    dialogue(
        "robustness/byte-by-byte",
        "robustness",
        "A command that comes byte by byte is answered like any other, and delays nobody.",
        say("a", "ADDR {a} {host}:4001\nHAVE {file}\nWA", byte_by_byte=True),
        hear("a", 200),
        hear("a", 200),
        ask("b", "WANT {file}", 200, has=[_A]),
        say("a", "NT {file}\n", byte_by_byte=True),
        hear("a", 200, has=[_A]),
    ),
    dialogue(
        "robustness/reset",
        "robustness",
        "A connection that is reset ends for itself alone.",
        _LOGIN_A,
        _HAVE_A,
        _LOGIN_B,
        ask("b", "HAVE {file}", 200),
        leave("a", "reset"),
        ask("b", "HELP", 200),
        ask("c", "WANT {file}", 200, has=[_B]),
    ),
    dialogue(
        "robustness/half-close",
        "robustness",
        "Who has said all and ends his direction still gets his answers.",
        say("a", "HELP\nWHO\n"),
        leave("a", "half"),
        hear("a", 200),
        hear("a", 200),
        ends("a"),
    ),
    dialogue(
        "robustness/long-line",
        "robustness",
        "A line without an end does not go on for ever: the connection ends, and no other.",
        ask("b", "HELP", 200),
        say("a", "WANT " + "a" * 200_000, may_end=True),
        ends("a"),
        ask("b", "HELP", 200),
    ),
    dialogue(
        "robustness/alias-injection",
        "robustness",
        "An alias with a line end in it makes no line of its own in anybody's answer.",
        ask("a", "ADDR {a}%0AFILE%20{file}%0A200%20x {host}:4001"),
        ask("b", "WHO", 200, lacks=["FILE *"]),
        ask("b", "HELP", 200, lacks=["PEER *", "FILE *"]),
    ),
    dialogue(
        "robustness/odd-bytes",
        "robustness",
        "Bytes that are no text are 500 or ignored, and the program lives.",
        say("a", "\x00\x01\xff\xfe %00 %\n", may_end=True),
        say("a", "HAVE %00 \x80\n", may_end=True),
        leave("a"),
        say("b", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x9f" * 40 + "\n", may_end=True),
        leave("b", "reset"),
        ask("c", "HELP", 200),
    ),
)
