"""Orders and records between the lab and its programs, and the measure of how long tasks wait for their turn."""

from __future__ import annotations

import subprocess
import sys
import time

import trio

from osp2p.lab.orders import StallMeter

PROGRAM = """
import trio
from osp2p.lab.orders import count_open, read_orders, write_record

async def main():
    write_record("ready", x=1)
    async for order in read_orders():
        write_record("got", order=order, **count_open())
    write_record("ended")

trio.run(main)
"""


async def test_orders_come_in_any_pieces_until_there_are_no_more() -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with trio.fail_after(30):
        for piece in (b'{"do"', b': 1}\n{"do": 2}\n', b'{"do": 3}\n'):
            await process.stdin.send_all(piece)
            await trio.sleep(0.01)
        await process.stdin.aclose()
        said = b"".join([data async for data in process.stdout]).splitlines()
        assert await process.wait() == 0
    await process.stdout.aclose()
    assert said[0] == b'{"event": "ready", "x": 1}'
    assert [line.split(b'"descriptors"')[0] for line in said[1:4]] == [
        b'{"event": "got", "order": {"do": %d}, ' % number for number in (1, 2, 3)
    ]
    assert said[4] == b'{"event": "ended"}'


async def test_a_stall_is_measured_once(nursery: trio.Nursery) -> None:
    meter = StallMeter()
    nursery.start_soon(meter.run)
    await trio.sleep(0.05)
    meter.reset()
    time.sleep(0.2)  # noqa: ASYNC251
    await trio.sleep(0.05)
    assert meter.reset() >= 0.15
    assert meter.longest == 0.0
    nursery.cancel_scope.cancel()
