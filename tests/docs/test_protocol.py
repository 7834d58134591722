"""docs/protocol.md tells the truth: its sessions are played, its tables and numbers are compared with the code."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path

import pytest
import trio
from blake3 import blake3

from osp2p.content.chunks import chunk_count, chunk_size, content_id
from osp2p.errors import MalformedLine
from osp2p.wire.checksum import parse_md5, write_md5
from osp2p.wire.link import Link, parse_link
from osp2p.wire.ranges import parse_ranges
from osp2p.wire.word import quote, unquote
from tests.docs.dialogue import Session, read_sessions
from tests.docs.markdown import code, read_document, read_examples, read_table, section
from tests.docs.replay import Wire, differences
from tests.docs.worlds import PEER_PORT, TRACKER_PORT, hashes_of, open_world, pattern

DOCUMENT = read_document("protocol.md")
SESSIONS = read_sessions(DOCUMENT)
VECTORS = Path(__file__).parent.parent / "content" / "b3_vectors.json"


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
async def test_a_session_goes_as_printed(session: Session) -> None:
    assert await differences(session) == []


def printed(world: str) -> list[str]:
    """Everything that servers say in the sessions of one world."""
    return [line for session in SESSIONS if session.world == world for step in session.steps for line in step.printed]


# --- Part 1 ---


def test_words_are_sent_as_the_document_says() -> None:
    for raw, word in read_table(DOCUMENT, "raw bytes", "is sent as"):
        assert quote(code(raw).encode()).decode() == code(word)
        assert unquote(code(word).encode()).decode() == code(raw)


def test_words_are_read_as_the_document_says() -> None:
    for word, raw in read_table(DOCUMENT, "received", "means"):
        assert unquote(code(word).encode()).decode() == code(raw)


def test_the_unquoted_bytes_are_those_of_the_document() -> None:
    signs = next(read_examples(section(DOCUMENT, "## 1.2 Words"))).split()
    plain = {chr(value) for value in range(256) if quote(bytes([value])) == bytes([value])}
    assert plain == set(signs) | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def spell(digest: bytes, alphabet: str) -> str:
    """A checksum, made bit by bit from the document's words."""
    bits = "".join(f"{byte:08b}"[::-1] for byte in digest)
    return "".join(alphabet[int(bits[start : start + 6][::-1], 2)] for start in range(0, 128, 6))


def test_checksums_are_those_of_the_document() -> None:
    part = section(DOCUMENT, "## 1.6 Checksums")
    alphabet = next(read_examples(part)).strip()
    assert len(alphabet) == 64
    contents = [b"", b"a", b"hello, world\n"]
    rows = read_table(part, "file", "MD5 in hex", "checksum")
    for content, (_, in_hex, checksum) in zip(contents, rows, strict=True):
        digest = hashlib.md5(content).digest()
        assert (digest.hex(), spell(digest, alphabet)) == (code(in_hex), code(checksum))
        assert write_md5(digest).decode() == code(checksum)
        assert parse_md5(code(checksum).encode()) == digest


async def verbs_of(directory: Path, port: int) -> set[str]:
    """The verbs in a server's answer to HELP."""
    async with (
        open_world("node", directory) as world,
        await trio.open_tcp_stream("127.0.0.1", world.ports[port]) as stream,
    ):
        await stream.send_all(b"HELLO OSP2P/2\nHELP\nQUIT\n")
        heard = await Wire(stream, to_peer=False).read_all()
    return set(re.findall(r"^200-([A-Z0-9]+)(?![A-Za-z0-9])", heard.decode(), re.MULTILINE))


def verbs_in(part: str) -> set[str]:
    """The verbs in the first cells of a section's table of commands."""
    commands = [row[0] for row in read_table(section(DOCUMENT, part), "command", "answer")]
    return {word for cell in commands for word in re.findall(r"`([A-Z0-9]+)", cell)}


async def test_the_tracker_knows_the_verbs_of_the_document(tmp_path: Path) -> None:
    told = verbs_in("## 1.4 The tracker") | verbs_in("## 2.6 The tracker behind HELLO") | {"HELLO"}
    assert await verbs_of(tmp_path, TRACKER_PORT) == told


# --- Part 2 ---


async def test_a_peer_knows_the_verbs_of_the_document(tmp_path: Path) -> None:
    assert await verbs_of(tmp_path, PEER_PORT) == verbs_in("## 2.7 Peers behind HELLO")


@pytest.mark.parametrize(("whose", "world"), [("tracker", "tracker"), ("peer", "holder")])
def test_features_are_those_that_servers_name(whose: str, world: str) -> None:
    named = {line.removeprefix("FEATURE ") for line in printed(world) if line.startswith("FEATURE ")}
    told = {code(feature) for feature, _ in read_table(DOCUMENT, f"feature of a {whose}", "means")}
    assert {re.sub(r" \d+", " N", feature) for feature in named} == told


def test_every_refusal_of_a_peer_is_shown() -> None:
    shown = {line[:3] for line in printed("holder") if re.match(r"[345]\d\d ", line)}
    assert shown == {row[0] for row in read_table(DOCUMENT, "refusal", "means", "data line")}


def test_chunk_sizes_are_those_of_the_document() -> None:
    rows = read_table(DOCUMENT, "file size in bytes", "chunk size in bytes", "chunks")
    assert [
        [str(size), str(chunk_size(size)), str(chunk_count(size))] for size in (int(row[0]) for row in rows)
    ] == rows


def test_the_content_id_is_the_hash_of_the_text_that_is_shown() -> None:
    (text,) = [example for example in read_examples(DOCUMENT) if example.startswith("OSP2P/2 content\n")]
    hashes = bytes.fromhex("".join(text.split("\n")[3:]))
    size = int(text.split()[3])
    assert blake3(text.encode()).digest() == content_id(size, hashes)
    assert hashes == hashes_of(pattern(size))


@cache
def facts_of(size: int) -> list[str]:
    """What the document says of a file with the pattern."""
    hashes = hashes_of(pattern(size))
    last = f"`{hashes[-32:].hex()}`" if hashes else ""
    return [str(size), str(len(hashes) // 32), last, f"`{content_id(size, hashes).hex()}`"]


def test_the_vectors_are_right() -> None:
    rows = read_table(DOCUMENT, "file", "size", "chunks", "last chunk's hash", "b3")
    assert [row[1:] for row in rows] == [facts_of(int(row[1])) for row in rows]
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert [(row[0], int(row[1]), code(row[4])) for row in rows] == [
        (vector["title"], vector["size"], vector["b3"]) for vector in vectors
    ]


def test_ranges_are_read_as_the_document_says() -> None:
    for word, means in read_table(section(DOCUMENT, "## 2.8 Ranges"), "word", "means"):
        if means == "malformed":
            with pytest.raises(MalformedLine):
                parse_ranges(code(word).encode(), 9, 1000)
        else:
            ranges = parse_ranges(code(word).encode(), 9, 1000)
            assert [str(number) for first, last in ranges for number in range(first, last + 1)] == means.split()


def test_links_are_read_and_written_as_the_document_says() -> None:
    b3 = bytes(range(32))
    for text, tracker, name in read_table(DOCUMENT, "link", "tracker", "name"):
        host, port = tracker.split(", port ")
        link = Link(host, int(port), code(name).encode(), b3)
        assert str(link) == code(text).replace("=H", "=" + b3.hex())
        assert parse_link(str(link)) == link
