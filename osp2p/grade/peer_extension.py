"""What a peer does behind HELLO: OSP2P/2."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from osp2p.content.chunks import chunk_bounds, chunk_count
from osp2p.errors import MalformedLine
from osp2p.grade.stage import Stage
from osp2p.grade.steps import Scene, Step, ask, body, check_body, dialogue, ends, hear, say
from osp2p.grade.verdict import Check, Wrong
from osp2p.wire.entry import parse_file_line

_HELLO = ask("a", "HELLO OSP2P/2", 200)
_FALSE = "1" * 64

#: How long a peer may take to hash its file.
_HASHED_WITHIN = 15.0
_HASHED_PAUSE = 0.1


async def _take(stage: Stage, steps: Sequence[Step]) -> None:
    for step in steps:
        await step.take(stage)


async def wait_hashed(stage: Stage) -> None:
    """Wait until the file is hashed: a peer that has just begun to share may say that it is busy."""
    with trio.move_on_after(_HASHED_WITHIN):
        await stage.ask("HELLO OSP2P/2", await stage.on("a"))
        while True:
            reply = await stage.ask("STAT {file}", await stage.on("a"))
            if any(line.startswith(b"B3 ") for line in reply.data):
                return
            await trio.sleep(_HASHED_PAUSE)


async def _browse(stage: Stage) -> None:
    """The file is on a page of its own, wherever it stands among others."""
    await _take(stage, [_HELLO])
    reply = await stage.ask("LIST prefix={file}", await stage.on("a"))
    if reply.code != 200:
        raise Wrong(f"LIST is answered {reply.code}, not 200")
    try:
        entries = [parse_file_line(line) for line in reply.data]
    except MalformedLine as error:
        raise Wrong(f"LIST has a line that cannot be read: {error}") from None
    own = [entry for entry in entries if entry.name == stage.specimen.name]
    if not own:
        raise Wrong("LIST does not name the file that it serves")
    if own[0].attributes.get(b"size") != stage.values["size"].encode():
        raise Wrong("LIST names the file with another size than it has")
    if own[0].attributes.get(b"b3", stage.values["b3"].encode()) != stage.values["b3"].encode():
        raise Wrong("LIST names the file with another b3 than its content has")
    await _take(stage, [ask("a", "LIST after={file} prefix={file} max=1", 200, lacks=["FILE {file}"])])


async def _chunks(stage: Stage) -> None:
    """The list that it tells makes the b3 that the content has."""
    hashes = stage.specimen.chunk_hashes
    await _take(stage, [_HELLO])
    reply = await stage.ask("CHUNKS {file} b3={b3}", await stage.on("a"))
    wanted = tuple(b"CHUNK %d %s" % (index, one.hex().encode()) for index, one in enumerate(hashes))
    if reply.code != 200 or reply.data != wanted:
        raise Wrong(f"CHUNKS is answered {reply.code} with {len(reply.data)} lines that are not the content's hashes")
    last = len(hashes) - 1
    if hashes:
        line = f"CHUNK {last} {hashes[last].hex()}"
        await _take(stage, [ask("a", f"CHUNKS {{file}} {last}-{last}", 200, has=[line])])
        await _take(stage, [ask("a", f"CHUNKS {{file}} {last}-{last + 1}", 500)])


async def _ranges(stage: Stage) -> None:
    size = len(stage.specimen.content)
    await _take(stage, [_HELLO, ask("a", "GET {file} OSP2P/2", 200, has=["DATA {size}"]), body("a")])
    for first, last in sorted({(0, size - 1), (0, 0), (size // 3, size // 2), (size - 1, size - 1)}):
        if 0 <= first <= last:
            line = f"GET {{file}} OSP2P/2 range={first}-{last} b3={{b3}}"
            has = [f"DATA {last - first + 1}"]
            await _take(stage, [ask("a", line, 200, has=has), body("a", first, last - first + 1)])
    for bad in (f"{size}-{size}", f"0-{size}", "1-0", "0", "-1", "a-b", "0-0x1"):
        await _take(stage, [ask("a", f"GET {{file}} OSP2P/2 range={bad}", 500)])
    await _take(stage, [ask("a", "STAT {file}", 200)])


async def _any(stage: Stage) -> None:
    size = len(stage.specimen.content)
    count = chunk_count(size)
    await _take(stage, [_HELLO])
    talk = await stage.on("a")
    if not count:
        return
    reply = await stage.ask(f"GET {{file}} OSP2P/2 any=0-{count - 1} b3={{b3}}", talk)
    words = reply.data[0].split() if reply.code == 200 and reply.data else []
    chunk = next((int(word[6:]) for word in words if word.startswith(b"chunk=") and word[6:].isdigit()), count)
    if words[:1] != [b"DATA"] or chunk >= count:
        raise Wrong(f"any= is answered {reply.code} without a line 'DATA length chunk=N'")
    offset, length = chunk_bounds(size, chunk)
    content = stage.specimen.content[offset : offset + length]
    if words[1] != b"%d" % len(content):
        raise Wrong(f"any= announces {words[1].decode('latin-1')} bytes of a chunk of {len(content)}")
    check_body(await talk.read(len(content)), content, f"chunk {chunk}")
    await _take(stage, [ask("a", f"GET {{file}} OSP2P/2 any=0-{count} b3={{b3}}", 500)])
    await _take(stage, [ask("a", "GET {file} OSP2P/2 any=0", 500)])


PEER_EXTENSION: tuple[Scene, ...] = (
    dialogue(
        "osp2p2/hello",
        "OSP2P/2",
        "HELLO is answered with features; another version is refused by closing without a byte.",
        ask("a", "HELLO OSP2P/2 colour=blue", 200, has=["FEATURE **"]),
        say("b", "HELLO OSP2P/99\n"),
        ends("b", silently=True),
    ),
    Scene(Check("osp2p2/list", "OSP2P/2", "LIST names what is shared, page by page, with size and b3."), _browse),
    dialogue(
        "osp2p2/stat",
        "OSP2P/2",
        "STAT tells size, content id, and what is here.",
        _HELLO,
        ask("a", "STAT {file}", 200, has=["SIZE {size}", "B3 {b3}", "SERIAL *", "HAVE all"]),
        ask("a", "STAT {file} b3={b3}", 200, has=["SIZE {size}"]),
        ask("a", "STAT {file2}", 300),
    ),
    Scene(Check("osp2p2/chunks", "OSP2P/2", "CHUNKS tells the hashes that prove the content."), _chunks),
    Scene(
        Check("osp2p2/ranges", "OSP2P/2", "GET gives any range of bytes, and refuses what is none with 500."), _ranges
    ),
    Scene(Check("osp2p2/any", "OSP2P/2", "GET any= gives one whole chunk and says which."), _any),
    dialogue(
        "osp2p2/refusals",
        "OSP2P/2",
        "What is not here is 300, other content 301, nonsense 500; and the connection goes on.",
        _HELLO,
        ask("a", "GET {file2} OSP2P/2", 300),
        ask("a", f"GET {{file}} OSP2P/2 b3={_FALSE}", 301, has=["B3 {b3}"]),
        ask("a", "GET ..%2F..%2F..%2Fetc%2Fpasswd OSP2P/2", 300),
        ask("a", "GET {file} OSP2P", 500),
        ask("a", "GET {file} OSP2P/2 b3=xyz", 500),
        ask("a", "SING", 500),
        ask("a", "STAT {file}", 200),
    ),
    dialogue(
        "osp2p2/pipelined",
        "OSP2P/2",
        "Requests that are sent ahead are answered in order, each with its bytes.",
        say("a", "HELLO OSP2P/2\nGET {file} OSP2P/2\nGET {file2} OSP2P/2\nGET {file} OSP2P/2\nQUIT\n"),
        hear("a", 200),
        hear("a", 200, has=["DATA {size}"]),
        body("a"),
        hear("a", 300),
        hear("a", 200, has=["DATA {size}"]),
        body("a"),
        hear("a", 200),
        ends("a", silently=True),
    ),
)
