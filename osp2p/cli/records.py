"""What a node tells, as records for JSON: events field by field, and the lists of a tracker."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

from osp2p.cli.exits import exit_code
from osp2p.cli.text import LARGEST_SIZE, escape, json_name
from osp2p.errors import MalformedLine, Osp2pError
from osp2p.peer.events import Event, NamedContent, Source, TransferDone, TransferFailed
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry, parse_number
from osp2p.wire.word import quote

Record = dict[str, object]


def event_record(event: Event) -> Record:
    """Write an event as a record.

    ``event`` is its class in the form ``source-failed``, without a leading ``transfer-``: so a file's records are
    ``started``, ``progress``, ``done`` or ``failed``. ``verified`` is how many bytes were proved: of ``done``,
    ``proof`` tells how; of ``failed``, they are kept.
    """
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower().removeprefix("transfer-")
    record: Record = {"event": kind}
    for field in dataclasses.fields(event):
        record.update(_field(field.name, getattr(event, field.name)))
    if isinstance(event, TransferDone):
        record["proof"] = event.verified
        record["verified"] = event.size if event.verified else 0
    elif isinstance(event, TransferFailed):
        record["verified"] = event.proved
    return record


def _field(key: str, value: object) -> Record:
    if key == "name" and isinstance(value, bytes):
        return name_fields(value)
    return {key: _value(value)} if not isinstance(value, Osp2pError) else error_fields(value)


def _value(value: object) -> object:
    if isinstance(value, bytes):
        return json_name(value)
    if isinstance(value, Path):
        return json_name(os.fsencode(value))
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, NamedContent | Source):
        return {field.name: _value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_value(part) for part in value]
    return value


def name_fields(name: bytes) -> Record:
    """A file's name: readable in ``name``, exact in ``wire``, quoted as in the protocol."""
    return {"name": json_name(name), "wire": quote(name).decode("ascii") if name else ""}


def error_fields(error: Osp2pError) -> Record:
    """An error: its class, its sentence, and the exit code that it would have alone."""
    return {"error": type(error).__name__, "message": escape(str(error)), "exit": exit_code(error)}


def file_record(entry: FileEntry) -> Record:
    """A FILE line of a tracker, with what it claims."""
    return {"event": "file", **name_fields(entry.name), **_claims(entry.attributes)}


def peer_record(entry: PeerEntry) -> Record:
    """A PEER line of a tracker, with what it claims."""
    alias = {"alias": json_name(entry.alias), "wire": quote(entry.alias).decode("ascii")}
    address = {"address": str(entry.address), "host": entry.address.host, "port": entry.address.port}
    return {"event": "peer", **alias, **address, **_claims(entry.attributes)}


def claimed_size(attributes: Mapping[bytes, bytes]) -> int | None:
    """The size that a tracker's line claims; None if it claims none that can be one."""
    try:
        return parse_number(attributes.get(b"size", b""), LARGEST_SIZE)
    except MalformedLine:
        return None


def _claims(attributes: Mapping[bytes, bytes]) -> Record:
    """What is known to mean something. A stranger chooses the keys of the others, which might be ours."""
    claims: Record = {}
    if (size := claimed_size(attributes)) is not None:
        claims["size"] = size
    for key in ("b3", "v", "part"):
        if (value := attributes.get(key.encode())) is not None:
            claims[key] = json_name(value)
    return claims
