"""What other peers really serve: an evil peer fetches it, as anybody may, to send it on in part or altered.

It is fetched before the name is claimed: two evil peers that asked each other while they serve would never end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from random import Random

import trio

from osp2p.evil.encounter import Bounds, Network, is_allowed, quote
from osp2p.evil.tracker import Tracker

_SECONDS_PER_HOLDER = 5.0
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
    """

    def __init__(
        self, tracker: Tracker, own: tuple[str, int], seed: int, bounds: Bounds, allowed: Sequence[Network]
    ) -> None:
        self._tracker = tracker
        self._own = own
        self._seed = seed
        self._room = bounds.content_bytes
        self._allowed = allowed
        self._known: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, name: bytes) -> bytes:
        """The content of a file, or noise if nobody gave it or it did not fit."""
        if name in self._known:
            return self._known[name]
        rng = Random(f"{self._seed} {name.hex()}")
        return rng.randbytes(rng.randint(1000, 100_000))

    async def learn(self, name: bytes) -> bytes | None:
        """Fetch a file's content from a holder, if there is room for it.

        Returns: the checksum that the tracker knows, as it writes it.
        """
        known = await self._tracker.find_checksum(name)
        for host, port in await self._tracker.find_holders(name):
            if self._room > 0 and (host, port) != self._own and is_allowed(host, self._allowed):
                content = await self._fetch_from(host, port, name)
                if content and known in (None, _checksum(content)):
                    self._room -= len(content)
                    self._known[name] = content
                    break
        return known

    async def _fetch_from(self, host: str, port: int, name: bytes) -> bytes | None:
        content = bytearray()
        with trio.move_on_after(_SECONDS_PER_HOLDER):
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
        return None
