"""A name with several contents, and we ourselves among those who hold it: real nodes and our own tracker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from osp2p.errors import NobodyHasIt
from osp2p.peer import Node, open_node
from osp2p.peer.events import Event, SeveralContents, TransferDone
from osp2p.peer.wanted import Wanted
from osp2p.wire.link import parse_link


@asynccontextmanager
async def sharing(tracker: str, directory: Path, files: dict[str, bytes]) -> AsyncIterator[Node]:
    """A node that shares files, of which the tracker knows the digests."""
    directory.mkdir()
    for name, body in files.items():
        (directory / name).write_bytes(body)
    async with open_node(trackers=[tracker], cache=directory.with_suffix(".sqlite"), alias=b"sharer") as node:
        await node.share(directory)
        sizes = {b"%d" % len(body) for body in files.values()}
        with trio.fail_after(20):
            while sizes - {e.attributes[b"size"] for e in await node.list_files() if b"b3" in e.attributes}:
                await trio.testing.wait_all_tasks_blocked(0.01)
        yield node


@pytest.mark.parametrize("many", [False, True])
async def test_get_says_which_content_it_takes_and_how_to_get_another(tracker: str, tmp_path: Path, many: bool) -> None:
    one, two = b"the first one's film", b"the second one's film, which is longer"
    async with (
        sharing(tracker, tmp_path / "one", {"film": one}),
        sharing(tracker, tmp_path / "two", {"film": two}),
        open_node(trackers=[tracker], cache=tmp_path / "cache") as node,
    ):
        events: list[Event] = []
        with trio.fail_after(20):
            if many:
                found, _ = await node.find([b"f*"])
                async with node.open_get([Wanted(e.name, tmp_path / "film", listed=e) for e in found]) as stream:
                    events += [event async for event in stream]
            else:
                events.append(await node.get(b"film", tmp_path / "film", report=events.append))
            (told,) = [event for event in events if isinstance(event, SeveralContents)]
            (done,) = [event for event in events if isinstance(event, TransferDone)]
            chosen, other = told.contents
            assert (told.chosen, chosen.size, chosen.holders) == (chosen.b3, len(one), 1)
            assert (other.size, other.holders, other.partial) == (len(two), 1, 0)
            assert done.path.read_bytes() == one
            link = parse_link(other.link)
            await node.get(link.name, tmp_path / "other", b3=link.b3)
        assert (tmp_path / "other").read_bytes() == two


async def test_we_do_not_fetch_from_ourselves(tracker: str, tmp_path: Path) -> None:
    """Neither small files nor large ones, nor in the base protocol."""
    files = {"small": b"small", "large": bytes(5_000_000)}
    async with sharing(tracker, tmp_path / "ours", files) as node:
        for name in files:
            with trio.fail_after(20), pytest.raises(NobodyHasIt):
                await node.get(name.encode(), tmp_path / name)
