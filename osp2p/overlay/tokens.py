"""Tokens: whoever shows one has received it at the address that it was made for, a short time ago.

Source: BEP 5. As there, a token is a hash of the address and a secret that changes every five minutes; the one before
is taken, too. Whoever replays another's token from another address, or one's own later, is refused.
"""

from __future__ import annotations

import hmac
import random
from hashlib import blake2b

from osp2p.wire.address import Address

_TOKEN_BYTES = 8
_SECRET_BYTES = 16


class Tokens:
    """Makes and checks tokens.

    Args:
        lifetime: seconds for which a secret is used; it is taken for as long again.
        rng: one that nobody can foresee, outside of tests.
    """

    def __init__(self, lifetime: float, rng: random.Random, now: float) -> None:
        self._lifetime = lifetime
        self._rng = rng
        self._since = now
        self._secrets = (rng.randbytes(_SECRET_BYTES), rng.randbytes(_SECRET_BYTES))

    def _change(self, now: float) -> None:
        for _ in range(min(2, int((now - self._since) / self._lifetime))):
            self._secrets = (self._rng.randbytes(_SECRET_BYTES), self._secrets[0])
            self._since = now

    def make(self, address: Address, now: float) -> bytes:
        """The token of an address: 8 bytes."""
        self._change(now)
        return _token(self._secrets[0], address)

    def accept(self, token: bytes, address: Address, now: float) -> bool:
        """Whether an address shows a token that it was given a short time ago."""
        self._change(now)
        return any(hmac.compare_digest(token, _token(secret, address)) for secret in self._secrets)


def _token(secret: bytes, address: Address) -> bytes:
    return blake2b(address.host.encode(), key=secret, digest_size=_TOKEN_BYTES).digest()
