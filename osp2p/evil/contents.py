"""What other peers really serve: an evil peer fetches it, as anybody may, to send it on in part or altered.

It is fetched before the name is claimed: two evil peers that asked each other while they serve would never end. Other
evil peers may be among the holders already, so several are asked at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from random import Random

import trio

from osp2p.evil.encounter import Bounds, Network, is_allowed, quote
from osp2p.evil.tracker import Tracker

_SECONDS = 5.0
_HOLDERS_AT_A_TIME = 8
_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@"


def _checksum(content: bytes) -> bytes:
    number = int.from_bytes(hashlib.md5(content, usedforsecurity=False).digest(), "little")
    return bytes(_ALPHABET[(number >> shift) & 63] for shift in range(0, 128, 6))


class Contents(Mapping[bytes, bytes]):
    """Honest contents by name.

    Args:
        tracker: where holders are asked for.
        own: our own address, which is never asked.
        seed: noise that stands in for a content is a function of it and of the name.
        bounds: `content_bytes` bounds what is kept, all names together.
        allowed: the only networks that are asked.
        known: contents that need not be fetched.
    """

    def __init__(
        self,
        tracker: Tracker,
        own: tuple[str, int],
        seed: int,
        bounds: Bounds,
        allowed: Sequence[Network],
        known: Mapping[bytes, bytes],
    ) -> None:
        self._tracker = tracker
        self._own = own
        self._seed = seed
        self._room = bounds.content_bytes
        self._allowed = allowed
        self._known = dict(known)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, name: bytes) -> bytes:
        """The content of a file, or noise if nobody gave it, it did not fit, or there is none to alter."""
        if known := self._known.get(name):
            return known
        rng = Random(f"{self._seed} {name.hex()}")
        return rng.randbytes(rng.randint(1000, 100_000))

    async def learn(self, name: bytes) -> bytes | None:
        """Fetch a file's content from a holder, if there is room for it.

        Returns: the checksum that the tracker knows, as it writes it.
        """
        checksum = await self._tracker.find_checksum(name)
        if checksum == _checksum(b""):
            self._known[name] = b""
        if name not in self._known and self._room > 0:
            holders = await self._tracker.find_holders(name)
            others = [one for one in holders if one != self._own and is_allowed(one[0], self._allowed)]
            content = await self._fetch(name, checksum, others)
            if content is not None:
                self._room -= len(content)
                self._known[name] = content
        return checksum

    async def _fetch(self, name: bytes, checksum: bytes | None, holders: list[tuple[str, int]]) -> bytes | None:
        """Ask several holders at a time. Returns: the first content that has the checksum."""
        found: list[bytes] = []
        places = trio.Semaphore(_HOLDERS_AT_A_TIME)

        async def ask(host: str, port: int) -> None:
            async with places:
                content = await self._fetch_from(host, port, name)
            if content and checksum in (None, _checksum(content)):
                found.append(content)
                nursery.cancel_scope.cancel()

        with trio.move_on_after(_SECONDS):
            async with trio.open_nursery() as nursery:
                for host, port in holders:
                    nursery.start_soon(ask, host, port)
        return found[0] if found else None

    async def _fetch_from(self, host: str, port: int, name: bytes) -> bytes | None:
        content = bytearray()
        try:
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(b"GET %s OSP2P\n" % quote(name))
                async for data in stream:
                    content += data
                    if len(content) > self._room:
                        return None
        except (OSError, trio.BrokenResourceError):
            return None
        return bytes(content)
