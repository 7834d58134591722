"""A program that shares a directory and fetches it again, inside its own trio program: tracker, sharer and getter.

Run: ``.venv/bin/python examples/share_and_fetch.py DIRECTORY TARGET``

Everything lives in nurseries and blocks: leave a block, or cancel the scope around it, and what it opened is gone. A
fetch that is cancelled leaves its proved chunks behind, so that the next one goes on.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import trio

import osp2p


async def start_tracker(nursery: trio.Nursery) -> str:
    """Run a tracker on a free port, for as long as the nursery lives. Returns: what nodes call it."""
    run = partial(osp2p.serve_tracker, port=0, options=osp2p.TrackerOptions(local=True))
    addresses: list[osp2p.Address] = await nursery.start(run)
    return f"127.0.0.1:{addresses[0].port}"


async def fetch_all(tracker: str, target: Path) -> int:
    """Fetch everything that a tracker lists, and show how it goes. Returns: how many files arrived."""
    arrived = 0
    async with osp2p.open_node(trackers=[tracker], cache=target / ".getter.sqlite") as node:
        names = dict.fromkeys(entry.name for entry in await node.list_files())
        wanted = [osp2p.Wanted(name, target / os.fsdecode(name)) for name in names]
        async with node.open_get(wanted) as events:
            async for event in events:
                if isinstance(event, osp2p.TransferProgress):
                    print(f"{event.name!r}: {event.done} bytes from {event.sources} holders")
                elif isinstance(event, osp2p.TransferDone):
                    print(f"{event.name!r} is at {event.path}, proved by {event.verified}")
                    arrived += 1
                elif isinstance(event, osp2p.TransferFailed):
                    print(f"{event.name!r} did not arrive: {event.error}")
    return arrived


async def main(directory: Path, target: Path) -> None:
    """Share a directory, fetch it, and end."""
    await trio.Path(target).mkdir(parents=True, exist_ok=True)
    async with trio.open_nursery() as nursery:
        tracker = await start_tracker(nursery)
        async with osp2p.open_node(trackers=[tracker], cache=target / ".sharer.sqlite") as sharer:
            shared = await sharer.share(directory)
            arrived = await fetch_all(tracker, target)
        print(f"{arrived} of {shared} files arrived")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY TARGET")
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
