"""Holders that lie to a swarm, each in one way, and claim to have everything."""

from __future__ import annotations

import random
from collections.abc import Callable

from osp2p.wire.request import Request
from tests.peer.odd_holders import Twist, silent_after, trickling, twisting

#: How often who lies now and then does.
_NOW_AND_THEN = 0.1

#: How many bytes per second are too few.
_TRICKLE = 20_000.0


def twist_of(lie: str, rng: random.Random) -> Twist:
    """What a liar does.

    Args:
        lie: one of `tests.swarm.plan.LIES`.
    """
    makers: dict[str, Callable[[], Twist]] = {
        "wrong chunks": lambda: twisting(b"GET", _other_last_byte),
        "a wrong chunk now and then": lambda: twisting(
            b"GET",
            lambda request, answer: _other_last_byte(request, answer) if rng.random() < _NOW_AND_THEN else answer,
        ),
        "a wrong list": lambda: twisting(b"CHUNKS", lambda request, answer: answer.replace(b"a", b"b", 1)),
        "has nothing": lambda: twisting(b"GET", lambda request, answer: b"302 not here\n"),
        "silent": lambda: silent_after(b"GET", 100),
        "trickles": lambda: trickling(_TRICKLE),
    }
    return makers[lie]()


def _other_last_byte(request: Request, answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 1])
