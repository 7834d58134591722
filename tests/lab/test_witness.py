"""The witnesses: they serve as sharers do, and their ledger says what was sent to which life."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import trio

from osp2p.content.digest import digest_file
from osp2p.lab.witness import Ledger, run_witness
from osp2p.limits import DEFAULT
from osp2p.peer.node import open_node
from osp2p.tracker import TrackerOptions
from osp2p.wire.address import Address
from tests.tracker.talk import running_tracker

SIZE = 1_000_000


async def test_each_chunk_is_noted_in_its_life(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)
    path = tmp_path / "f"
    path.write_bytes(content)
    ledger = Ledger()
    with trio.fail_after(30):
        async with running_tracker(options=TrackerOptions(local=True)) as (address, *_), trio.open_nursery() as nursery:
            tracker = Address("127.0.0.1", address.port)
            shared = {b"f": (path, digest_file(path, threading.Event()))}
            ledger.begin_life()
            await nursery.start(run_witness, tracker, b"anna", shared, ledger, None, DEFAULT)
            async with open_node(trackers=[f"127.0.0.1:{address.port}"], cache=tmp_path / "c") as node:
                for life in (1, 2):
                    assert not ledger.begun.is_set()
                    done = await node.get(b"f", tmp_path / f"got{life}")
                    assert done.verified == "b3"
                    assert (tmp_path / f"got{life}").read_bytes() == content
                    assert ledger.begun.is_set()
                    assert ledger.sent[life] == Counter({(b"f", number): 1 for number in range(4)})
                    ledger.begin_life()
            nursery.cancel_scope.cancel()
