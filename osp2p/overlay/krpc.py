"""Messages of the overlay: one bencoded dictionary in one datagram.

Grammar: ``t`` is the transaction, bytes that the answer repeats. ``y`` is the kind: ``q`` a query, with its method in
``q`` and its arguments in ``a``; ``r`` a response, with what it returns in ``r``; ``e`` an error, with its code and a
text in ``e``. Arguments and returned values hold the sender's id in ``id``. A query with ``ro`` 1 comes from a node
that answers none. A response tells in ``ip`` what address the query came from. ``net`` names the network: eight bytes,
ours; BitTorrent's nodes do not send it, and no other key that is unknown here is looked at.

Source: BEP 5, BEP 42 (``ip``), BEP 43 (``ro``); `net` is ours, so that two networks stay two even when they meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from osp2p.errors import MalformedDatagram
from osp2p.overlay.bencode import Value, decode, encode
from osp2p.overlay.compact import pack_address, unpack_address
from osp2p.overlay.identifier import ID_BYTES
from osp2p.wire.address import Address

#: Most bytes of a transaction that is answered: others' have 2 to 8.
MAX_TRANSACTION = 32

#: Codes of errors. Source: BEP 5.
GENERIC_ERROR = 201
SERVER_ERROR = 202
PROTOCOL_ERROR = 203
METHOD_UNKNOWN = 204

Arguments: TypeAlias = "dict[bytes, Value]"


@dataclass(frozen=True, slots=True)
class Query:
    """A question.

    Attributes:
        sender: the claimed id of who asks.
        arguments: without the id.
        read_only: the sender answers no queries itself.
        network: of whom it is a node; empty if it does not say.
    """

    transaction: bytes
    method: bytes
    sender: bytes
    arguments: Arguments = field(default_factory=dict)
    read_only: bool = False
    network: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        sender: the claimed id of who answers.
        values: without the id.
        claimed_address: what address the query came from, as it says.
    """

    transaction: bytes
    sender: bytes
    values: Arguments = field(default_factory=dict)
    claimed_address: Address | None = None
    network: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error."""

    transaction: bytes
    code: int
    text: bytes = b""
    claimed_address: Address | None = None
    network: bytes = b""


Message: TypeAlias = "Query | Response | Failure"


def write_message(message: Message) -> bytes:
    """Write a message: the bytes of one datagram."""
    top: dict[bytes, Value] = {b"t": message.transaction}
    if isinstance(message, Query):
        top[b"y"] = b"q"
        top[b"q"] = message.method
        top[b"a"] = {b"id": message.sender, **message.arguments}
        if message.read_only:
            top[b"ro"] = 1
    else:
        if isinstance(message, Response):
            top[b"y"] = b"r"
            top[b"r"] = {b"id": message.sender, **message.values}
        else:
            top[b"y"] = b"e"
            top[b"e"] = [message.code, message.text]
        if message.claimed_address is not None:
            top[b"ip"] = pack_address(message.claimed_address)
    if message.network:
        top[b"net"] = message.network
    return encode(top)


def parse_message(data: bytes) -> Message:
    """Read a message.

    Raises:
        MalformedDatagram.
    """
    top = decode(data)
    if not isinstance(top, dict):
        raise MalformedDatagram("a message is a dictionary")
    transaction = bytes_of(top, b"t", most=MAX_TRANSACTION)
    network = top.get(b"net", b"")
    if not isinstance(network, bytes) or len(network) > MAX_TRANSACTION:
        raise MalformedDatagram("net is a few bytes")
    kind = top.get(b"y")
    if kind == b"q":
        arguments = dict_of(top, b"a")
        sender = id_of(arguments, b"id")
        del arguments[b"id"]
        return Query(transaction, bytes_of(top, b"q"), sender, arguments, top.get(b"ro") == 1, network)
    if kind == b"r":
        values = dict_of(top, b"r")
        sender = id_of(values, b"id")
        del values[b"id"]
        return Response(transaction, sender, values, _claimed_address(top), network)
    if kind == b"e":
        return _parse_failure(top, transaction, network)
    raise MalformedDatagram("a message is a query, a response or an error")


def _parse_failure(top: Arguments, transaction: bytes, network: bytes) -> Failure:
    parts = top.get(b"e")
    if (
        not isinstance(parts, list)
        or len(parts) < 2
        or not isinstance(parts[0], int)
        or not isinstance(parts[1], bytes)
    ):
        raise MalformedDatagram("an error is a code and a text")
    return Failure(transaction, parts[0], parts[1], _claimed_address(top), network)


def _claimed_address(top: Arguments) -> Address | None:
    """What address the other side saw. One that cannot be read tells nothing, but the rest of the message counts."""
    packed = top.get(b"ip")
    if not isinstance(packed, bytes) or len(packed) not in (6, 18) or packed[-2:] == b"\0\0":
        return None
    return unpack_address(packed)


def dict_of(values: Arguments, key: bytes) -> Arguments:
    """One of some values that must be a dictionary. Raises: MalformedDatagram."""
    value = values.get(key)
    if not isinstance(value, dict):
        raise MalformedDatagram(f"{key.decode()} is a dictionary")
    return value


def bytes_of(values: Arguments, key: bytes, most: int | None = None) -> bytes:
    """One of some values that must be bytes, of some length at most. Raises: MalformedDatagram."""
    value = values.get(key)
    if not isinstance(value, bytes) or (most is not None and len(value) > most):
        raise MalformedDatagram(f"{key.decode()} is bytes" + (f", at most {most}" if most is not None else ""))
    return value


def id_of(values: Arguments, key: bytes) -> bytes:
    """One of some values that must be an id. Raises: MalformedDatagram."""
    value = values.get(key)
    if not isinstance(value, bytes) or len(value) != ID_BYTES:
        raise MalformedDatagram(f"{key.decode()} is {ID_BYTES} bytes")
    return value


def int_of(values: Arguments, key: bytes, default: int | None = None) -> int:
    """One of some values that must be an integer; `default` where it is not there. Raises: MalformedDatagram."""
    value = values.get(key, default)
    if not isinstance(value, int):
        raise MalformedDatagram(f"{key.decode()} is an integer")
    return value
