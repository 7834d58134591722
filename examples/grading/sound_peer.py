"""A sound peer in plain Python: what a careful student might hand in.

    python sound_peer.py share PORT DIR            serve the files of DIR
    python sound_peer.py get TRACKER DIR NAME...   fetch files from whoever the tracker at HOST:PORT names

It believes nobody: every wait has an end, every size has a bound, a name is looked at after it has been unquoted, and a
file gets its name when its checksum is right.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

MAX_LINE = 4096
MAX_CONNECTIONS = 400
MAX_PER_HOST = 100
REQUEST_SECONDS = 10.0
SEND_SECONDS = 20.0

MAX_REPLY = 1_000_000
MAX_FILE = 200_000_000
TRACKER_SECONDS = 5.0
SILENT_SECONDS = 2.0
SLOWEST_RATE = 20_000
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@"


def file_in(directory: Path, name: bytes) -> Path | None:
    """The file of a name, if it is a plain one: no directories, nothing hidden."""
    if b"/" in name or b"\0" in name or name.startswith(b".") or len(name) > 255 or not name:
        return None
    return directory / os.fsdecode(name)


# --- sharing ---


class Server:
    """Serves the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request, a file, the end."""
        host = (writer.get_extra_info("peername") or ("?",))[0]
        self.hosts[host] += 1
        try:
            if self.hosts[host] <= MAX_PER_HOST and self.hosts.total() <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    line = await reader.readuntil(b"\n")
                async with asyncio.timeout(SEND_SECONDS):
                    await self.answer(line, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whatever is wrong: close
        finally:
            self.hosts[host] -= 1
            writer.transport.abort()

    async def answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        """Send the file that a line asks for; nothing, if it asks for none."""
        words = line.split()
        if len(words) != 3 or words[0] != b"GET" or words[2] != b"OSP2P":
            return
        path = file_in(self.directory, unquote_to_bytes(words[1]))
        if path is None or path.is_symlink() or not path.is_file():
            return
        writer.transport.set_write_buffer_limits(0)  # so that draining means that all of it has left
        with path.open("rb") as file:
            while block := file.read(65536):
                writer.write(block)
                await writer.drain()


async def share(port: int, directory: Path) -> None:
    server = Server(directory)
    async with await asyncio.start_server(server.serve, "127.0.0.1", port, limit=MAX_LINE, backlog=1000) as listener:
        await listener.serve_forever()


# --- fetching ---


def checksum(digest: bytes) -> str:
    number = int.from_bytes(digest, "little")
    return "".join(ALPHABET[number >> shift & 63] for shift in range(0, 128, 6))


async def ask(host: str, port: int, command: str) -> list[str]:
    """Ask the tracker one thing. Returns: the data lines of its answer; none, if it refuses."""
    lines: list[str] = []
    async with asyncio.timeout(TRACKER_SECONDS):
        reader, writer = await asyncio.open_connection(host, port, limit=MAX_LINE)
        try:
            for sent in ("", command + "\n"):  # first its greeting, then its answer
                writer.write(sent.encode("ascii"))
                lines, size = [], 0
                while not re.match(r"\d\d\d( |$)", line := (await reader.readuntil(b"\n")).decode("latin-1").strip()):
                    lines.append(line)
                    size += len(line)
                    if size > MAX_REPLY:
                        raise ValueError("the tracker's answer has no end")
                if not line.startswith("2"):
                    return []
        finally:
            writer.close()
    return lines


async def receive(host: str, port: int, name: bytes, known: str | None, path: Path) -> bool:
    """Fetch from one holder to a temporary file. Returns: whether it is the file."""
    begun = asyncio.get_running_loop().time()
    digest, size = hashlib.md5(), 0
    async with asyncio.timeout(SILENT_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET %s OSP2P\n" % quote_from_bytes(name, safe="").encode())
        with path.open("wb") as file:
            while True:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        data = await reader.read(65536)
                except TimeoutError:  # silent: perhaps it is one of those that never close
                    return size > 0 and known in (None, checksum(digest.digest()))
                if not data:
                    break
                file.write(data)
                digest.update(data)
                size += len(data)
                seconds = asyncio.get_running_loop().time() - begun
                if size > MAX_FILE or (seconds > 3 and size / seconds < SLOWEST_RATE):
                    return False
    finally:
        writer.close()
    return checksum(digest.digest()) == known if known else size > 0


async def fetch(tracker: tuple[str, int], directory: Path, name: bytes) -> bool:
    """Fetch one file from the first holder that gives the right bytes."""
    path = file_in(directory, name)
    if path is None:
        return False
    word = quote_from_bytes(name, safe="")
    known = next(iter(await ask(*tracker, f"MD5SUM {word}")), None)
    peers = [line.split()[2] for line in await ask(*tracker, f"WANT {word}") if line.count(" ") == 2]
    partial = path.with_name(f".{path.name}.part")
    places = asyncio.Semaphore(20)

    async def is_there(address: str) -> bool:
        """Somebody listens. Most of many peers may not be there, and they are looked at side by side."""
        host, _, port = address.rpartition(":")
        async with places:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
            except (OSError, ValueError, OverflowError, TimeoutError):
                return False
        return True

    many = len(peers) > 20
    there = await asyncio.gather(*map(is_there, peers)) if many else [True] * len(peers)
    for address in [peer for peer, listens in zip(peers, there, strict=True) if listens]:
        host, _, port = address.rpartition(":")
        try:
            if await receive(host, int(port), name, known, partial):
                partial.replace(path)
                return True
        except (OSError, ValueError, OverflowError, TimeoutError):
            continue
        finally:
            partial.unlink(missing_ok=True)
    return False


async def get(tracker: str, directory: Path, names: list[str]) -> int:
    host, _, port = tracker.rpartition(":")
    failed = 0
    for name in names:
        try:
            arrived = await fetch((host, int(port)), directory, os.fsencode(name))
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            print(f"the tracker: {error!r}")
            arrived = False
        failed += not arrived
        print(f"{name!a}: {'here' if arrived else 'nobody gave it'}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("share", "get"):
        sys.exit(f"usage: {sys.argv[0]} share PORT DIR, or {sys.argv[0]} get TRACKER DIR NAME...")
    if sys.argv[1] == "share":
        asyncio.run(share(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        sys.exit(asyncio.run(get(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])))
