"""What lines mean, in words: for people who read a conversation."""

from __future__ import annotations

from osp2p.wire.reply import terminator_code

#: Codes of replies. What one says to a certain command stands in the tables of verbs.
CODES: dict[int, str] = {
    200: "done",
    220: "nothing to do, or done with a remark",
    300: "refused in this state: nobody has it, not logged in yet, once too often, too many",
    301: "the name has another content here than b3= says",
    302: "none of it, or not all of it, is here yet",
    303: "busy: ask again after the milliseconds behind RETRY",
    500: "malformed: an unknown verb, a wrong number of words, or a word that is not what it should be",
}

#: Classes of codes, for those that are not in the table.
CLASSES: dict[int, str] = {2: "success", 3: "refused in this state", 5: "malformed"}

#: Data lines by keyword: what their words are.
DATA: dict[bytes, str] = {
    b"PEER": "a peer: its alias, and the address where it listens",
    b"FILE": "a file: its name, with every byte but letters, digits and $-_.+!*'(), as %XX",
    b"FEATURE": "something of OSP2P/2 that the other side understands",
    b"SIZE": "the file's length in bytes, as its holders claim",
    b"B3": "the content id: it proves the list of chunks, and so the content",
    b"MD5": "the checksum, in 22 characters of six bits each",
    b"PEERS": "how many hold all of it",
    b"PARTIAL": "how many hold a part of it, and still fetch the rest",
    b"SERIAL": "a number that grows with each chunk that this holder gains: STAT since= waits for more",
    b"SINCE": "the HAVE lines tell only what was gained since that serial",
    b"HAVE": "which chunks are here: all, or ranges of their numbers",
    b"CHUNK": "a chunk's number and its BLAKE3 hash",
    b"DATA": "so many bytes follow behind the line that begins with 200",
    b"RETRY": "how many milliseconds to wait before asking again",
    b"NOTIFY": "a new peer has logged in: its alias, and where it listens",
}

#: Attributes by key.
ATTRIBUTES: dict[bytes, str] = {
    b"v": "it speaks OSP2P/2",
    b"size": "bytes of the file",
    b"b3": "the content id",
    b"part": "it still fetches, and serves the chunks that it has",
    b"name": "under what name",
    b"new": "chunks gained since the last answer",
    b"chunk": "which chunk it picked",
}


def explain_line(line: bytes) -> str | None:
    """What a line of an answer means.

    Args:
        line: without its LF.

    Returns: a sentence without its stop; None where there is nothing to say.
    """
    if (code := terminator_code(line)) is not None:
        return _explain_code(code, "the end of the answer")
    if line[:3].isdigit() and line[3:4] == b"-":
        return _explain_code(int(line[:3]), "a remark; the answer goes on")
    words = line.split()
    if not words or words[0] not in DATA:
        return "a checksum: MD5 in 22 characters" if len(words) == 1 and len(words[0]) == 22 else None
    keys = [word.partition(b"=")[0] for word in words[1:] if b"=" in word]
    said = [f"{key.decode()}: {ATTRIBUTES[key]}" for key in keys if key in ATTRIBUTES]
    return "; ".join([DATA[words[0]], *said])


def _explain_code(code: int, role: str) -> str:
    meaning = CODES.get(code) or CLASSES.get(code // 100, "a code that is not in the protocol")
    return f"{code}: {meaning} ({role})"
