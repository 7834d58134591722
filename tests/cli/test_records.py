"""Events and lists as records and as lines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import cast

import pytest

from osp2p.cli.lines import event_line
from osp2p.cli.records import claimed_size, error_fields, event_record, file_record, peer_record
from osp2p.cli.text import json_line
from osp2p.errors import ConnectionLost, NobodyHasIt
from osp2p.peer import events
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry

HERE = Address("192.0.2.7", 11112)
HOSTILE = b"a\x1b[31m\xff\xe2\x80\xaeb"

SOURCES = (
    events.Source(b"alice", HERE, 900),
    events.Source(HOSTILE, Address("::1", 1), 0, "it sent\x1b[0m garbage"),
)

CONTENTS = (
    events.NamedContent("11", 700, 1, 0, "osp2p://t/a#b3=11"),
    events.NamedContent("22", None, 2, 3, "osp2p://t/a#b3=22"),
)

EXAMPLES: list[events.Event] = [
    events.Listening(HERE),
    events.TrackerConnected("127.0.0.1:11111", HOSTILE, HERE, hello=False),
    events.TrackerLost("127.0.0.1:11111", "closed\x07", 0.25),
    events.TrackerSaid("127.0.0.1:11111", HOSTILE),
    events.Registered("127.0.0.1:11111", 3, 5),
    events.Withdrawn("127.0.0.1:11111", HOSTILE, "500 other content"),
    events.FileAdded(HOSTILE, 1000, changed=True),
    events.FileRemoved(HOSTILE),
    events.NotShared(HOSTILE, "a symbolic link that leads outside"),
    events.Uploaded(HOSTILE, HERE, 500, ConnectionLost("gone")),
    events.TransferStarted(HOSTILE, None, 2),
    events.TransferProgress(HOSTILE, 500, 1000, 2, 100),
    events.SourceFailed(HOSTILE, HOSTILE, HERE, "wrong content"),
    events.Remark(HOSTILE, "there are several contents of this name"),
    events.SeveralContents(HOSTILE, "11", CONTENTS),
    events.Remark(b"", "this node is not reachable"),
    events.TransferDone(HOSTILE, Path("x\udcff"), 1000, 900, 100, "b3", 0.5, sources=SOURCES),
    events.TransferFailed(HOSTILE, NobodyHasIt("nobody has it\x1b")),
    events.Joined(1),
    events.Alone(11112, (), None),
    events.Alone(11112, (HERE,), None),
    events.Alone(11112, (HERE,), HERE),
]


def test_every_event_has_an_example_here() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert {type(example) for example in EXAMPLES} == kinds - {events.Event}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_is_a_record_and_harmless_as_a_line(event: events.Event) -> None:
    record = event_record(event)
    line = json_line(record)
    assert line.isprintable()
    assert json.loads(line) == record
    assert record["event"]
    fields = {field.name for field in dataclasses.fields(event)} - {"error"}
    assert fields <= set(record)
    name = getattr(event, "name", None)
    if name:
        assert record["wire"] == "a%1B%5B31m%FF%E2%80%AEb"
        assert record["name"] == "a\x1b[31m%FF\u202eb"
    text = event_line(event)
    assert text is None or "\n" not in text


def test_the_last_record_of_a_file() -> None:
    done = events.TransferDone(b"x", Path("y/x"), 1000, 900, 100, "md5", 0.5, sources=SOURCES)
    record = event_record(done)
    sources = cast("list[dict[str, object]]", record.pop("sources"))
    assert record == {
        "event": "done",
        "name": "x",
        "wire": "x",
        "path": "y/x",
        "size": 1000,
        "fetched": 900,
        "resumed": 100,
        "verified": 1000,
        "proof": "md5",
        "seconds": 0.5,
        "already": False,
    }
    assert sources[0] == {"alias": "alice", "address": "192.0.2.7:11112", "fetched": 900, "error": None}
    unproved = event_record(dataclasses.replace(done, verified=None))
    assert (unproved["verified"], unproved["proof"]) == (0, None)


def test_a_failure_names_its_class_and_exit_code() -> None:
    record = event_record(events.TransferFailed(b"x", NobodyHasIt("nobody has it"), 5))
    assert record["event"] == "failed"
    assert (record["error"], record["message"], record["exit"]) == ("NobodyHasIt", "nobody has it", 3)
    assert error_fields(NobodyHasIt("\x1b\ud800"))["message"] == r"\x1b\ud800"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (EXAMPLES[0], "serving files on port 11112"),
        (EXAMPLES[4], "3 of 5 registered at 127.0.0.1:11111"),
        (events.Uploaded(b"x", HERE, 1500, None), "x: 1.50 kB sent to 192.0.2.7:11112"),
        (events.FileAdded(b"x", 10), "x: shared, 10 B"),
        (events.Remark(b"", "on its own"), "on its own"),
        (
            events.TransferDone(b"x", Path("d/x"), 1000, 900, 100, "b3", 0.5, sources=SOURCES),
            "x -> d/x: 1.00 kB from 1 source at 1.80 kB/s, 100 B of it from before, verified by B3",
        ),
        (
            events.TransferDone(b"x", Path("x"), 1000, 1000, 0, None, 1.0, sources=SOURCES),
            "x -> x: 1.00 kB from 1 source at 1.00 kB/s, unverified: no checksum known",
        ),
        (
            events.TransferDone(b"x", Path("x"), 1000, 0, 0, "md5", 1.0, already=True),
            "x -> x: 1.00 kB, here already, verified by MD5",
        ),
        (events.TransferFailed(b"x", NobodyHasIt("nobody has it")), "x: nobody has it"),
        (events.TransferStarted(b"x", 1, 1), None),
        (events.Joined(2), "joined the overlay: 2 neighbours so far"),
        (events.Alone(5, (), None), "alone in the overlay so far: others join through port 5 of this machine"),
        (events.Alone(5, (HERE,), None), "alone in the overlay: no answer from 192.0.2.7:11112; trying again"),
        (events.Alone(5, (HERE,), HERE), "the node at 192.0.2.7:11112 belongs to another network; trying again"),
    ],
)
def test_lines_by_example(event: events.Event, line: str | None) -> None:
    assert event_line(event) == line


def test_entries_show_what_is_claimed_and_nothing_that_a_stranger_makes_up() -> None:
    claims = {b"size": b"12", b"b3": b"ab", b"event": b"done", b"name": b"other"}
    assert file_record(FileEntry(b"\xff", claims)) == {
        "event": "file",
        "name": "%FF",
        "wire": "%FF",
        "size": 12,
        "b3": "ab",
    }
    record = peer_record(PeerEntry(b"al ice", Address("::1", 5), {b"v": b"2", b"port": b"0"}))
    assert record == {
        "event": "peer",
        "alias": "al ice",
        "wire": "al%20ice",
        "address": "[::1]:5",
        "host": "::1",
        "port": 5,
        "v": "2",
    }


@pytest.mark.parametrize("claim", [b"", b"-1", b"x", b"9" * 30, b"1e3"])
def test_a_size_that_cannot_be_is_none(claim: bytes) -> None:
    assert claimed_size({b"size": claim}) is None
    assert "size" not in file_record(FileEntry(b"x", {b"size": claim}))


def test_a_failed_file_tells_what_of_it_is_proved() -> None:
    failed = events.TransferFailed(b"a", NobodyHasIt("x"), 30, SOURCES, size=100, resumed=10, proved=40)
    record = event_record(failed)
    assert {key: record[key] for key in ("name", "size", "fetched", "resumed", "verified")} == {
        "name": "a",
        "size": 100,
        "fetched": 30,
        "resumed": 10,
        "verified": 40,
    }


def test_of_a_name_with_several_contents_the_line_says_which_is_fetched_and_how_to_get_another() -> None:
    line = event_line(events.SeveralContents(b"a", "11", CONTENTS))
    assert line == (
        "a stands for 2 contents; fetched is b3 11 (700 B, 1 holder); to fetch another, get its link:"
        " osp2p://t/a#b3=22 (size unknown, 2 holders and 3 partial ones)"
    )
    unknown = event_line(events.SeveralContents(b"a", None, CONTENTS * 3))
    assert unknown is not None
    assert "not known yet" in unknown
    assert unknown.endswith(", and 3 more")
