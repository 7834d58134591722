"""Fuzz targets: names and the paths that they become, globs, journals, chunk lists, the cache of digests."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from osp2p.content import chunks as chunks_module
from osp2p.content.cache import HashCache
from osp2p.content.chunks import ChunkMap, chunk_count, content_id, split_hashes
from osp2p.content.digest import Digests, FileDigest, FileState
from osp2p.content.journal import JournalHeader, JournalState, parse_journal, write_header
from osp2p.content.name import (
    MAX_COMPONENT,
    backup_names,
    is_hidden,
    is_partial,
    is_shareable,
    journal_name,
    local_path,
    matches_glob,
    partial_name,
    safe_parts,
)
from osp2p.errors import MalformedLine, UnsafeName
from osp2p.limits import Limits
from tests.fuzz.target import Parameters, target

LIMITS = Limits(max_name=300)
DIRECTORY = Path("/srv/shared")

#: Bytes of a chunk where the real size would only make everything slow.
SMALL_CHUNK = 8


@contextmanager
def small_chunks() -> Iterator[None]:
    """Chunks of 8 bytes."""
    with patch.object(chunks_module, "MIN_CHUNK", SMALL_CHUNK):
        yield


@target("content/name", b"..", b"/", b"%2F", b"\0", b".", b"~", b".osp2p-part", b"a" * 256, max_length=600)
def names_stay_inside(data: bytes) -> bool:
    """A name is refused, or it is the path of something beneath the directory that it is joined to, byte for byte. It
    is refused only for a reason: what becomes another path when it is tidied up, a NUL, or a length.
    """
    parts = data.split(b"/")
    right = (
        0 < len(data) <= LIMITS.max_name
        and b"\0" not in data
        and all(0 < len(part) <= MAX_COMPONENT for part in parts)
        and os.path.normpath(data) == data
        and ".." not in map(os.fsdecode, parts)
        and data != b"."
    )
    try:
        assert b"/".join(safe_parts(data, LIMITS)) == data
    except UnsafeName:
        assert not right
        return False
    assert right
    path = local_path(DIRECTORY, data, LIMITS)
    assert os.fsencode(path) == os.fsencode(DIRECTORY) + b"/" + data
    assert Path(os.path.normpath(path)) == path
    assert DIRECTORY in path.parents
    check_names_beside(os.fsencode(path.name))
    return True


def check_names_beside(base: bytes) -> None:
    """The files that stand beside a file while it is fetched have names of their own, that nobody shares."""
    beside = [partial_name(base), partial_name(base, 1), partial_name(base, 12), journal_name(base)]
    beside.append(journal_name(base, renewed=True))
    backups = [os.fsencode(path.name) for path in islice(backup_names(DIRECTORY / os.fsdecode(base)), 3)]
    assert len({base, *beside, *backups}) == 9
    assert all(0 < len(name) <= MAX_COMPONENT and b"/" not in name for name in [*beside, *backups])
    assert all(is_hidden(name) and is_partial(name) and not is_shareable(name) for name in beside)
    assert not any(is_shareable(name) for name in backups)


@target("content/glob", b"*", b"**", b"?", b"[", b"[!", b"[a-c]", b"]", b"/", b".", b"\n", b"a", share=0.4)
def globs_match_as_in_a_shell(data: bytes) -> bool:
    """A name matches a pattern if and only if the plain, slow reading of the rules says so; and never a dotfile."""
    pattern, _, name = data.partition(b"|")
    pattern, name = pattern[:40], name[:40]
    expected = not is_hidden(name) and slow_match(tuple(name.split(b"/")), tuple(pattern.split(b"/")))
    assert matches_glob(name, pattern) == expected
    return expected


def slow_match(names: tuple[bytes, ...], patterns: tuple[bytes, ...]) -> bool:
    """Whether components match components, every possibility tried."""

    @cache
    def match(name: int, pattern: int) -> bool:
        if pattern == len(patterns):
            return name == len(names)
        if patterns[pattern] == b"**":
            last = pattern == len(patterns) - 1
            if last:
                return name < len(names) and all(names[name:])
            return match(name, pattern + 1) or (name < len(names) and names[name] != b"" and match(name + 1, pattern))
        return name < len(names) and slow_component(names[name], patterns[pattern]) and match(name + 1, pattern + 1)

    return match(0, 0)


def slow_component(name: bytes, pattern: bytes) -> bool:
    """Whether one component matches one component's pattern, every possibility tried."""

    @cache
    def match(place: int, at: int) -> bool:
        if at == len(pattern):
            return place == len(name)
        sign = pattern[at : at + 1]
        if sign == b"*":
            return match(place, at + 1) or (place < len(name) and match(place + 1, at))
        if place == len(name):
            return False
        if sign == b"?":
            return match(place + 1, at + 1)
        found = re.compile(rb"\[([!^]?)(\]?[^\]]*)\]", re.DOTALL).match(pattern, at) if sign == b"[" else None
        if found is not None and found[2]:
            return (name[place] in members(found[2])) != bool(found[1]) and match(place + 1, found.end())
        return name[place : place + 1] == sign and match(place + 1, at + 1)

    return match(0, 0)


def members(text: bytes) -> set[int]:
    """The bytes that stand between the brackets of a set."""
    found: set[int] = set()
    while text:
        if len(text) >= 3 and text[1:2] == b"-":
            found.update(range(text[0], text[2] + 1))
            text = text[3:]
        else:
            found.add(text[0])
            text = text[1:]
    return found


COUNT = 5
SIZE = COUNT * SMALL_CHUNK - 3
HASHES = bytes(range(COUNT * 32))
with small_chunks():
    B3 = content_id(SIZE, HASHES)
HEADER = JournalHeader(SIZE, B3, b"boot" * 4, 77)


def record(kind: int, body: bytes, crc: int) -> bytes:
    """A record with a right CRC, whatever is in it."""
    start = struct.pack(">BI", kind, len(body)) + body
    return start + struct.pack(">I", zlib.crc32(start, crc))


def assemble(script: bytes) -> bytes:
    """A journal of records that the script chooses, all CRCs right."""
    journal = write_header(HEADER)
    crc = int.from_bytes(journal[-4:], "big")
    parameters = Parameters(script)
    while parameters.rest:
        choice = parameters.number(8)
        if choice < 4:
            piece = record(2, struct.pack(">I", parameters.number(COUNT + 2)), crc)
        elif choice < 6:
            wrong = parameters.number(256) if choice == 5 else 0
            piece = record(1, HASHES[:-1] + bytes([HASHES[-1] ^ wrong]), crc)
        else:
            body = parameters.rest[: parameters.number(40)]
            piece = record(parameters.number(4), body, crc)
        journal += piece
        crc = int.from_bytes(piece[-4:], "big")
    return journal


@target("content/journal", write_header(HEADER)[:16], record(2, b"\0\0\0\1", 0), b"\0\0\0\2", b"\xff" * 8)
def journals_never_say_too_much(data: bytes) -> bool:
    """However a journal was put together and whatever then happened to its bytes, what is believed of it is what its
    first records said: every number is that of a chunk, a list of hashes makes the content id, the bytes that are
    believed say the same without those behind them, and a shorter file never says anything else.
    """
    parameters = Parameters(data)
    mode, place, flip = parameters.number(3), parameters.number(1000), parameters.number(256)
    with small_chunks():
        whole = parameters.rest if mode == 2 else assemble(parameters.rest)
        journal = bytearray(whole)
        if mode == 1 and place < len(journal):
            journal[place] ^= flip
        state = parse_journal(bytes(journal))
        if state is None:
            return False
        check_journal(bytes(journal), state)
        if mode == 1 and place < len(journal) and flip:
            believed = parse_journal(whole)
            assert believed is not None
            assert believed.proved[: len(state.proved)] == state.proved
            assert state.length <= place
    return state.length > len(write_header(HEADER))


def check_journal(journal: bytes, state: JournalState) -> None:
    count = chunk_count(state.header.size)
    assert state.length <= len(journal)
    assert all(0 <= index < count for index in state.proved)
    assert state.hashes is None or content_id(state.header.size, state.hashes) == state.header.b3
    assert parse_journal(journal[: state.length]) == state
    cut = parse_journal(journal[: state.length - 1])
    if cut is not None:
        assert state.proved[: len(cut.proved)] == cut.proved
        assert cut.length < state.length
    if count:
        more = parse_journal(journal[: state.length] + record(2, b"\0\0\0\0", state.crc))
        assert more is not None
        assert more.proved == [*state.proved, 0]


@target("content/chunk-map", b"0-9", b",", b"-", b"1,3-5", b" ", b"0")
def chunk_maps_are_sets(data: bytes) -> bool:
    """What a holder says it has, in several words, is refused or a set of chunks. It is the same set in words of any
    length, and what it gained since any moment is what was added since.
    """
    parameters = Parameters(data)
    count = parameters.number(200)
    width = 1 + parameters.number(40)
    since = parameters.number(200)
    try:
        chunks = ChunkMap.parse(parameters.rest.split(), count)
    except MalformedLine:
        return False
    here = list(chunks)
    assert here == sorted(set(here))
    assert all(0 <= index < count for index in here)
    assert sorted([*here, *chunks.missing()]) == list(range(count))
    assert chunks.complete == (len(here) == count)
    again = ChunkMap.parse(chunks.write(width), count)
    assert list(again) == here
    assert len(again) == len(chunks) == chunks.serial == len(here)
    gained = chunks.gained_since(since)
    assert (gained is None) == (since > len(here))
    if gained is not None:
        assert [index for first, last in gained for index in range(first, last + 1)] == here[since:]
    return bool(here)


PATH = b"/srv/shared/cat.jpg"
FILE = FileDigest(FileState(5, 1, 2), Digests(b"m" * 16, b"b" * 32), b"h" * 32)


@cache
def sound_cache() -> bytes:
    """The bytes of a cache that knows two files."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cache"
        known = HashCache(path)
        known.store([(PATH, FILE), (PATH + b"2", FILE)])
        known.close()
        return path.read_bytes()


@target("content/cache", b"SQLite format 3\0", b"\0\0\0\1", b"CREATE TABLE", share=0.01)
def a_damaged_cache_is_no_cache(data: bytes) -> bool:
    """Whatever the bytes of the cache's file are, nothing is raised, nothing that is not a digest comes out of it, and
    what is stored in it afterwards is there, unless the cache says what its problem is.
    """
    parameters = Parameters(data)
    if parameters.number(4) == 0:
        damaged = bytearray(parameters.rest)
    else:
        damaged = bytearray(sound_cache())
        while parameters.rest:
            place = parameters.number(len(damaged)) if parameters.number(2) else parameters.number(1000)
            damaged[place] ^= parameters.number(256)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        path = Path(directory) / "cache"
        path.write_bytes(damaged)
        hash_cache = HashCache(path)
        try:
            found = hash_cache.load(b"/srv/shared")
            for known in found.values():
                assert known.state.size >= 0
                assert (len(known.digests.md5), len(known.digests.b3)) == (16, 32)
            assert hash_cache.load_file(PATH) == found.get(PATH)
            hashes = hash_cache.hashes(PATH, 5, FILE.digests.b3)
            assert hashes is None or all(len(part) == 32 for part in split_hashes(hashes))
            hash_cache.store([(PATH, FILE)])
            stored = hash_cache.load_file(PATH)
            assert hash_cache.problem is not None or (stored is not None and stored.digests == FILE.digests)
        finally:
            hash_cache.close()
    return PATH in found
