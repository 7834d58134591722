"""As much of a caller as an attack on a node that takes calls needs: a key, signed lines, documents."""

from __future__ import annotations

import hashlib
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from osp2p.evil.bounds import OtherSideLeft, Unsound
from osp2p.evil.encounter import Target
from osp2p.evil.wire import Answer, Wire


def write_document(method: bytes, params: bytes = b"") -> bytes:
    """The document of a call. Args: params: already written, each in ``<param>``."""
    return b"<?xml version='1.0'?><methodCall><methodName>%s</methodName><params>%s</params></methodCall>" % (
        method,
        params,
    )


class CallWire:
    """A connection behind HELLO to a node that takes calls; `open_calls` opens one.

    Attributes:
        wire: the connection.
        to: the node's address.
        now: the node's clock in milliseconds, as it told when it was asked.
    """

    def __init__(self, wire: Wire, to: bytes, rng: Random) -> None:
        self.wire = wire
        self.to = to
        self.now = 0
        self._rng = rng
        self._key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        self.key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.sender = hashlib.sha1(self.key + b"osp2p", usedforsecurity=False).hexdigest().encode()

    def write(
        self,
        method: bytes,
        document: bytes,
        *,
        time: int | None = None,
        timeout: int = 5000,
        length: int | None = None,
        signature: bytes | None = None,
        nonce: bytes | None = None,
    ) -> bytes:
        """A call's line with its LF; without the document, which stands behind it. What is not said is right."""
        nonce = (nonce or self._rng.randbytes(16)).hex().encode()
        time = self.now if time is None else time
        length = len(document) if length is None else length
        text = b"OSP2P/2 call\nmethod %s\nto %s\nfrom %s\nid %s\ntime %d\ntimeout %d\nlength %d\nsha256 %s\n" % (
            method, self.to, self.sender, nonce, time, timeout, length, hashlib.sha256(document).hexdigest().encode(),
        )  # fmt: skip
        signature = self._key.sign(text) if signature is None else signature
        return b"CALL %s to=%s from=%s key=%s id=%s time=%d timeout=%d length=%d sig=%s\n" % (
            method, self.to, self.sender, self.key.hex().encode(), nonce, time, timeout, length,
            signature.hex().encode(),
        )  # fmt: skip

    async def learn_time(self) -> None:
        """Make a call of long ago, which is refused with the time that it is for the node."""
        document = write_document(b"system.listMethods")
        await self.wire.send(self.write(b"system.listMethods", document, time=0) + document)
        answer = await self.wire.read_answer()
        told = next((line[4:] for line in answer.data if line.startswith(b"NOW ")), b"") if answer else b""
        if not told.isdigit():
            raise Unsound("takes a call of long ago, or does not say what time it is")
        self.now = int(told)

    async def call(self, method: bytes, document: bytes | None = None) -> Answer | None:
        """Make a call. Returns: the answer, its document read and thrown away; None if the node closes instead."""
        document = write_document(method) if document is None else document
        await self.wire.send(self.write(method, document) + document)
        return await self.read_result()

    async def read_result(self) -> Answer | None:
        """Read an answer and the document behind it."""
        answer = await self.wire.read_answer()
        words = answer.data[0].split() if answer is not None and answer.data else []
        left = int(words[1]) if len(words) > 1 and words[0] == b"RESULT" else 0
        while left > 0 and (data := await self.wire.receive(min(left, 65536))):
            left -= len(data)
        return answer


async def open_calls(target: Target, source: int = 0, *, timed: bool = True) -> CallWire:
    """Open a connection to a node that takes calls.

    Args:
        timed: whether to find out what time it is there.

    Raises:
        OtherSideLeft: it takes none.
        BoundReached.
    """
    wire = await target.connect(source)
    answer = await wire.ask(b"HELLO OSP2P/2")
    to = next((line[13:] for line in answer.data if line.startswith(b"FEATURE call ")), b"")
    if not to:
        raise OtherSideLeft
    caller = CallWire(wire, to, wire.rng)
    if timed:
        await caller.learn_time()
    return caller
