"""Worker threads have shares, also those that nobody waits for any more."""

from __future__ import annotations

import threading

import trio

from osp2p.limits import Limits
from osp2p.rpc.threads import CallThreads
from osp2p.wire.address import Address

ONE, OTHER = Address("10.0.0.1", 5), Address("10.0.0.2", 5)


class Blocks:
    """Functions that end when they are told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()

    def block(self) -> str:
        self.begun.release()
        self.release.wait(20)
        return "done"


async def test_threads_that_were_left_count_for_their_host_alone() -> None:
    threads = CallThreads(Limits(max_call_threads=3, max_call_threads_per_host=2))
    blocks = Blocks()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(threads.run, blocks.block, ONE)
            await trio.to_thread.run_sync(blocks.begun.acquire)
        nursery.cancel_scope.cancel()
    assert len(threads) == 1
    assert await threads.run(lambda: "quick", OTHER) == "quick"
    assert await threads.run(lambda: "own", None) == "own"
    with trio.move_on_after(0.05) as scope:
        await threads.run(lambda: "late", ONE)
    assert scope.cancelled_caught
    blocks.release.set()
    both = threading.Barrier(2)  # passed only when both of the host's threads are its own again
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(threads.run, lambda: both.wait(20), ONE)
    assert len(threads) == 0


async def test_a_host_that_waits_for_its_share_takes_no_turn_from_others() -> None:
    threads = CallThreads(Limits(max_call_threads=2, max_call_threads_per_host=1))
    blocks = Blocks()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(threads.run, blocks.block, ONE)
        await trio.to_thread.run_sync(blocks.begun.acquire)
        assert await threads.run(lambda: "quick", OTHER) == "quick"
        blocks.release.set()
    assert len(threads) == 0
