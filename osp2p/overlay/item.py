"""Items that nodes of the overlay keep for others: immutable ones, found by their hash, and signed ones, by their key.

An immutable item's target is the SHA-1 of its bencoded value. A signed item's target is the SHA-1 of its Ed25519 public
key and its salt; what is signed is ``4:salt`` and the salt (left out where there is none), ``3:seq`` and the sequence
number, ``1:v`` and the value, all bencoded. So nobody can put another value under either target, but whoever keeps an
item can withhold it, or answer with an older one of the same owner.

Source: BEP 44.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from osp2p.errors import LocalProtocolError, MalformedDatagram
from osp2p.overlay.bencode import Value, encode

#: Most bytes of a bencoded value. Source: BEP 44.
MAX_VALUE = 1000

#: Most bytes of a salt. Source: BEP 44.
MAX_SALT = 64

#: Bytes of an Ed25519 public key, and of a signature.
KEY_BYTES = 32
SIGNATURE_BYTES = 64

#: Codes of errors. Source: BEP 5 and BEP 44.
PROTOCOL_ERROR = 203
TOO_LARGE = 205
BAD_SIGNATURE = 206
SALT_TOO_LARGE = 207

_MAX_SEQUENCE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ImmutableItem:
    """A value that its target proves."""

    value: Value

    @property
    def target(self) -> bytes:
        """Where it is found: 20 bytes."""
        return immutable_target(self.value)


@dataclass(frozen=True, slots=True)
class MutableItem:
    """A value that its owner signed. Made by `sign_item`, or by `read_mutable` out of what a stranger sent.

    Attributes:
        key: the owner's public key, 32 bytes.
        salt: tells items of one owner apart, at most 64 bytes.
        sequence: the higher is the newer.
        signature: 64 bytes.
    """

    key: bytes
    salt: bytes
    sequence: int
    value: Value
    signature: bytes

    @property
    def target(self) -> bytes:
        """Where it is found: 20 bytes."""
        return mutable_target(self.key, self.salt)


def immutable_target(value: Value) -> bytes:
    """Where an immutable item is found: 20 bytes."""
    return sha1(encode(value)).digest()


def mutable_target(key: bytes, salt: bytes = b"") -> bytes:
    """Where a signed item is found: 20 bytes."""
    return sha1(key + salt).digest()


def signed_text(salt: bytes, sequence: int, encoded: bytes) -> bytes:
    """What a signature is made over.

    Args:
        encoded: the bencoded value.
    """
    return (b"4:salt%d:%s" % (len(salt), salt) if salt else b"") + b"3:seqi%de1:v" % sequence + encoded


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public key that belongs to a private one, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign_item(key: Ed25519PrivateKey, value: Value, sequence: int, salt: bytes = b"") -> MutableItem:
    """Make a signed item.

    Raises:
        LocalProtocolError: the value or the salt is too large, or the sequence number is none.
    """
    encoded = encode(value)
    if len(encoded) > MAX_VALUE or len(salt) > MAX_SALT or not 0 <= sequence <= _MAX_SEQUENCE:
        raise LocalProtocolError(
            "an item has at most 1000 bytes of value, 64 of salt, and a sequence number of 63 bits"
        )
    return MutableItem(public_bytes(key), salt, sequence, value, key.sign(signed_text(salt, sequence, encoded)))


def read_immutable(value: Value) -> ImmutableItem:
    """Take a value that a stranger sent to be kept.

    Raises:
        MalformedDatagram: too large.
    """
    if len(encode(value)) > MAX_VALUE:
        raise MalformedDatagram("the value has more than 1000 bytes", TOO_LARGE)
    return ImmutableItem(value)


def read_mutable(key: bytes, salt: bytes, sequence: int, value: Value, signature: bytes) -> MutableItem:
    """Take a signed item that a stranger sent.

    Raises:
        MalformedDatagram: with the code that fits, if anything about it is wrong.
    """
    encoded = encode(value)
    if len(encoded) > MAX_VALUE:
        raise MalformedDatagram("the value has more than 1000 bytes", TOO_LARGE)
    if len(salt) > MAX_SALT:
        raise MalformedDatagram("the salt has more than 64 bytes", SALT_TOO_LARGE)
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES or sequence < 0:
        raise MalformedDatagram("a key has 32 bytes, a signature 64, and a sequence number is not negative")
    if not _is_signed(key, signature, signed_text(salt, sequence, encoded)):
        raise MalformedDatagram("the signature is not that of the key", BAD_SIGNATURE)
    return MutableItem(key, salt, sequence, value, signature)


@lru_cache(maxsize=1024)
def _is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether a signature holds. Lookups bring the same item from many nodes, so the last answers are remembered."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True
