"""Bencode, read strictly: what is read and written again is the same to the byte, so hashes and signatures hold.

Grammar:

- an integer is ``i``, decimal digits with an optional ``-``, ``e``; no leading zeros, no ``-0``; here it fits 64 bits
  with a sign, since nothing that the overlay speaks has larger ones;
- bytes are their length in decimal digits without leading zeros, ``:``, and the bytes;
- a list is ``l``, its values, ``e``;
- a dictionary is ``d``, keys and values in turn, ``e``; keys are bytes, each greater than the one before it.

Nothing may follow the one value, and values lie in each other at most `MAX_DEPTH` deep.

Source: BEP 3.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from osp2p.errors import LocalProtocolError, MalformedDatagram

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"

#: How deep values may lie in each other: messages need 4, stored items may use the rest.
MAX_DEPTH = 32

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

_INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")

_ZERO = ord("0")

#: Digits of the longest length that makes sense.
_MAX_LENGTH_DIGITS = 9


def decode(data: bytes) -> Value:
    """Read one value that fills `data`.

    Raises:
        MalformedDatagram: not bencode, or not in its one canonical form.
    """
    value, end = _read(data, 0, 0)
    if end != len(data):
        raise MalformedDatagram(f"{len(data) - end} bytes follow a bencoded value")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """Read the value that begins at `at`. Returns: it, and where it ends."""
    kind = data[at : at + 1]
    if kind.isdigit():
        return _read_bytes(data, at)
    if kind == b"d":
        return _read_dict(data, at + 1, depth + 1)
    if kind == b"l":
        return _read_list(data, at + 1, depth + 1)
    match = _INTEGER.match(data, at)
    if match is None:
        raise MalformedDatagram(f"no bencoded value at byte {at}")
    number = int(match[1])
    if not _LEAST <= number <= _MOST:
        raise MalformedDatagram("an integer does not fit 64 bits")
    return number, match.end()


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    colon = data.find(b":", at, at + _MAX_LENGTH_DIGITS + 1)
    digits = data[at:colon]
    if colon < 0 or not digits.isdigit() or (digits[0] == _ZERO and len(digits) > 1):
        raise MalformedDatagram(f"no length at byte {at}")
    begin = colon + 1
    end = begin + int(digits)
    if end > len(data):
        raise MalformedDatagram("bytes end before their length is reached")
    return data[begin:end], end


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    if depth > MAX_DEPTH:
        raise MalformedDatagram("values lie too deep in each other")
    values: list[Value] = []
    while data[at : at + 1] != b"e":
        value, at = _read(data, at, depth)
        values.append(value)
    return values, at + 1


def _read_dict(data: bytes, at: int, depth: int) -> tuple[dict[bytes, Value], int]:
    if depth > MAX_DEPTH:
        raise MalformedDatagram("values lie too deep in each other")
    values: dict[bytes, Value] = {}
    last = None
    while data[at : at + 1] != b"e":
        key, at = _read_bytes(data, at)
        if last is not None and key <= last:
            raise MalformedDatagram("the keys of a dictionary are not in order")
        last = key
        read = _read_bytes(data, at) if data[at : at + 1].isdigit() else _read(data, at, depth)
        values[key], at = read
    return values, at + 1


def encode(value: Value) -> bytes:
    """Write one value; the keys of dictionaries may come in any order.

    Raises:
        LocalProtocolError: an integer beyond 64 bits, or values too deep in each other.
    """
    parts: list[bytes] = []
    _write(value, parts, 0)
    return b"".join(parts)


def _write(value: Value, parts: list[bytes], depth: int) -> None:
    if isinstance(value, bytes):
        parts.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise LocalProtocolError("an integer does not fit 64 bits")
        parts.append(b"i%de" % value)
    elif depth == MAX_DEPTH:
        raise LocalProtocolError("values lie too deep in each other")
    elif isinstance(value, dict):
        parts.append(b"d")
        for key in sorted(value):
            inner = value[key]
            if isinstance(inner, bytes):
                parts.append(b"%d:%b%d:%b" % (len(key), key, len(inner), inner))
            else:
                parts.append(b"%d:%b" % (len(key), key))
                _write(inner, parts, depth + 1)
        parts.append(b"e")
    else:
        parts.append(b"l")
        for inner in value:
            _write(inner, parts, depth + 1)
        parts.append(b"e")
