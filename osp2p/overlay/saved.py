"""The neighbours of an earlier run, in a file: one for each network, which all nodes of a user share.

The file is a bencoded dictionary: ``nodes`` and ``nodes6``, as in messages. One that is damaged, or that another
program wrote, is the same as none: every neighbour must answer anew before it is one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from osp2p.errors import MalformedDatagram
from osp2p.limits import Limits
from osp2p.net.errors import disk_errors
from osp2p.overlay.bencode import Value, decode, encode
from osp2p.overlay.compact import Contact, pack_contacts, unpack_contacts

_MAX_BYTES = 64 * 1024


def load_contacts(path: Path, limits: Limits) -> list[Contact]:
    """Read the neighbours of an earlier run; none, where there is no such file."""
    try:
        with open(path, "rb") as file:
            saved = decode(file.read(_MAX_BYTES))
        if not isinstance(saved, dict):
            return []
        found: list[Contact] = []
        for name, ipv6 in ((b"nodes", False), (b"nodes6", True)):
            packed = saved.get(name, b"")
            if isinstance(packed, bytes):
                found += unpack_contacts(packed, ipv6=ipv6)
    except (OSError, MalformedDatagram):
        return []
    return found[: limits.max_saved_contacts]


def save_contacts(path: Path, contacts: Sequence[Contact]) -> None:
    """Write neighbours for the next start. The file is whole at any time.

    Raises:
        StoreError: it cannot be written.
    """
    saved: dict[bytes, Value] = {
        b"nodes": pack_contacts(contact for contact in contacts if not contact.address.is_ipv6),
        b"nodes6": pack_contacts(contact for contact in contacts if contact.address.is_ipv6),
    }
    with disk_errors(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}~")
        beside.write_bytes(encode(saved))
        os.replace(beside, path)
