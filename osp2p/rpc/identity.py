"""Who a node is: an Ed25519 key in a file, and the address that follows from it.

The address is the SHA-1 of the public key and the salt ``osp2p``: 20 bytes, written as 40 lower-case hex digits. It is
the target of the signed item under which the overlay keeps the node's contact record, so whoever knows an address finds
the record, and can tell by the key in it whether it is the node's.

Source: BEP 44 (the target); RFC 8032 (Ed25519).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from osp2p.errors import StoreError
from osp2p.net.errors import disk_errors
from osp2p.overlay.item import mutable_target, public_bytes

#: What tells a node's address from other items of its key.
SALT = b"osp2p"

#: The first line of an identity file; the second is the private key in 64 hex digits.
_FIRST_LINE = b"osp2p identity, keep it secret"

_KEY_BYTES = 32


def address_of(key: bytes) -> str:
    """The address of the node that has a public key: 40 hex digits."""
    return mutable_target(key, SALT).hex()


@lru_cache(maxsize=4096)
def _public_key(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


def is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    """Whether `signature` is one of `text`, made with the private key that belongs to the public `key`."""
    try:
        _public_key(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


class Identity:
    """A private key, and what follows from it.

    Attributes:
        private: the key itself, for signed items.
        key: the public key, 32 bytes.
        address: 40 hex digits.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        self.key = public_bytes(private)
        self.address = address_of(self.key)

    def __repr__(self) -> str:
        return f"Identity({self.address})"

    def sign(self, text: bytes) -> bytes:
        """Sign. Returns: 64 bytes."""
        return self.private.sign(text)


def new_identity() -> Identity:
    """An identity that nobody had before, and that is nowhere kept."""
    return Identity(Ed25519PrivateKey.generate())


def load_identity(path: Path) -> Identity:
    """Read an identity file; make it, readable for its owner alone, if there is none.

    Raises:
        StoreError: it can be neither read nor made, others may read it, or it is no identity file.
    """
    try:
        with disk_errors(f"the identity {path} (--identity names another)"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
            return _read(path)
    except ValueError:
        raise StoreError(f"{path} is no identity file: name another one, or none to have one made") from None


def _make(path: Path) -> None:
    """Make an identity file where there is none. It appears under its name whole, and only once if two make it."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(b"%s\n%s\n" % (_FIRST_LINE, new_identity().private.private_bytes_raw().hex().encode()))
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        pass  # another process was faster; its file counts
    finally:
        os.unlink(part)


def _read(path: Path) -> Identity:
    """Raises: OSError, StoreError; ValueError for any other file."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise StoreError(
                f"others can read {path}, so its key may be known: chmod 600 it, or delete it to get another"
            )
        first, second, rest = (*file.read(200).split(b"\n"), b"", b"")[:3]
    secret = bytes.fromhex(second.decode("ascii"))
    if first != _FIRST_LINE or len(secret) != _KEY_BYTES or rest:
        raise ValueError
    return Identity(Ed25519PrivateKey.from_private_bytes(secret))


@contextmanager
def hold_identity(path: Path) -> Iterator[Identity]:
    """Load an identity, and be the only process that serves under it for as long as the body runs.

    Two that did would take the address from each other, each with a newer contact record.

    Raises:
        StoreError: as `load_identity`, or another process serves under it.
    """
    identity = load_identity(path)
    with disk_errors(str(path)), open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another process serves under {path}: end it, or name another --identity") from None
        yield identity
