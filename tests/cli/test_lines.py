"""What people read of events."""

from __future__ import annotations

from pathlib import Path

import pytest

from osp2p.cli.lines import event_line
from osp2p.errors import Stalled, TooLarge
from osp2p.peer.events import Event, Source, SourceFailed, TrackerLost, TransferDone, TransferFailed
from osp2p.wire.address import Address

AT = Address("192.0.2.7", 5)
GIVER = Source(b"anna", AT, 600)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            TransferDone(b"a", Path("a"), 600, 600, 0, "b3", 2.0, sources=(GIVER,)),
            "a -> a: 600 B from 1 source at 300 B/s, verified by B3",
        ),
        (
            TransferDone(b"a", Path("a~1~"), 600, 0, 0, "md5", 2.0, already=True),
            "a -> a~1~: 600 B, here already, verified by MD5",
        ),
        (
            TransferDone(b"a", Path("a"), 600, 900, 0, "b3", 2.0, sources=(GIVER, Source(b"anna", AT, 300))),
            "a -> a: 600 B from 1 source at 300 B/s, verified by B3",
        ),
        (TransferDone(b"a", Path("a"), 0, 0, 0, None, 2.0), "a -> a: 0 B, unverified: no checksum known"),
        (
            TransferDone(b"a", Path("a"), 600, 200, 400, "b3", 1.0, sources=(GIVER,)),
            "a -> a: 600 B from 1 source at 200 B/s, 400 B of it from before, verified by B3",
        ),
        (TransferFailed(b"a\x1b", Stalled("too slow")), r"a\x1b: too slow"),
        (TransferFailed(b"a", TooLarge("a: larger than allowed")), "a: larger than allowed"),
        (
            SourceFailed(b"a", b"anna", AT, "192.0.2.7:5: connection refused"),
            "a: anna at 192.0.2.7:5 was left: connection refused",
        ),
        (SourceFailed(b"a", b"192.0.2.7:5", AT, "closed"), "a: 192.0.2.7:5 was left: closed"),
        (
            TrackerLost("192.0.2.7:5", "connection refused", 0.25),
            "tracker 192.0.2.7:5 is out of reach: connection refused; trying again",
        ),
    ],
)
def test_a_line_says_each_thing_once(event: Event, line: str) -> None:
    assert event_line(event) == line
