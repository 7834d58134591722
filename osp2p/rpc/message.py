"""The line of a call, the line of its result, and the texts that both sides sign.

::

    CALL service.method to=ADDRESS from=ADDRESS key=HEX id=HEX time=MS timeout=MS length=N sig=HEX
    RESULT length key=HEX sig=HEX

What is signed is one line for each fact, in this order, each ended by LF, and nothing else::

    OSP2P/2 call                    OSP2P/2 result
    method service.method           to ADDRESS          (of the caller)
    to ADDRESS                      from ADDRESS        (of the one that was called)
    from ADDRESS                    id HEX
    id HEX                          call HEX            (SHA-256 of the call's signed text)
    time MS                         length N
    timeout MS                      sha256 HEX          (of the document)
    length N
    sha256 HEX

Every value has one way to be written, so that both sides sign the same bytes: hex digits are lower-case, numbers have
no leading zeros. The first lines keep the two texts apart from each other, and from the signed items of the overlay,
whose texts begin with a digit.

This module decides whether a line has its form; it verifies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from osp2p.errors import MalformedLine
from osp2p.wire.entry import parse_number

#: Bytes of a call's id, which is chosen at random.
NONCE_BYTES = 16

#: Longest time in milliseconds that a line can name.
_MAX_MS = (1 << 53) - 1

# A service's name is a letter and up to 63 letters, digits, - or _. One of 40 hex digits would read as an address.
_SERVICE = re.compile(r"(?![0-9a-fA-F]{40}\Z)[A-Za-z][A-Za-z0-9_-]{0,63}")

# A method's name is a letter and up to 63 letters, digits or _, the last of which is no _.
_METHOD = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]{0,62}[A-Za-z0-9])?")

_HEX = re.compile(rb"[0-9a-f]*")


# The address of a node is 40 lower-case hex digits.
_ADDRESS = re.compile(r"[0-9a-f]{40}")


def is_address(text: str) -> bool:
    """Whether a text has the form of a node's address."""
    return _ADDRESS.fullmatch(text) is not None


def is_service(name: str) -> bool:
    """Whether a service can have this name."""
    return _SERVICE.fullmatch(name) is not None


def is_method(name: str) -> bool:
    """Whether a method can be called by this name: those that begin or end with ``_`` are private."""
    return _METHOD.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def split_method(path: str) -> tuple[str, str]:
    """Read ``service.method``.

    Raises:
        MalformedLine: either cannot be a name.
    """
    service, _, method = path.partition(".")
    if not is_service(service) or not is_method(method):
        raise MalformedLine("what is called is service.method; names that begin or end with _ are private")
    return service, method


@dataclass(frozen=True, slots=True)
class Call:
    """A call without its document and signature.

    Attributes:
        method: ``service.method``.
        to: the address that is called, 40 hex digits.
        sender: the caller's address; claimed until the signature was verified.
        key: the caller's public key, 32 bytes; claimed likewise.
        nonce: 16 bytes that the caller uses once.
        time: when it was made: milliseconds since 1970, by the caller's clock.
        timeout: after how many milliseconds the caller does not want the result any more.
        length: bytes of the document.
    """

    method: str
    to: str
    sender: str
    key: bytes
    nonce: bytes
    time: int
    timeout: int
    length: int

    def text(self, document: bytes) -> bytes:
        """What the caller signs."""
        return (
            f"OSP2P/2 call\nmethod {self.method}\nto {self.to}\nfrom {self.sender}\nid {self.nonce.hex()}\n"
            f"time {self.time}\ntimeout {self.timeout}\nlength {self.length}\nsha256 {sha256(document).hexdigest()}\n"
        ).encode("ascii")

    def result_text(self, call_text: bytes, document: bytes) -> bytes:
        """What the one that was called signs.

        Args:
            call_text: this call's `text`.
            document: of the result.
        """
        return (
            f"OSP2P/2 result\nto {self.sender}\nfrom {self.to}\nid {self.nonce.hex()}\n"
            f"call {sha256(call_text).hexdigest()}\nlength {len(document)}\nsha256 {sha256(document).hexdigest()}\n"
        ).encode("ascii")


def write_call_line(call: Call, signature: bytes) -> bytes:
    """Write the line of a call, with its LF."""
    return (
        f"CALL {call.method} to={call.to} from={call.sender} key={call.key.hex()} id={call.nonce.hex()} "
        f"time={call.time} timeout={call.timeout} length={call.length} sig={signature.hex()}\n"
    ).encode("ascii")


def parse_call_words(method: bytes, attributes: Mapping[bytes, bytes]) -> tuple[Call, bytes]:
    """Read the line of a call, cut into words already.

    Args:
        method: the word behind the verb.
        attributes: those of the line; unknown ones are ignored.

    Returns: the call, and its signature, unverified.

    Raises:
        MalformedLine.
    """
    try:
        path = method.decode("ascii")
    except UnicodeDecodeError:
        path = ""
    split_method(path)
    call = Call(
        method=path,
        to=_hex(attributes, b"to", 20).hex(),
        sender=_hex(attributes, b"from", 20).hex(),
        key=_hex(attributes, b"key", 32),
        nonce=_hex(attributes, b"id", NONCE_BYTES),
        time=_number(attributes, b"time"),
        timeout=_number(attributes, b"timeout"),
        length=_number(attributes, b"length"),
    )
    return call, _hex(attributes, b"sig", 64)


def write_result_line(length: int, key: bytes, signature: bytes) -> bytes:
    """Write the data line of a result, without its LF."""
    return f"RESULT {length} key={key.hex()} sig={signature.hex()}".encode("ascii")


def parse_result_words(length: bytes, attributes: Mapping[bytes, bytes]) -> tuple[int, bytes, bytes]:
    """Read the data line of a result, cut into words already.

    Returns: the document's length, the key and the signature, all claimed.

    Raises:
        MalformedLine.
    """
    return (
        parse_number(length, _MAX_MS, "a result's length"),
        _hex(attributes, b"key", 32),
        _hex(attributes, b"sig", 64),
    )


def _hex(attributes: Mapping[bytes, bytes], name: bytes, count: int) -> bytes:
    value = attributes.get(name, b"")
    if len(value) != 2 * count or not _HEX.fullmatch(value):
        raise MalformedLine(f"{name.decode()}= is {2 * count} lower-case hex digits")
    return bytes.fromhex(value.decode("ascii"))


def _number(attributes: Mapping[bytes, bytes], name: bytes) -> int:
    value = attributes.get(name, b"")
    if value.startswith(b"0") and value != b"0":
        raise MalformedLine(f"{name.decode()}= has no leading zeros")
    return parse_number(value, _MAX_MS, f"{name.decode()}=")
