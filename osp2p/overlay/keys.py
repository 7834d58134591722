"""Under which keys things are announced: the SHA-1 of a text that says what, and in which network.

The text is lines that end in LF::

    OSP2P/2 overlay
    network NAME
    KIND WORD

KIND is ``b3`` with a content id of 64 hex digits, ``name`` with a file's name, ``service`` with a service's name,
``sharers`` without a word, for everybody who shares anything, or ``many`` without a word, for whoever shares more files
than are announced one by one. Names are quoted as in any line of OSP2P. Without its third line the text names the
network itself; the first eight bytes of that SHA-1 stand in each message.
"""

from __future__ import annotations

from hashlib import sha1

from osp2p.wire.word import quote

#: The network of users who say nothing else.
DEFAULT_NETWORK = "osp2p"

_TAG_BYTES = 8


def _text(network: str) -> bytes:
    return b"OSP2P/2 overlay\nnetwork %s\n" % quote(network.encode())


def network_tag(network: str) -> bytes:
    """What names a network in each message: 8 bytes."""
    return sha1(_text(network)).digest()[:_TAG_BYTES]


def content_key(network: str, b3: bytes) -> bytes:
    """The key of a content. Args: b3: its id, 32 bytes. Returns: 20 bytes, as all of these."""
    return sha1(_text(network) + b"b3 %s\n" % b3.hex().encode()).digest()


def name_key(network: str, name: bytes) -> bytes:
    """The key of a file's name."""
    return sha1(_text(network) + b"name %s\n" % quote(name)).digest()


def service_key(network: str, service: str) -> bytes:
    """The key of a service that nodes have."""
    return sha1(_text(network) + b"service %s\n" % quote(service.encode())).digest()


def sharers_key(network: str) -> bytes:
    """The key of everybody who shares anything."""
    return sha1(_text(network) + b"sharers\n").digest()


def many_key(network: str) -> bytes:
    """The key of those who share more files than they announce one by one."""
    return sha1(_text(network) + b"many\n").digest()
