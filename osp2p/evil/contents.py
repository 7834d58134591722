"""What other peers really serve: an evil peer fetches it, as anybody may, to send it on in part or altered.

It is fetched before the name is claimed: two evil peers that asked each other while they serve would never end. Other
evil peers may be among the holders already, so several are asked at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from random import Random

import trio

from osp2p.errors import ConnectFailed, ConnectionLost
from osp2p.evil.bounds import Bounds, Subnet, is_allowed
from osp2p.evil.network import Network
from osp2p.evil.tracker import Tracker
from osp2p.evil.words import b3_of, quote, write_checksum

_SECONDS = 5.0
_HOLDERS_AT_A_TIME = 8


class Contents(Mapping[bytes, bytes]):
    """Honest contents by name.

    Args:
        network: where we ask from.
        tracker: where holders are asked for.
        own: our own addresses, which are never asked.
        seed: noise that stands in for a content is a function of it and of the name.
        bounds: `content_bytes` bounds what is kept, all names together.
        allowed: the only networks that are asked.
        known: contents that need not be fetched.
    """

    def __init__(
        self,
        network: Network,
        tracker: Tracker,
        own: Collection[tuple[str, int]],
        seed: int,
        bounds: Bounds,
        allowed: Sequence[Subnet],
        known: Mapping[bytes, bytes],
    ) -> None:
        self._network = network
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

    async def learn(self, name: bytes) -> dict[bytes, bytes]:
        """Fetch a file's content from a holder, if there is room for it.

        Returns: what the tracker says of the file: SIZE, B3 and MD5, as far as it knows them.
        """
        facts = await self._tracker.find_facts(name)
        checksum = facts.get(b"MD5")
        if checksum == write_checksum(b""):
            self._known[name] = b""
        if name not in self._known and self._room > 0:
            holders = await self._tracker.find_holders(name)
            others = [one for one in holders if one not in self._own and is_allowed(one[0], self._allowed)]
            content = await self._fetch(name, facts, others)
            if content is not None:
                self._room -= len(content)
                self._known[name] = content
        return facts

    async def _fetch(self, name: bytes, facts: Mapping[bytes, bytes], holders: list[tuple[str, int]]) -> bytes | None:
        """Ask several holders at a time. Returns: the first content of which the facts are true."""
        found: list[bytes] = []
        places = trio.Semaphore(_HOLDERS_AT_A_TIME)

        async def ask(host: str, port: int) -> None:
            async with places:
                content = await self._fetch_from(host, port, name)
            if content and _agrees(content, facts):
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
            stream = await self._network.connect(host, port)
        except ConnectFailed:
            return None
        try:
            await stream.send(b"GET %s OSP2P\n" % quote(name))
            while data := await stream.receive(65536):
                content += data
                if len(content) > self._room:
                    return None
        except ConnectionLost:
            return None
        finally:
            stream.close()
        return bytes(content)


def _agrees(content: bytes, facts: Mapping[bytes, bytes]) -> bool:
    if facts.get(b"B3", b"") not in (b"", b3_of(content)):
        return False
    return facts.get(b"MD5", b"") in (b"", write_checksum(content))
