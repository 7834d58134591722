"""What a user wants: a name, a place, and what is known of the content beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osp2p.wire.entry import FileEntry


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: as the tracker lists it, raw bytes.
        target: the final path; its directories are made.
        b3: the content id, 32 bytes, where the user knows it from a link; None: what the trackers say.
        listed: how a tracker has listed it a moment ago. It saves asking about each of many small files.
    """

    name: bytes
    target: Path
    b3: bytes | None = None
    listed: FileEntry | None = None
