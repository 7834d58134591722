"""Mutations of inputs, seeded: what finds the way from one input to the next where no coverage guides it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: Numbers at which programs change their minds.
NUMBERS = (b"0", b"1", b"9", b"10", b"255", b"256", b"65535", b"65536", b"2147483648", b"9223372036854775808", b"-1")

#: The mean number of mutations of one input.
_MEAN_STEPS = 3

Mutation = Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None]


def _flip(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _insert(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.randbytes(rng.randint(1, 4))


def _insert_word(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.choice([*words, *NUMBERS])


def _replace_by_word(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    word = rng.choice([*words, *NUMBERS])
    data[place : place + len(word)] = word


def _delete(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    del data[place : place + rng.randint(1, 8)]


def _repeat(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    first = rng.randint(0, len(data))
    piece = data[first : first + rng.randint(1, 16)]
    place = rng.randint(0, len(data))
    data[place:place] = piece * rng.randint(1, 3)


def _splice(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    if others:
        other = rng.choice(others)
        data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


def _truncate(rng: random.Random, data: bytearray, words: Sequence[bytes], others: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _set,
    _insert,
    _insert_word,
    _replace_by_word,
    _delete,
    _repeat,
    _splice,
    _truncate,
)


def mutate(rng: random.Random, data: bytes, words: Sequence[bytes], others: Sequence[bytes], max_length: int) -> bytes:
    """Change an input a little, or now and then a lot.

    Args:
        words: what may be put in.
        others: inputs whose end may be put behind a part of this one.
        max_length: what is beyond is cut off.
    """
    changed = bytearray(data)
    for _ in range(min(50, 1 + int(rng.expovariate(1 / _MEAN_STEPS)))):
        rng.choice(_MUTATIONS)(rng, changed, words, others)
    return bytes(changed[:max_length])
