"""What a peer does when it is asked for a file in the base protocol, and what odd company it bears.

Whatever is wrong, it closes without a byte: an old client would save an error text as the file.
"""

from __future__ import annotations

import trio

from osp2p.grade.stage import Stage, one_wrong
from osp2p.grade.steps import Scene, Step, check_body, dialogue, ends, gives, leave, say
from osp2p.grade.verdict import Check

#: Downloads side by side in one check.
_TOGETHER = 10

#: Where a name may lead that was cut into directories before it was unquoted, or not looked at.
_ESCAPES = (
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "../../../../../../../../etc/passwd",
    "..%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "....//....//....//....//....//....//etc/passwd",
    "./../{file}",
    "{file}/../../../../../../../../../etc/passwd",
    "/dev/zero",
    "/////////dev/zero",
    "..%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2Fdev%2Fzero",
    "{file}%00.txt",
    ".",
    "..",
    "%2F",
)


def _refused(label: str, request: str) -> tuple[Step, ...]:
    """A request that is answered by closing, and then the file itself."""
    return (say(label, request, may_end=True), ends(label, silently=True), leave(label))


async def _escapes(stage: Stage) -> None:
    for name in _ESCAPES:
        for step in _refused("a", f"GET {name} OSP2P\n"):
            await step.take(stage)
    for step in (say("a", "GET {file} OSP2P\n"), gives("a")):
        await step.take(stage)


async def _together(stage: Stage) -> None:
    content = stage.specimen.content

    async def fetch() -> None:
        talk = await stage.open()
        await talk.send(stage.fill("GET {file} OSP2P\n").encode("latin-1"))
        check_body(await talk.rest(len(content)), content, "the file")

    with one_wrong():
        async with trio.open_nursery() as nursery:
            for _ in range(_TOGETHER):
                nursery.start_soon(fetch)


PEER_BASE: tuple[Scene, ...] = (
    dialogue(
        "protocol/get",
        "protocol",
        "GET is answered with the file's bytes and the end of the connection, every time.",
        say("a", "GET {file} OSP2P\n"),
        gives("a"),
        say("b", "GET {file} OSP2P\n"),
        gives("b"),
    ),
    dialogue(
        "protocol/crlf",
        "protocol",
        "A CR before the LF is white space, and so are tabs and further blanks.",
        say("a", "GET \t {file}  OSP2P \r\n"),
        gives("a"),
    ),
    dialogue(
        "protocol/quoting",
        "protocol",
        "A name is what its %XX stand for.",
        say("a", "GET {quoted} OSP2P\n"),
        gives("a"),
    ),
    dialogue(
        "protocol/no-such-file",
        "protocol",
        "What is not shared is refused by closing without a byte.",
        *_refused("a", "GET {file2} OSP2P\n"),
        *_refused("b", "GET {file}.not-there OSP2P\n"),
        say("c", "GET {file} OSP2P\n"),
        gives("c"),
    ),
    dialogue(
        "protocol/odd-requests",
        "protocol",
        "A request that is none is refused by closing without a byte.",
        *_refused("a", "CHECKUPLOAD cat3.jpg successful!\n"),
        *_refused("a", "GET\n"),
        *_refused("a", "GET {file}\n"),
        *_refused("a", "HELLO OSP2P/99\n"),
        *_refused("a", "PUT {file} OSP2P\n"),
        *_refused("a", "GET {file} HTTP/1.1\n"),
        say("b", "GET {file} OSP2P\n"),
        gives("b"),
    ),
    dialogue(
        "protocol/packets",
        "protocol",
        "A request that comes in several packets is one request.",
        say("a", "GET {file}"),
        say("a", " OSP", byte_by_byte=True),
        say("a", "2P\n"),
        gives("a"),
    ),
    Scene(
        Check("robustness/escapes", "robustness", "A name that leads out of the shared directory is not shared."),
        _escapes,
    ),
    Scene(
        Check("robustness/together", "robustness", f"{_TOGETHER} who fetch at a time all get the whole file."),
        _together,
    ),
    dialogue(
        "robustness/byte-by-byte",
        "robustness",
        "A request that comes byte by byte is served, and delays nobody.",
        say("a", "GET {file} ", byte_by_byte=True),
        say("b", "GET {file} OSP2P\n"),
        gives("b"),
        say("a", "OSP2P\n", byte_by_byte=True),
        gives("a"),
    ),
    dialogue(
        "robustness/half-close",
        "robustness",
        "Who has asked and ends his direction still gets the file.",
        say("a", "GET {file} OSP2P\n"),
        leave("a", "half"),
        gives("a"),
    ),
    dialogue(
        "robustness/reset",
        "robustness",
        "A downloader that breaks off ends its own download alone.",
        say("a", "GET {file} OSP2P\n"),
        leave("a", "reset"),
        say("b", "GET {file}"),
        leave("b", "reset"),
        say("c", "GET {file} OSP2P\n"),
        gives("c"),
    ),
    dialogue(
        "robustness/long-line",
        "robustness",
        "A request without an end does not go on for ever: the connection ends, without a byte, and no other.",
        *_refused("a", "GET " + "a" * 200_000),
        say("b", "GET {file} OSP2P\n"),
        gives("b"),
    ),
    dialogue(
        "robustness/odd-bytes",
        "robustness",
        "Bytes that are no text are refused by closing, and the program lives.",
        *_refused("a", "\x00\x01\xff\xfe %00 %\n"),
        *_refused("a", "GET \xff\xfe\x80%ZZ OSP2P\n"),
        *_refused("a", "GET " + "%00" * 300 + " OSP2P\n"),
        *_refused("a", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x9f" * 40 + "\n"),
        say("b", "GET {file} OSP2P\n"),
        gives("b"),
    ),
)
